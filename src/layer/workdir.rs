//! Getting the directories of an upper ready: locking them, making those below workdir, removing what
//! a crash left.

use super::apart::Apart;
use super::staged::remove_tree;
use super::upper::UpperError;
use super::{NlinkMark, read_marks};
use crate::semantics::acl;
use crate::sys::{
    AsFd, BorrowedFd, Errno, OwnedFd, Ref, Result, chmod, flock_exclusive, get_xattr_if_any, make_dir,
    open_dir_path, read_dir, remove_xattr, reopen, stat, unlink,
};
use crate::types::S_ISGID;
use std::time::{Duration, Instant};

pub(super) const WORK: &[u8] = b"work";
const INDEX: &[u8] = b"index";
/// How long a lock is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Locks a directory. A mount that was just taken down may still be letting go of it.
pub(super) fn lock(dir: &OwnedFd) -> std::result::Result<OwnedFd, UpperError> {
    let fd = reopen(dir.as_fd(), false)?;
    let since = Instant::now();
    loop {
        match flock_exclusive(fd.as_fd()) {
            Ok(()) => return Ok(fd),
            Err(e) if e.errno != Errno::WOULDBLOCK => return Err(e.into()),
            Err(_) if since.elapsed() > PATIENCE => return Err(UpperError::Busy),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Opens the directory of staged objects, empty, and on ext4 [apart](Apart).
pub(super) fn open_work(workdir: BorrowedFd<'_>, upper: BorrowedFd<'_>) -> Result<(OwnedFd, Option<Apart>)> {
    remove_leftovers(workdir, |name| name.starts_with(Apart::PREFIX))?;
    match open_dir_path(workdir, WORK, true) {
        Ok(work) => remove_leftovers(work.as_fd(), |_| true)?,
        Err(e) if e.errno == Errno::NOENT => {}
        Err(e) => return Err(e),
    }
    let apart = Apart::begin(workdir, upper).unwrap_or_else(|e| {
        log::debug!("new objects are not put apart: {e}");
        None
    });
    let work = open_or_make(workdir, WORK)?;
    hand_nothing_on(Ref::At(workdir, WORK))?;
    Ok((work, apart))
}

/// What is staged gets nothing from `work`, which has it from workdir: no ACL and no group.
fn hand_nothing_on(work: Ref<'_>) -> Result<()> {
    let (_, attr) = stat(work)?;
    if attr.mode & 0o7777 != 0o700 {
        match chmod(work, 0o700) {
            // A filesystem without modes.
            Err(e) if e.errno == Errno::PERM && attr.mode & S_ISGID == 0 => {}
            done => done?,
        }
    }
    for name in [acl::ACCESS, acl::DEFAULT] {
        if get_xattr_if_any(work, name)?.is_some() {
            remove_xattr(work, name)?;
        }
    }
    Ok(())
}

/// Removes what a crash left.
fn remove_leftovers(dir: BorrowedFd<'_>, which: impl Fn(&[u8]) -> bool) -> Result<()> {
    let mut names = Vec::new();
    read_dir(dir, |entry| names.push(entry.name.to_vec()))?;
    names.retain(|name| which(name));
    for name in &names {
        remove_tree(dir, name)?;
    }
    if !names.is_empty() {
        log::info!("removed {} leftovers from workdir", names.len());
    }
    Ok(())
}

/// Opens the directory of index entries, without those whose files are gone.
pub(super) fn open_index(workdir: BorrowedFd<'_>) -> Result<OwnedFd> {
    let index = open_or_make(workdir, INDEX)?;
    clean_index(index.as_fd())?;
    Ok(index)
}

fn open_or_make(workdir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    match make_dir(workdir, name, 0o700) {
        Err(e) if e.errno != Errno::EXIST => return Err(e),
        _ => {}
    }
    open_dir_path(workdir, name, true)
}

/// Removes index entries of files whose last name went just before a crash.
fn clean_index(index: BorrowedFd<'_>) -> Result<()> {
    let mut names = Vec::new();
    read_dir(index, |entry| names.push(entry.name.to_vec()))?;
    for name in &names {
        let entry = Ref::At(index, name);
        let (_, attr) = stat(entry)?;
        let unnamed =
            |mark| matches!(mark, Some(NlinkMark::Upper(delta)) if i64::from(attr.nlink) + delta <= 0);
        // With a second link the file still has a name in the upper.
        if !attr.kind.is_dir() && attr.nlink == 1 && unnamed(read_marks(entry)?.nlink) {
            unlink(index, name)?;
        }
    }
    Ok(())
}
