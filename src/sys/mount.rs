//! Mounting: mount(2) where it is allowed, else fusermount3.

use super::error::{Result, SysError, call};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, UnmountFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg,
    socketpair,
};
use std::ffi::CString;
use std::io::{Error, IoSliceMut};
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};

pub use rustix::mount::MountFlags;

/// What mount(2) is told.
#[derive(Clone, Debug)]
pub struct FuseMount<'a> {
    /// Shown as the device.
    pub source: &'a str,
    /// Where to mount.
    pub target: &'a Path,
    /// Shown as `fuse.SUBTYPE`.
    pub subtype: &'a str,
    /// Flags of mount(2).
    pub flags: MountFlags,
    /// Options of the FUSE client, comma-separated, without the descriptor.
    pub data: String,
}

/// Opens the FUSE device.
pub fn fuse_device() -> Result<OwnedFd> {
    call("openat(/dev/fuse)", || rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()))
}

/// What the kernel's FUSE client is told unasked, by its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FuseNotice<'a> {
    /// FUSE_NOTIFY_INVAL_ENTRY with FUSE_EXPIRE_ONLY: a name in the directory of this number is to be looked
    /// up again at its next use; what is mounted on it stays.
    Expire(u64, &'a [u8]),
    /// FUSE_NOTIFY_INC_EPOCH (Linux 6.16): all names are to be looked up anew.
    AllNames,
}

/// Sends a notice; ENOENT if the kernel does not know the name.
pub fn fuse_notify(device: BorrowedFd<'_>, notice: FuseNotice<'_>) -> Result<()> {
    const EXPIRE_ONLY: u32 = 1;
    let (code, body): (i32, Vec<u8>) = match notice {
        FuseNotice::Expire(parent, name) => {
            let len = u32::try_from(name.len()).unwrap_or(u32::MAX);
            let header = [&parent.to_ne_bytes()[..], &len.to_ne_bytes(), &EXPIRE_ONLY.to_ne_bytes()];
            (3, [&header.concat(), name, b"\0"].concat())
        }
        FuseNotice::AllNames => (8, Vec::new()),
    };
    // `struct fuse_out_header`: length, code, and 0 for a request that was not asked.
    let len = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let message = [&len.to_ne_bytes()[..], &code.to_ne_bytes(), &0u64.to_ne_bytes(), &body].concat();
    call("write(/dev/fuse)", || rustix::io::write(device, &message).map(drop))
}

/// Mounts `device` by mount(2).
pub fn mount_fuse(device: BorrowedFd<'_>, mount: &FuseMount<'_>) -> Result<()> {
    let ids = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},{}",
        device.as_raw_fd(),
        ids.0,
        ids.1,
        mount.data
    );
    call("mount", || {
        let data = CString::new(data).map_err(|_| Errno::INVAL)?;
        let kind = format!("fuse.{}", mount.subtype);
        rustix::mount::mount(mount.source, mount.target, kind, mount.flags, data.as_c_str())
    })
}

/// Changes the flags of a live mount.
pub fn remount(target: &Path, flags: MountFlags) -> Result<()> {
    call("mount(MS_REMOUNT)", || rustix::mount::mount_remount(target, flags, ""))
}

/// Mounts by the set-uid program fusermount3 and takes the device from it. `options` is its `-o`.
/// What it complains of goes to our stderr.
pub fn mount_with_fusermount(target: &Path, options: &str) -> std::io::Result<OwnedFd> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None)?;
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC)?;
    let status = Command::new("fusermount3")
        .args(["-o", options, "--"])
        .arg(target)
        .env("_FUSE_COMMFD", theirs.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .status()?;
    drop(theirs);
    if !status.success() {
        return Err(Error::other(format!("fusermount3 ended with {status}")));
    }
    receive_descriptor(ours.as_fd())
}

fn receive_descriptor(socket: BorrowedFd<'_>) -> std::io::Result<OwnedFd> {
    let mut byte = [0u8; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message
            && let Some(fd) = fds.next()
        {
            return Ok(fd);
        }
    }
    Err(Error::other("fusermount3 passed no descriptor"))
}

/// A view of a directory's filesystem in which nothing is mounted below it, now or later: what a layer
/// is. EPERM without the right to mount.
pub fn private_view(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    call("open_tree", || rustix::mount::open_tree(directory, "", flags))
}

/// Unmounts; EBUSY while files in it are open.
pub fn unmount(target: &Path) -> Result<()> {
    call("umount2", || rustix::mount::unmount(target, UnmountFlags::NOFOLLOW))
}

/// Takes the mount out of the tree at once; it ends when its last file is closed.
pub fn unmount_detached(target: &Path) -> Result<()> {
    call("umount2", || rustix::mount::unmount(target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH))
}

/// Unmounts by fusermount3; `lazily` like [`unmount_detached`].
pub fn unmount_with_fusermount(target: &Path, lazily: bool) -> Result<()> {
    let flags: &[&str] = if lazily { &["-u", "-q", "-z", "--"] } else { &["-u", "-q", "--"] };
    match Command::new("fusermount3").args(flags).arg(target).stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(SysError { call: "fusermount3 -u", errno: Errno::PERM }),
    }
}
