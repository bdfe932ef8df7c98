//! FUSE over io_uring: requests are taken from, and replies given to, memory shared with the kernel.
//!
//! 1. *One thread, one ring, one entry.* An entry holds one request from when it comes to when its reply is
//!    committed, so a thread that waits for the disk keeps nothing but its own entry.
//! 2. *One call a request*: the reply is committed, and the next request waited for, in one
//!    `io_uring_enter`.
//! 3. *Nothing is copied behind our back.* The ring is made with `IORING_SETUP_DEFER_TASKRUN`: the kernel
//!    fills and reads the entry only while this thread is in `io_uring_enter`.

use super::error::{Result, SysError, call};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use memmap2::{MmapMut, UncheckedAdvice};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// `struct fuse_uring_req_header`: the request's header, its argument, and what is said of the entry.
pub const RING_HEADER_LEN: usize = 288;
/// The payload is aligned for copies by the page.
const PAYLOAD_AT: usize = 4096;

// Commands of FUSE, and `struct fuse_uring_cmd_req` that goes with them.
const FUSE_IO_URING_CMD_REGISTER: u32 = 1;
const FUSE_IO_URING_CMD_COMMIT_AND_FETCH: u32 = 2;
const COMMIT_ID_AT: usize = 8;
const QUEUE_AT: usize = 16;
/// Where `len` lies in `struct io_uring_sqe`.
const SQE_LEN_AT: usize = 24;
/// The device is the ring's only registered file.
const DEVICE: types::Fixed = types::Fixed(0);

/// What a wait for the next request brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A request lies in the entry.
    Request,
    /// The mount has ended.
    Ended,
}

/// One entry of one of the kernel's queues, for one thread: that which made it.
pub struct FuseRing {
    // Before the memory, so that it is closed first.
    ring: IoUring<squeue::Entry128, cqueue::Entry>,
    memory: MmapMut,
    parts: Box<[libc::iovec; 2]>,
    queue: u16,
}

