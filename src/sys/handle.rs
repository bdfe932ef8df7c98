//! File handles: the kernel's own name of an inode, which outlives renames and reboots.

use super::error::{Result, call, check};
use super::object::Ref;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::ffi::CString;

/// MAX_HANDLE_SZ of the kernel.
const MAX_HANDLE: usize = 128;
/// The requests for a filesystem's UUID, and where it is in the answer.
const UUID_REQUESTS: [(libc::c_ulong, usize); 4] = [
    // FS_IOC_GETFSUUID, `_IOR(0x15, 0, struct fsuuid2)`: any filesystem but btrfs, since Linux 6.9.
    (0x8011_1500, 1),
    // BTRFS_IOC_FS_INFO, `_IOR(0x94, 31, struct btrfs_ioctl_fs_info_args)`.
    (0x8400_941f, 16),
    // XFS_IOC_FSGEOMETRY_V1, `_IOR('X', 100, struct xfs_fsop_geom_v1)`.
    (0x8070_5864, 64),
    // EXT4_IOC_GETFSUUID, `_IOR('f', 44, struct fsuuid)`, since Linux 6.0.
    (0x8008_662c, 8),
];
/// The size of the longest answer, which is that of btrfs.
const MAX_ANSWER: usize = 1024;

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

/// The UUID of the filesystem that `fd` is on, as overlayfs sees it; `None` where it does not say.
pub fn filesystem_uuid(fd: BorrowedFd<'_>) -> Option<[u8; 16]> {
    UUID_REQUESTS.into_iter().find_map(|(request, at)| uuid_by(fd, request, at))
}

#[allow(unsafe_code)]
fn uuid_by(fd: BorrowedFd<'_>, request: libc::c_ulong, at: usize) -> Option<[u8; 16]> {
    let mut answer = [0u8; MAX_ANSWER];
    // The length that is asked for (ext4) or answered (FS_IOC_GETFSUUID).
    answer[..4].copy_from_slice(&16u32.to_ne_bytes());
    // SAFETY: none of the requests writes more than MAX_ANSWER bytes.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, answer.as_mut_ptr()) }.into()).ok()?;
    answer[at..at + 16].try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd as _;
    use std::fs::File;
    use std::path::Path;
    use std::process::Command;

    fn sh(line: &str, dir: &Path) {
        let status = Command::new("sh").args(["-ec", line, "sh"]).arg(dir).status().unwrap();
        assert!(status.success(), "{line}");
    }

    /// The UUID that each filesystem is made with, asked for by its own request and by the general one.
    #[test]
    fn c9_each_filesystem_tells_its_uuid() {
        let makers = [
            ("mkfs.btrfs -q -U ", UUID_REQUESTS[1], 120),
            ("mkfs.xfs -q -m uuid=", UUID_REQUESTS[2], 320),
            ("mkfs.ext4 -q -U ", UUID_REQUESTS[3], 20),
        ];
        for (maker, (request, at), mib) in makers {
            let dir = tempfile::tempdir().unwrap();
            // xfs and btrfs refuse a UUID that is mounted already.
            let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
            let digits = u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap();
            let wanted = Some(digits.to_be_bytes());
            let (make, mnt) = (format!("{maker}{}", text.trim()), dir.path().join("mnt"));
            let line = format!(
                "truncate -s {mib}M \"$1\"/image; {make} \"$1\"/image > /dev/null 2>&1; mkdir \"$1\"/mnt"
            );
            sh(&format!("{line}; mount -o loop \"$1\"/image \"$1\"/mnt"), dir.path());
            let root = File::open(&mnt).unwrap();
            sh("umount -l \"$1\"/mnt", dir.path());
            let found = (uuid_by(root.as_fd(), request, at), filesystem_uuid(root.as_fd()));
            assert_eq!(found, (wanted, wanted), "{maker}");
        }
    }
}
