//! What is agreed with the kernel's FUSE client at the start.

use fuser::{InitFlags, KernelConfig};

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
pub(super) fn negotiate(config: &mut KernelConfig, acl: bool, writeback: bool) {
    for (flag, without) in WANTED {
        if config.add_capabilities(*flag).is_err() {
            log::info!("kernel lacks {flag:?}: {without}");
        }
    }
    // With it small writes become large ones, but each close makes the kernel ask for the attributes
    // again at the next fstat: docs/decisions/0003.
    if writeback && config.add_capabilities(InitFlags::FUSE_WRITEBACK_CACHE).is_err() {
        log::warn!("kernel lacks FUSE_WRITEBACK_CACHE: each write is a message");
    }
    if acl && config.add_capabilities(InitFlags::FUSE_POSIX_ACL).is_err() {
        log::info!("kernel lacks FUSE_POSIX_ACL: ACLs are not enforced");
    }
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