impl std::fmt::Debug for FuseRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FuseRing").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl FuseRing {
    /// Makes a ring for an entry of a queue, with room for so many bytes of a request or reply beside its
    /// header. The mount need not be initialised yet.
    pub fn new(device: BorrowedFd<'_>, queue: u16, payload: usize) -> Result<Self> {
        let ring = call("io_uring_setup", || {
            IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(2).map_err(errno_of)
        })?;
        call("io_uring_register", || {
            ring.submitter().register_files(&[device.as_raw_fd()]).map_err(errno_of)
        })?;
        let mut memory = call("mmap", || MmapMut::map_anon(PAYLOAD_AT + payload).map_err(errno_of))?;
        let (header, body) = memory.split_at_mut(PAYLOAD_AT);
        let part =
            |bytes: &mut [u8]| libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let parts = Box::new([part(header), part(body)]);
        Ok(FuseRing { ring, memory, parts, queue })
    }

    /// Offers the entry to the kernel, at the next wait.
    #[allow(unsafe_code)]
    pub fn register(&mut self) -> Result<()> {
        let parts = self.parts.as_ptr() as u64;
        let mut entry = opcode::UringCmd80::new(DEVICE, FUSE_IO_URING_CMD_REGISTER)
            .cmd(command(0, self.queue))
            .addr(Some(parts))
            .build();
        let count = u32::try_from(self.parts.len()).map_err(|_| invalid())?;
        // SAFETY: the entry begins with the kernel's io_uring_sqe, whose `len` is the four bytes there. The
        // package has no setter for it in this operation.
        unsafe { (&raw mut entry).cast::<u8>().add(SQE_LEN_AT).cast::<u32>().write(count) };
        self.push(&entry)
    }

    /// Gives the reply that lies in the entry back, and offers the entry again, at the next wait.
    pub fn commit(&mut self, request: u64) -> Result<()> {
        let entry = opcode::UringCmd80::new(DEVICE, FUSE_IO_URING_CMD_COMMIT_AND_FETCH)
            .cmd(command(request, self.queue))
            .build();
        self.push(&entry)
    }

    #[allow(unsafe_code)]
    fn push(&mut self, entry: &squeue::Entry128) -> Result<()> {
        // SAFETY: what the entry points to, `parts` and the memory that they name, lives as long as the ring.
        unsafe { self.ring.submission().push(entry) }
            .map_err(|_| SysError { call: "io_uring_enter", errno: Errno::BUSY })
    }

    /// Hands over, and waits for so many completions.
    fn enter(&self, wanted: usize) -> Result<()> {
        loop {
            let entered = || self.ring.submit_and_wait(wanted).map(drop).map_err(errno_of);
            match call("io_uring_enter", entered) {
                // A signal, or no memory for the moment.
                Err(e) if matches!(e.errno, Errno::INTR | Errno::AGAIN | Errno::BUSY) => {}
                done => return done,
            }
        }
    }

    /// Hands over what was committed, and waits for nothing.
    pub fn submit(&mut self) -> Result<()> {
        self.enter(0)
    }

    /// Hands over what was committed, and waits for the next request.
    pub fn wait(&mut self) -> Result<Turn> {
        loop {
            self.enter(1)?;
            let Some(done) = self.ring.completion().next() else { continue };
            if done.result() >= 0 {
                return Ok(Turn::Request);
            }
            return match Errno::from_raw_os_error(-done.result()) {
                Errno::NOTCONN | Errno::CONNABORTED | Errno::CANCELED | Errno::NODEV => Ok(Turn::Ended),
                errno => Err(SysError { call: "FUSE_IO_URING_CMD", errno }),
            };
        }
    }

    /// The header and the payload of the entry: a request after [`FuseRing::wait`], a reply before
    /// [`FuseRing::commit`].
    pub fn entry(&mut self) -> (&mut [u8], &mut [u8]) {
        let (header, payload) = self.memory.split_at_mut(PAYLOAD_AT);
        (&mut header[..RING_HEADER_LEN], payload)
    }

    /// Gives the memory of the payload back to the system, but for its first bytes; before a commit, since
    /// the kernel may fill it from then on.
    #[allow(unsafe_code)]
    pub fn trim(&mut self, keep: usize) -> Result<()> {
        let from = (PAYLOAD_AT + keep).next_multiple_of(rustix::param::page_size());
        let Some(len) = self.memory.len().checked_sub(from).filter(|len| *len > 0) else { return Ok(()) };
        call("madvise", || {
            // SAFETY: private memory without a file, borrowed by nobody: `&mut self`.
            let done = unsafe { self.memory.unchecked_advise_range(UncheckedAdvice::DontNeed, from, len) };
            done.map_err(errno_of)
        })
    }
}

fn command(commit: u64, queue: u16) -> [u8; 80] {
    let mut bytes = [0; 80];
    bytes[COMMIT_ID_AT..COMMIT_ID_AT + 8].copy_from_slice(&commit.to_ne_bytes());
    bytes[QUEUE_AT..QUEUE_AT + 2].copy_from_slice(&queue.to_ne_bytes());
    bytes
}

fn errno_of(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn invalid() -> SysError {
    SysError { call: "io_uring_enter", errno: Errno::INVAL }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    #[test]
    fn what_is_no_fuse_device_is_refused_by_name() {
        let file = tempfile::tempfile().unwrap();
        let mut ring = FuseRing::new(file.as_fd(), 0, 8192).unwrap();
        ring.register().unwrap();
        let refused = ring.wait().unwrap_err();
        assert_eq!(refused, SysError { call: "FUSE_IO_URING_CMD", errno: Errno::OPNOTSUPP });
    }

    #[test]
    fn header_and_payload_lie_apart_and_the_payload_can_be_given_back() {
        let file = tempfile::tempfile().unwrap();
        let mut ring = FuseRing::new(file.as_fd(), 0, 8192).unwrap();
        let (header, payload) = ring.entry();
        assert_eq!((header.len(), payload.len()), (RING_HEADER_LEN, 8192));
        header.fill(1);
        payload.fill(2);
        ring.trim(5).unwrap();
        let (header, payload) = ring.entry();
        assert_eq!(header, [1; RING_HEADER_LEN]);
        assert_eq!(payload, [[2; 4096], [0; 4096]].concat());
        ring.trim(8192).unwrap();
        assert_eq!(ring.entry().1[..4096], [2; 4096]);
    }
}
