//! Fault injection: makes the n-th syscall of a thread fail, or lets the process "die" there.
//!
//! Only unit tests arm it; in a release build [`before`] is empty.

use rustix::io::Errno;

/// What happens at the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// That one call answers this error.
    Fail(Errno),
    /// That call and all later ones answer EIO and do nothing: a process that died does no more,
    /// not even clean up.
    Die,
}

#[cfg(test)]
pub(super) use armed::before;
#[cfg(test)]
pub use armed::{lack, with};

/// Asked before each syscall; the answer replaces the call.
#[cfg(not(test))]
#[inline]
pub(super) fn before(_call: &'static str) -> Result<(), Errno> {
    Ok(())
}

#[cfg(test)]
mod armed {
    use super::{Errno, Fault};
    use std::cell::Cell;

    thread_local! {
        static PLAN: Cell<Option<(Fault, usize)>> = const { Cell::new(None) };
        static SEEN: Cell<usize> = const { Cell::new(0) };
        static LACKING: Cell<&'static [&'static str]> = const { Cell::new(&[]) };
    }

    /// From here on this thread's kernel lacks these calls: they answer EINVAL.
    pub fn lack(calls: &'static [&'static str]) {
        LACKING.set(calls);
    }

    /// Runs `body` with the `nth` call (from 0) of this thread failing; says how many calls it made.
    pub fn with<T>(fault: Option<Fault>, nth: usize, body: impl FnOnce() -> T) -> (T, usize) {
        PLAN.set(fault.map(|f| (f, nth)));
        SEEN.set(0);
        let result = body();
        PLAN.set(None);
        (result, SEEN.get())
    }

    pub(in crate::sys) fn before(call: &'static str) -> Result<(), Errno> {
        let seen = SEEN.get();
        SEEN.set(seen + 1);
        match PLAN.get() {
            Some((Fault::Fail(errno), nth)) if nth == seen => Err(errno),
            Some((Fault::Die, nth)) if nth <= seen => Err(Errno::IO),
            _ if LACKING.get().contains(&call) => Err(Errno::INVAL),
            _ => Ok(()),
        }
    }
}
