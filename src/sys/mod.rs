//! Thin wrappers of syscalls: the only home of `unsafe` and `libc`.
//!
//! 1. *An error that reads like a line of strace.* Every wrapper names its call in [`SysError`].
//! 2. *Objects with and without a name.* [`Ref`] is either a name in a directory or an open
//!    descriptor, and every attribute and xattr call takes it, so that the callers need no
//!    second code path for objects that were removed while open.
//! 3. *Names never follow symlinks.* All calls on [`Ref::At`] use `AT_SYMLINK_NOFOLLOW`.
//! 4. *Every step can fail.* Each wrapper asks [`fault`] first, so that tests can make the n-th
//!    call fail, or let the process "die" there.
//!
//! Deliberately elsewhere: what the calls mean for the union (`overlay`), marks (`layer`).

mod copy;
mod cpu;
mod creds;
mod dir;
mod error;
pub mod fault;
mod file;
mod handle;
mod map;
mod mount;
mod names;
mod object;
mod process;
mod removal;
mod spread;
// So that it is built, and tested, here too.
#[cfg(test)]
#[allow(dead_code, unreachable_pub)]
mod no_uring;
// The processors that the io-uring package knows.
#[cfg_attr(
    not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "loongarch64",
        target_arch = "powerpc64"
    )),
    path = "no_uring.rs"
)]
mod uring;
mod visit;
mod xattr;

pub use copy::{WriteBack, copy_range, copy_range_all, copy_sparse, start_writeback, write_uncached};
pub use cpu::{possible_cpus, run_on_cpu};
pub use creds::{act_as, enable_acting_as};
pub use dir::{RawDirEntry, read_dir};
pub use error::{Result, SysError};
pub use file::{
    Whence, create_file, duplicate, fallocate, file_flags, flock_exclusive, open_at, open_beneath,
    open_dir_path, open_directory, open_tmpfile, read_at, reopen, seek, set_file_flags, sync_data, sync_file,
    sync_filesystem, truncate, will_need, write_at,
};
pub use handle::{Handle, filesystem_uuid, handle_of};
pub use map::{CachedRange, FileMap};
pub use mount::{
    FuseMount, FuseNotice, MountFlags, fuse_device, fuse_notify, mount_fuse, mount_with_fusermount,
    private_view, remount, unmount, unmount_detached, unmount_with_fusermount,
};
pub use names::{
    RenameHow, link, link_object, make_device, make_dir, make_node, make_symlink, read_link, remove_dir,
    rename, unlink,
};
pub use object::{Ref, RefKind, chmod, chown, stat, stat_filesystem, utimens};
pub use process::{
    Readiness, Signal, Signals, block_signals, clear_umask, daemonize, effective_ids, effective_uid,
    raise_file_limit, supplementary_groups, trim_heap, tune_allocator,
};
pub use removal::remove_in_background;
pub use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
pub use rustix::io::Errno;
pub use spread::{hands_nothing_on, set_top};
pub use uring::{FuseRing, RING_HEADER_LEN, Turn};
pub use visit::{directory_of_mount, drop_pages, leave_descriptors, list_once, look_once, root_of_mount};
pub use xattr::{
    XattrSet, get_xattr, get_xattr_if_any, get_xattr_into, list_xattrs, remove_xattr, selinux_is_enabled,
    set_xattr,
};
