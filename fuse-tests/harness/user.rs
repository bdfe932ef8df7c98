//! Other users and other umasks, for one thread only: credentials change by raw system calls,
//! which act on the calling thread, and the umask after unsharing it.

#![allow(unsafe_code)]

use std::panic::resume_unwind;
use std::thread;

/// Runs `work` as `uid` and `gid` without supplementary groups and without capabilities.
pub fn as_user<T: Send>(uid: u32, gid: u32, work: impl FnOnce() -> T + Send) -> T {
    as_user_with_groups(uid, gid, &[], work)
}

/// Runs `work` as `uid` and `gid` with these supplementary groups.
pub fn as_user_with_groups<T: Send>(
    uid: u32,
    gid: u32,
    groups: &[u32],
    work: impl FnOnce() -> T + Send,
) -> T {
    in_thread(move || {
        become_user(uid, gid, groups);
        work()
    })
}

/// Runs `work` with this umask; other threads keep theirs.
pub fn with_umask<T: Send>(mask: u32, work: impl FnOnce() -> T + Send) -> T {
    in_thread(move || {
        // SAFETY: unshare(CLONE_FS) gives this thread its own umask and working directory.
        let unshared = unsafe { libc::unshare(libc::CLONE_FS) };
        assert_eq!(unshared, 0, "unshare(CLONE_FS)");
        // SAFETY: umask takes a number and cannot fail.
        unsafe { libc::umask(mask) };
        work()
    })
}

fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| resume_unwind(panic)))
}

fn become_user(uid: u32, gid: u32, groups: &[u32]) {
    // SAFETY: the raw calls read plain numbers and a live slice, and change this thread only.
    let failed = unsafe {
        libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr())
            | libc::syscall(libc::SYS_setresgid, gid, gid, gid)
            | libc::syscall(libc::SYS_setresuid, uid, uid, uid)
    };
    assert_eq!(failed, 0, "becoming user {uid}:{gid}");
}
