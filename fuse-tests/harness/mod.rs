//! What every test stands on: a fresh stack of directories, a mount of it that is always taken
//! down again, checks of upper and workdir afterwards, and small tools to look and compare.
//!
//! Debian packages the suite needs: `acl attr fuse3 e2fsprogs libcap2-bin util-linux mount`.
//! It runs as root and needs /dev/fuse with mode 0666. What is missing fails, nothing is skipped.
//!
//! - [`Stack`]: directories `l0` (top) to `lN`, `u`, `w`, `m`; [`Stack::mount`] gives a [`Mount`].
//! - [`Mount`]: the live mount; taken down on drop, and then checked (see [`Check`]).
//! - [`dump`], [`assert_same_tree`]: trees as text.
//! - [`place`]: where the bytes live. [`xattr`]: xattrs with their exact errno.
//! - [`Tmpfs`]: a second filesystem.
//! - [`as_user`], [`with_umask`], [`fork_child`], [`run`]: other users, umasks, processes.
//! - [`assert_errno!`]: a call fails, and with this errno.

#![allow(dead_code, unused_imports)]

mod checks;
mod dump;
mod errno;
mod filesystem;
mod kernel;
mod mount;
pub mod place;
mod prerequisites;
mod process;
mod stack;
mod tmpfs;
mod user;
mod watchdog;
pub mod xattr;

pub use checks::Check;
pub use dump::{DumpOptions, assert_same_text, assert_same_tree, dump, dump_with};
pub use errno::HasErrno;
pub(crate) use errno::assert_errno;
pub use filesystem::Filesystem;
pub use kernel::mount_overlay;
pub use mount::{Mount, is_mounted, mount_line};
pub use prerequisites::{in_user_namespace, need_program, prerequisites};
pub use process::{
    ForkedChild, Outcome, daemon_pid, fork_child, layerctl_bin, layerfs_bin, layerfs_command, process_alive,
    run, run_ok, sh, wait_until,
};
pub use rustix::io::Errno;
pub use stack::{Stack, Target, test_dir, unmount_below, write};
pub use tmpfs::Tmpfs;
pub use user::{as_user, as_user_with_groups, with_umask};
pub use watchdog::{abort_connection, unwatch, watch};
