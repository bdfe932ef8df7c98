//! Visits of a server to its own mount.
//!
//! A process that is killed while it waits for its own reply would keep the device open, and so wait for
//! ever. So a thread that visits has descriptors of its own, and the device is not among them.

use super::error::{Result, SysError, call, last_errno};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Advice, AtFlags, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, StatxFlags};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;
use std::path::Path;

/// Gives the calling thread a table of descriptors of its own, with none in it: not the standard streams
/// either, which others may let go. It must not use any that it has or that others will open.
#[allow(unsafe_code)]
pub fn leave_descriptors() -> Result<()> {
    // SAFETY: the caller uses no descriptor of others from here on.
    call("unshare", || unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FILES) })?;
    call("close_range", || {
        // SAFETY: the table is this thread's alone, and it has opened nothing.
        match unsafe { libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0) } {
            0 => Ok(()),
            _ => Err(last_errno()),
        }
    })
}

/// The root of the mount at `target`, if that is still the one of this device number, `MAJOR:MINOR`.
pub fn root_of_mount(target: &Path, device: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = call("open", || rustix::fs::open(target, flags, Mode::empty()))?;
    // What the kernel knows; nobody is asked.
    let known = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = call("statx", || rustix::fs::statx(&root, "", known, StatxFlags::INO))?;
    match format!("{}:{}", found.stx_dev_major, found.stx_dev_minor) == device {
        true => Ok(root),
        false => Err(SysError { call: "open", errno: Errno::XDEV }),
    }
}

/// Opens a directory of a mount to list it; nothing that is mounted in it is entered.
pub fn directory_of_mount(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    open_of_mount(root, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Has the filesystem asked for the attributes of an object of a mount, if the kernel takes them for stale.
pub fn look_once(root: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let object = open_of_mount(root, path, OFlags::PATH | OFlags::NOFOLLOW)?;
    call("statx", || rustix::fs::statx(&object, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).map(drop))
}

fn open_of_mount(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    call("openat2", || rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
}

/// Has the filesystem list a directory once from an offset on.
pub fn list_once(directory: BorrowedFd<'_>, offset: u64, buffer: &mut Vec<u8>) -> Result<()> {
    call("lseek", || rustix::fs::seek(directory, SeekFrom::Start(offset)))?;
    buffer.clear();
    call("getdents64", || match RawDir::new(directory.as_fd(), buffer.spare_capacity_mut()).next() {
        Some(Err(errno)) => Err(errno),
        Some(Ok(_)) | None => Ok(()),
    })
}

/// Has the kernel drop what it keeps of a file's contents, or of a directory's listing.
pub fn drop_pages(file: BorrowedFd<'_>) -> Result<()> {
    call("posix_fadvise", || rustix::fs::fadvise(file, 0, None, Advice::DontNeed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn a_thread_leaves_descriptors_to_the_others() {
        let file = File::open("/dev/null").unwrap();
        let held = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
        let is_held = move || fs::symlink_metadata(&held).is_ok();
        assert!(is_held());
        let left = std::thread::spawn(move || leave_descriptors().map(|()| is_held()));
        assert_eq!(left.join().unwrap(), Ok(false));
        assert!(file.metadata().is_ok());
    }

    /// `MAJOR:MINOR` of what is at a path.
    fn device(path: &Path) -> String {
        let device = fs::metadata(path).unwrap().dev();
        format!("{}:{}", libc::major(device), libc::minor(device))
    }

    #[test]
    fn only_the_mount_that_is_meant_is_visited() {
        let temp = tempfile::tempdir().unwrap();
        assert!(root_of_mount(temp.path(), &device(temp.path())).is_ok());
        let other = root_of_mount(temp.path(), &device(Path::new("/proc"))).unwrap_err();
        assert_eq!(other.errno, Errno::XDEV);
        assert_eq!(root_of_mount(&temp.path().join("gone"), "0:0").unwrap_err().errno, Errno::NOENT);
    }

    #[test]
    fn nothing_outside_is_opened() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("root/dir")).unwrap();
        fs::write(temp.path().join("root/dir/file"), "").unwrap();
        symlink("dir", temp.path().join("root/link")).unwrap();
        let root = temp.path().join("root");
        let root = root_of_mount(&root, &device(&root)).unwrap();
        let open =
            |path: &str| directory_of_mount(root.as_fd(), Path::new(path)).map(drop).map_err(|e| e.errno);
        assert_eq!((open("."), open("./dir")), (Ok(()), Ok(())));
        assert_eq!(open("./link"), Err(Errno::LOOP));
        assert_eq!(open("../root"), Err(Errno::XDEV));
        let look = |path: &str| look_once(root.as_fd(), Path::new(path)).map_err(|e| e.errno);
        assert_eq!((look("./dir/file"), look("./link")), (Ok(()), Ok(())));
        assert_eq!(look("./link/file"), Err(Errno::LOOP));
        assert_eq!(look("./gone"), Err(Errno::NOENT));
        let system = root_of_mount(Path::new("/"), &device(Path::new("/"))).unwrap();
        let mounted = directory_of_mount(system.as_fd(), Path::new("./proc")).unwrap_err();
        assert_eq!(mounted.errno, Errno::XDEV);
    }

    #[test]
    fn a_directory_is_listed_from_an_offset() {
        let temp = tempfile::tempdir().unwrap();
        (0..100).for_each(|n| fs::write(temp.path().join(n.to_string()), "").unwrap());
        let directory = File::open(temp.path()).unwrap();
        let mut buffer = Vec::with_capacity(1024);
        list_once(directory.as_fd(), 0, &mut buffer).unwrap();
        let once = rustix::fs::tell(&directory).unwrap();
        list_once(directory.as_fd(), once, &mut buffer).unwrap();
        assert_ne!((once, rustix::fs::tell(&directory).unwrap()), (once, once));
        drop_pages(directory.as_fd()).unwrap();
        let file = File::open(temp.path().join("1")).unwrap();
        assert_eq!(list_once(file.as_fd(), 0, &mut buffer).unwrap_err().errno, Errno::NOTDIR);
    }
}
