//! What is agreed with the kernel's FUSE client at the start.

use super::operations::Operations;
use super::uring::Queues;
use crate::sys::{AsFd, OwnedFd};
use fuser::{InitFlags, KernelConfig};
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// Largest write and read in bytes: 256 pages, the kernel's own limit unless root raised it.
const MAX_IO: u32 = 1 << 20;
/// Requests that the kernel may have in the background: read-ahead and write-back.
const MAX_BACKGROUND: u16 = 64;

/// What is asked for, each for its reason. fuser refuses all flags of a call if the kernel lacks
/// one, so each is asked for alone.
const WANTED: &[(InitFlags, &str)] = &[
    // Open, close and create cost no message, a warm listing neither.
    (InitFlags::FUSE_NO_OPEN_SUPPORT, "opens are messages"),
    (InitFlags::FUSE_NO_OPENDIR_SUPPORT, "opens of directories are messages"),
    (InitFlags::FUSE_CACHE_SYMLINKS, "symlinks are read each time"),
    // Always, not only for the first part of a listing (FUSE_READDIRPLUS_AUTO): what lists a large
    // directory nearly always stats it, and would send a lookup for each entry after the first part.
    (InitFlags::FUSE_DO_READDIRPLUS, "listings do not look up"),
    (InitFlags::FUSE_PARALLEL_DIROPS, "lookups in one directory wait for each other"),
    (InitFlags::FUSE_ASYNC_DIO, "direct I/O is sequential"),
    // The server applies default ACLs, so it must see the umask apart from the mode.
    (InitFlags::FUSE_DONT_MASK, "default ACLs are masked"),
    // Nobody else changes the data: the kernel need not drop it when times differ.
    (InitFlags::FUSE_EXPLICIT_INVAL_DATA, "cached data is dropped when times change"),
    // Set-id bits are dropped here, and `security.capability` is not asked for at each write.
    (InitFlags::FUSE_HANDLE_KILLPRIV_V2, "each write asks for security.capability"),
];

/// Asks for all that helps and the kernel has.
pub(super) fn negotiate(config: &mut KernelConfig, operations: &Arc<Operations>, ring: Option<&RingWish>) {
    for (flag, without) in WANTED {
        if config.add_capabilities(*flag).is_err() {
            log::info!("kernel lacks {flag:?}: {without}");
        }
    }
    // With it small writes become large ones, but each close makes the kernel ask for the attributes
    // again at the next fstat: docs/decisions/0003.
    if operations.writeback && config.add_capabilities(InitFlags::FUSE_WRITEBACK_CACHE).is_err() {
        log::warn!("kernel lacks FUSE_WRITEBACK_CACHE: each write is a message");
    }
    if operations.acl && config.add_capabilities(InitFlags::FUSE_POSIX_ACL).is_err() {
        log::info!("kernel lacks FUSE_POSIX_ACL: ACLs are not enforced");
    }
    set_sizes(config);
    if let Some(ring) = ring {
        ring.ask(config, operations);
    }
}

/// What a mount has that wants its requests over io_uring.
#[derive(Debug)]
pub(super) struct RingWish {
    /// Threads in all.
    pub(super) threads: Option<usize>,
    /// A descriptor of the device.
    pub(super) device: OwnedFd,
    /// Takes the queues of the ring if there is to be one.
    pub(super) queues: Sender<Queues>,
}

impl RingWish {
    /// Once the kernel has agreed it waits for the ring, so it is made before.
    fn ask(&self, config: &mut KernelConfig, operations: &Arc<Operations>) {
        let queues = match self.prepare(config, operations) {
            Ok(queues) => queues,
            Err(e) => return log::warn!("io_uring: {e}: requests come over /dev/fuse"),
        };
        // They are let go once the kernel has the reply.
        if config.add_capabilities(InitFlags::FUSE_OVER_IO_URING).is_ok() && self.queues.send(queues).is_err()
        {
            log::debug!("the mount has failed meanwhile");
        }
    }

    fn prepare(&self, config: &KernelConfig, operations: &Arc<Operations>) -> std::io::Result<Queues> {
        if !config.capabilities().contains(InitFlags::FUSE_OVER_IO_URING) {
            let why = "the kernel does not offer it (Linux 6.14, fuse.enable_uring=1)";
            return Err(std::io::Error::other(why));
        }
        Queues::prepare(self.device.as_fd(), operations, MAX_IO as usize, self.threads)
    }
}

fn set_sizes(config: &mut KernelConfig) {
    if let Err(nearest) = config.set_max_write(MAX_IO) {
        log::info!("largest write is {nearest} bytes");
    }
    if let Err(nearest) = config.set_max_readahead(MAX_IO)
        && config.set_max_readahead(nearest).is_err()
    {
        log::info!("read-ahead stays as it is");
    }
    if let Err(nearest) = config.set_max_background(MAX_BACKGROUND) {
        log::info!("background requests: at least {nearest}");
    }
}
