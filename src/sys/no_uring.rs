//! FUSE over io_uring on processors for which the io-uring package has no bindings: there is none.

use super::error::{Result, SysError};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::convert::Infallible;

/// `struct fuse_uring_req_header`: the request's header, its argument, and what is said of the entry.
pub const RING_HEADER_LEN: usize = 288;

/// What a wait for the next request brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A request lies in the entry.
    Request,
    /// The mount has ended.
    Ended,
}

/// There can be none.
#[derive(Debug)]
pub struct FuseRing(Infallible);

impl FuseRing {
    /// ENOSYS, as of a kernel without it.
    pub fn new(_device: BorrowedFd<'_>, _queue: u16, _payload: usize) -> Result<Self> {
        Err(SysError { call: "io_uring_setup", errno: Errno::NOSYS })
    }

    /// There is no ring to ask.
    pub fn register(&mut self) -> Result<()> {
        match self.0 {}
    }

    /// There is no ring to ask.
    pub fn commit(&mut self, _request: u64) -> Result<()> {
        match self.0 {}
    }

    /// There is no ring to ask.
    pub fn submit(&mut self) -> Result<()> {
        match self.0 {}
    }

    /// There is no ring to ask.
    pub fn wait(&mut self) -> Result<Turn> {
        match self.0 {}
    }

    /// There is no ring to ask.
    pub fn entry(&mut self) -> (&mut [u8], &mut [u8]) {
        match self.0 {}
    }

    /// There is no ring to ask.
    pub fn trim(&mut self, _keep: usize) -> Result<()> {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    #[test]
    fn there_is_none() {
        let file = tempfile::tempfile().unwrap();
        let refused = FuseRing::new(file.as_fd(), 0, 8192).unwrap_err();
        assert_eq!(refused, SysError { call: "io_uring_setup", errno: Errno::NOSYS });
        assert_eq!(RING_HEADER_LEN, crate::sys::RING_HEADER_LEN);
    }
}
