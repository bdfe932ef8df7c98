//! flock, POSIX locks and open-file-description locks between two processes.

#![allow(unsafe_code)]

use super::objects::*;
use crate::harness::*;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

const SHARED: i32 = libc::F_RDLCK;
const EXCLUSIVE: i32 = libc::F_WRLCK;
const UNLOCK: i32 = libc::F_UNLCK;

/// fcntl with a `struct flock` over `start..start+size`; gives the struct as it is afterwards.
fn fcntl(open: &File, command: i32, kind: i32, start: i64, size: i64) -> io::Result<libc::flock> {
    let mut lock = libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: size,
        l_pid: 0,
    };
    // SAFETY: these commands read and write one struct flock, which lives.
    match unsafe { libc::fcntl(open.as_raw_fd(), command, &raw mut lock) } {
        0 => Ok(lock),
        _ => Err(io::Error::last_os_error()),
    }
}

fn try_lock(open: &File, kind: i32, start: i64, size: i64) -> io::Result<()> {
    fcntl(open, libc::F_SETLK, kind, start, size).map(drop)
}

/// Whether it comes true soon: what a close sets free may be held a moment longer by a process
/// that another test just forked and that has not closed our descriptors yet.
fn soon(question: impl FnMut() -> bool) -> bool {
    wait_until(Duration::from_secs(5), question)
}

/// Runs the question in another process that opens the file itself.
fn other_process_can(path: &Path, question: impl FnOnce(File) -> bool) -> bool {
    let child = fork_child(&[], || i32::from(!question(open_rw(path))));
    match child.wait() {
        0 => true,
        1 => false,
        code => panic!("the other process ended with {code}"),
    }
}

#[test]
fn f5_flock_excludes_another_process() {
    each(file("data"), |s| {
        let path = s.path();
        let open = open_rw(&path);
        let exclusive = |f: File| flock(f, FlockOperation::NonBlockingLockExclusive).is_ok();
        let shared = |f: File| flock(f, FlockOperation::NonBlockingLockShared).is_ok();
        flock(&open, FlockOperation::LockExclusive).unwrap();
        assert!(!other_process_can(&path, exclusive), "{s}");
        assert!(!other_process_can(&path, shared), "{s}");
        flock(&open, FlockOperation::LockShared).unwrap();
        assert!(other_process_can(&path, shared), "{s}");
        assert!(!other_process_can(&path, exclusive), "{s}");
        flock(&open, FlockOperation::Unlock).unwrap();
        assert!(other_process_can(&path, exclusive), "{s}: after the unlock");
        flock(&open, FlockOperation::LockExclusive).unwrap();
        drop(open);
        assert!(soon(|| other_process_can(&path, exclusive)), "{s}: after close");
    });
}

#[test]
fn f5_flock_holds_between_two_descriptors_and_over_a_copy_up() {
    each(file("data"), |s| {
        let (first, second) = (open_rw(s.path()), open_rw(s.path()));
        flock(&first, FlockOperation::LockExclusive).unwrap();
        fs::write(s.path(), "copied up").unwrap();
        let third = open_rw(s.path());
        for other in [&second, &third] {
            let refused = flock(other, FlockOperation::NonBlockingLockExclusive);
            assert_errno!(refused, Errno::WOULDBLOCK, "{s}");
        }
        drop(first);
        let granted = || flock(&second, FlockOperation::NonBlockingLockExclusive).is_ok();
        assert!(soon(granted), "{s}: after close");
    });
}

#[test]
fn f5_posix_locks_exclude_by_range() {
    each(file(pattern(1000)), |s| {
        let path = s.path();
        let open = open_rw(&path);
        try_lock(&open, EXCLUSIVE, 100, 100).unwrap();
        try_lock(&open, SHARED, 500, 100).unwrap();
        let can = |kind: i32, start: i64, size: i64| {
            other_process_can(&path, |f| try_lock(&f, kind, start, size).is_ok())
        };
        assert!(can(EXCLUSIVE, 0, 100) && can(EXCLUSIVE, 200, 300), "{s}: other ranges");
        assert!(!can(SHARED, 150, 1) && !can(EXCLUSIVE, 199, 100), "{s}: the exclusive range");
        assert!(can(SHARED, 500, 100) && !can(EXCLUSIVE, 599, 1), "{s}: the shared range");
        assert!(!can(EXCLUSIVE, 0, 0), "{s}: the whole file");
        try_lock(&open, UNLOCK, 100, 50).unwrap();
        assert!(can(EXCLUSIVE, 100, 50) && !can(EXCLUSIVE, 149, 2), "{s}: a part unlocked");
    });
}

