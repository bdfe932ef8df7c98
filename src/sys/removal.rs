//! Removing files while their process goes on, or ends.

use super::error::{Result, SysError, call, last_errno};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::{CStr, CString};
use std::time::Duration;

/// Removes files of a directory, then the directory, in a process of its own, and waits for it for so long
/// only. That process keeps the two directories open, and their locks, and nothing else of this one.
#[allow(unsafe_code)]
pub fn remove_in_background(
    parent: BorrowedFd<'_>,
    name: &CStr,
    dir: BorrowedFd<'_>,
    files: &[CString],
    patience: Duration,
) -> Result<()> {
    let (done, working) = call("pipe2", || pipe_with(PipeFlags::CLOEXEC))?;
    // SAFETY: there may be other threads, so the child makes system calls only: it allocates nothing, takes
    // no lock, and ends by _exit.
    match unsafe { libc::fork() } {
        -1 => Err(SysError { call: "fork", errno: last_errno() }),
        0 => remove_and_exit(parent, name, dir, files, working),
        child => {
            drop(working);
            // SAFETY: no status is asked for. The child ends at once, its child does the work.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            // What does not fit is for ever.
            let timeout = Timespec::try_from(patience).ok();
            // The end of the work closes the pipe; an interrupted wait is a shorter one.
            poll(&mut [PollFd::new(&done, PollFlags::IN)], timeout.as_ref()).unwrap_or_default();
            Ok(())
        }
    }
}

#[allow(unsafe_code)]
fn remove_and_exit(
    parent: BorrowedFd<'_>,
    name: &CStr,
    dir: BorrowedFd<'_>,
    files: &[CString],
    working: OwnedFd,
) -> ! {
    // SAFETY: as for the first one; the second makes it nobody's child, for which nobody must wait.
    if unsafe { libc::fork() } == 0 {
        let kept = [parent.as_raw_fd(), dir.as_raw_fd(), working.as_raw_fd()];
        leave_descriptors(kept);
        // Nobody is there who could be told of an error; what stays is removed by the next command.
        for file in files {
            rustix::fs::unlinkat(dir, file, AtFlags::empty()).unwrap_or_default();
        }
        rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).unwrap_or_default();
    }
    // SAFETY: ends without running destructors that belong to the parent.
    unsafe { libc::_exit(0) }
}

/// Lets go of all descriptors but three: a pipe that stays open keeps its reader waiting, and a lock is held
/// while anybody has its file open.
#[allow(unsafe_code)]
fn leave_descriptors(mut kept: [i32; 3]) {
    if let Ok(null) = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty()) {
        for standard in 0..3 {
            // SAFETY: replaces a descriptor by number; this process does nothing more with the old one.
            unsafe { libc::dup2(null.as_raw_fd(), standard) };
        }
    }
    kept.sort_unstable();
    let mut from = 3;
    for end in kept.map(|fd| fd - 1).into_iter().chain([i32::MAX]) {
        if from <= end {
            // SAFETY: closes descriptors of a process that uses the kept ones only. Before Linux 5.9 they
            // stay open until the work is done.
            unsafe { libc::syscall(libc::SYS_close_range, from, end, 0) };
        }
        from = end.saturating_add(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::open_directory;
    use rustix::fd::AsFd;
    use std::io::Read;
    use std::time::Instant;

    #[test]
    fn a_directory_is_gone_and_nothing_else_is_held() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("dir");
        std::fs::create_dir(&path).unwrap();
        let names: Vec<CString> = (0..50).map(|n| CString::new(format!("f{n}")).unwrap()).collect();
        for name in &names {
            std::fs::write(path.join(name.to_str().unwrap()), vec![1; 100_000]).unwrap();
        }
        let (mut read, write) = std::io::pipe().unwrap();
        let (parent, dir) = (open_directory(temp.path()).unwrap(), open_directory(&path).unwrap());
        remove_in_background(parent.as_fd(), c"dir", dir.as_fd(), &names, Duration::ZERO).unwrap();
        drop(write);
        // Ends only when the other process has let go of it.
        assert_eq!(read.read(&mut [0]).unwrap(), 0);
        let begun = Instant::now();
        while path.exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is still there");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn work_that_is_soon_done_is_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("dir");
        std::fs::create_dir(&path).unwrap();
        let (parent, dir) = (open_directory(temp.path()).unwrap(), open_directory(&path).unwrap());
        let patience = Duration::from_millis(999);
        remove_in_background(parent.as_fd(), c"dir", dir.as_fd(), &[], patience).unwrap();
        assert!(!path.exists());
    }
}
