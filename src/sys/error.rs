//! The error of one syscall.

use rustix::io::Errno;

/// A syscall that failed: reads like a line of strace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {errno}")]
pub struct SysError {
    /// Name of the syscall.
    pub call: &'static str,
    /// What the kernel answered.
    pub errno: Errno,
}

/// Result of one syscall.
pub type Result<T> = std::result::Result<T, SysError>;

/// Runs one syscall under its name: asks [`super::fault`] first and names the error after.
pub(super) fn call<T>(name: &'static str, run: impl FnOnce() -> rustix::io::Result<T>) -> Result<T> {
    super::fault::before(name).and_then(|()| run()).map_err(|errno| SysError { call: name, errno })
}

/// Turns the -1 convention of libc into a result.
pub(super) fn check(result: libc::c_long) -> rustix::io::Result<usize> {
    usize::try_from(result).map_err(|_| last_errno())
}

/// The calling thread's errno.
pub(super) fn last_errno() -> Errno {
    Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}