#[test]
fn f5_getlk_names_the_holder() {
    each(file("data"), |s| {
        let path = s.path();
        let open = open_rw(&path);
        try_lock(&open, EXCLUSIVE, 10, 20).unwrap();
        let holder = std::process::id() as i32;
        let named = other_process_can(&path, |f| {
            let lock = fcntl(&f, libc::F_GETLK, SHARED, 0, 0).unwrap();
            let range = (lock.l_start, lock.l_len, i32::from(lock.l_type));
            range == (10, 20, EXCLUSIVE) && lock.l_pid == holder
        });
        assert!(named, "{s}");
        let free = other_process_can(&path, |f| {
            let lock = fcntl(&f, libc::F_GETLK, EXCLUSIVE, 30, 5).unwrap();
            i32::from(lock.l_type) == UNLOCK
        });
        assert!(free, "{s}");
    });
}

#[test]
fn f5_posix_locks_end_with_any_close_and_with_the_process() {
    each(file("data"), |s| {
        let path = s.path();
        let open = open_rw(&path);
        let can = || other_process_can(&path, |f| try_lock(&f, EXCLUSIVE, 0, 0).is_ok());
        try_lock(&open, EXCLUSIVE, 0, 0).unwrap();
        assert!(!can(), "{s}");
        drop(open_rw(&path));
        assert!(can(), "{s}: closing any descriptor of the process unlocks");
        assert!(can(), "{s}: the first other process is gone, and so is its lock");
    });
}

#[test]
fn f5_open_file_description_locks() {
    each(file("data"), |s| {
        let (first, second) = (open_rw(s.path()), open_rw(s.path()));
        fcntl(&first, libc::F_OFD_SETLK, EXCLUSIVE, 0, 10).unwrap();
        let refused = fcntl(&second, libc::F_OFD_SETLK, SHARED, 5, 1);
        assert_errno!(refused.map(drop), Errno::AGAIN, "{s}");
        drop(open_rw(s.path()));
        let refused = fcntl(&second, libc::F_OFD_SETLK, SHARED, 5, 1);
        assert_errno!(refused.map(drop), Errno::AGAIN, "{s}: another descriptor's close");
        drop(first);
        let granted = || fcntl(&second, libc::F_OFD_SETLK, SHARED, 5, 1).is_ok();
        assert!(soon(granted), "{s}: after close");
    });
}

#[test]
fn f5_a_waiting_lock_is_granted_when_the_holder_lets_go() {
    each(file("data"), |s| {
        let path = s.path();
        let open = open_rw(&path);
        flock(&open, FlockOperation::LockExclusive).unwrap();
        try_lock(&open, EXCLUSIVE, 0, 0).unwrap();
        let ready = s.m.stack().base().join("ready");
        let child = fork_child(&[], || {
            let mine = open_rw(&path);
            fs::write(&ready, "").unwrap();
            flock(&mine, FlockOperation::LockExclusive).unwrap();
            fcntl(&mine, libc::F_SETLKW, EXCLUSIVE, 0, 0).unwrap();
            i32::from(fs::write(&path, "mine").is_err())
        });
        assert!(wait_until(Duration::from_secs(10), || ready.exists()), "{s}");
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(fs::read(&path).unwrap(), b"data", "{s}: the lock did not hold");
        fs::remove_file(ready).unwrap();
        // One close gives back both locks.
        drop(open);
        assert_eq!(child.wait(), 0, "{s}");
        assert_eq!(fs::read(&path).unwrap(), b"mine", "{s}");
    });
}

#[test]
fn f5_errnos_of_locks() {
    each(file("data"), |s| {
        let reader = File::open(s.path()).unwrap();
        assert_errno!(try_lock(&reader, EXCLUSIVE, 0, 0), Errno::BADF, "{s}");
        try_lock(&reader, SHARED, 0, 0).unwrap();
        assert_errno!(try_lock(&reader, SHARED, -1, 0), Errno::INVAL, "{s}");
        s.assert_not_copied();
    });
}
