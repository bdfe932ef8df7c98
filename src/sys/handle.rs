//! File handles: the kernel's own name of an inode, which outlives renames and reboots.

use super::error::{Result, call, check};
use super::object::Ref;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::ffi::CString;

/// MAX_HANDLE_SZ of the kernel.
const MAX_HANDLE: usize = 128;
/// FS_IOC_GETFSUUID, `_IOR(0x15, 0, struct fsuuid2)`.
const FS_IOC_GETFSUUID: libc::c_ulong = 0x8011_1500;

/// `struct file_handle` with room for the longest handle.
#[repr(C)]
struct RawHandle {
    bytes: u32,
    kind: i32,
    data: [u8; MAX_HANDLE],
}

/// A file handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The filesystem's type of handle.
    pub kind: u8,
    /// Its bytes; only the filesystem knows their meaning.
    pub data: Vec<u8>,
}

/// The handle of an object; `None` where the filesystem has none.
#[allow(unsafe_code)]
pub fn handle_of(object: Ref<'_>) -> Result<Option<Handle>> {
    let at = object.at();
    // name_to_handle_at never follows by default and has no flag that says so.
    let flags = at.flags & rustix::fs::AtFlags::EMPTY_PATH;
    call("name_to_handle_at", || {
        let name = CString::new(at.name).map_err(|_| Errno::INVAL)?;
        let mut raw = RawHandle { bytes: MAX_HANDLE as u32, kind: 0, data: [0; MAX_HANDLE] };
        let mut mount_id: libc::c_int = 0;
        // SAFETY: `raw` starts with the layout of `struct file_handle` and has `bytes` bytes behind it.
        let done = check(unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                at.dir.as_raw_fd(),
                name.as_ptr(),
                &raw mut raw,
                &raw mut mount_id,
                flags.bits(),
            )
        });
        match done {
            Ok(_) => {
                let len = (raw.bytes as usize).min(MAX_HANDLE);
                Ok(u8::try_from(raw.kind).ok().map(|kind| Handle { kind, data: raw.data[..len].to_vec() }))
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::OVERFLOW | Errno::PERM) => Ok(None),
            Err(errno) => Err(errno),
        }
    })
}

/// The UUID of the filesystem that `fd` is on (Linux 6.9); `None` where it does not say.
#[allow(unsafe_code)]
pub fn filesystem_uuid(fd: BorrowedFd<'_>) -> Option<[u8; 16]> {
    let mut raw = [0u8; 17];
    // SAFETY: the request writes the 17 bytes of `struct fsuuid2`.
    let done = check(unsafe { libc::ioctl(fd.as_raw_fd(), FS_IOC_GETFSUUID, raw.as_mut_ptr()) }.into());
    let mut uuid = [0u8; 16];
    uuid.copy_from_slice(&raw[1..]);
    done.ok().filter(|_| raw[0] == 16).map(|_| uuid)
}
