//! Getting the directories of an upper ready: locking them, making those below workdir, removing what
//! a crash left.

use super::staged::remove_tree;
use super::upper::UpperError;
use super::{NlinkMark, read_marks};
use crate::sys::{
    AsFd, BorrowedFd, Errno, OwnedFd, Ref, RenameHow, Result, flock_exclusive, hands_nothing_on, make_dir,
    open_dir_path, read_dir, remove_dir, rename, reopen, set_top, stat, unlink,
};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const WORK: &[u8] = b"work";
const INDEX: &[u8] = b"index";
/// What the name of a directory begins with that is to become `work`.
const PREPARED: &[u8] = b"#work-";
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

/// Opens the directory of staged objects, empty; answers also whether it was put [apart](replace_apart).
pub(super) fn open_work(workdir: BorrowedFd<'_>) -> Result<(OwnedFd, bool)> {
    remove_prepared(workdir)?;
    let work = open_or_make(workdir, WORK)?;
    clean(work.as_fd())?;
    let apart = replace_apart(workdir).unwrap_or_else(|e| {
        log::debug!("work stays where it is: {e}");
        false
    });
    Ok((if apart { open_dir_path(workdir, WORK, true)? } else { work }, apart))
}

/// On ext4 puts a new directory in the place of the empty `work`, which lies far from whatever was just
/// removed, as then do objects that are staged in it (see [`set_top`]). Its name is another at each
/// mount, and so its place.
fn replace_apart(workdir: BorrowedFd<'_>) -> Result<bool> {
    let Some(was_top) = set_top(workdir, true)? else {
        return Ok(false);
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = [PREPARED, format!("{:x}", now.as_nanos()).as_bytes()].concat();
    let made = make_dir(workdir, &name, 0o700);
    if !was_top {
        set_top(workdir, false)?;
    }
    made?;
    rename(workdir, &name, workdir, WORK, RenameHow::Replace).map(|()| true)
}

/// Removes what a crash or an error in [`replace_apart`] left.
fn remove_prepared(workdir: BorrowedFd<'_>) -> Result<()> {
    let mut names = Vec::new();
    read_dir(workdir, |entry| {
        if entry.name.starts_with(PREPARED) {
            names.push(entry.name.to_vec());
        }
    })?;
    names.iter().try_for_each(|name| remove_dir(workdir, name))
}

/// Whether what is staged is as what is made in this directory at once.
pub(super) fn can_be_staged_for(directory: BorrowedFd<'_>) -> bool {
    hands_nothing_on(directory).unwrap_or_else(|e| {
        log::debug!("directories of the root are made in place: {e}");
        false
    })
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

/// Removes what a crash left in `work`.
fn clean(work: BorrowedFd<'_>) -> Result<()> {
    let mut names = Vec::new();
    read_dir(work, |entry| names.push(entry.name.to_vec()))?;
    for name in &names {
        remove_tree(work, name)?;
    }
    if !names.is_empty() {
        log::info!("removed {} leftovers from workdir", names.len());
    }
    Ok(())
}
