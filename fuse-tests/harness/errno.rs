//! The errno of a failed call, whatever type its error has.

use rustix::io::Errno;

/// An error that carries an errno.
pub trait HasErrno {
    /// The errno of this error.
    fn errno(&self) -> Errno;
}

impl HasErrno for Errno {
    fn errno(&self) -> Errno {
        *self
    }
}

impl HasErrno for std::io::Error {
    fn errno(&self) -> Errno {
        let raw = self.raw_os_error().expect("an error of the system, not of std");
        Errno::from_raw_os_error(raw)
    }
}

/// `assert_errno!(call, Errno::NOTEMPTY)`: the call fails and with this errno. Takes an
/// `io::Result` or a rustix result; further arguments are a message, as for `assert_eq!`.
macro_rules! assert_errno {
    ($call:expr, $errno:expr $(,)?) => {
        $crate::harness::assert_errno!($call, $errno, "{}", stringify!($call))
    };
    ($call:expr, $errno:expr, $($message:tt)+) => {{
        match $call {
            Ok(_) => panic!("{}: succeeded, expected {:?}", format!($($message)+), $errno),
            Err(error) => {
                let got = $crate::harness::HasErrno::errno(&error);
                assert_eq!(got, $errno, "{}", format!($($message)+));
            }
        }
    }};
}
pub(crate) use assert_errno;
