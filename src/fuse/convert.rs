//! Between the protocol's types and ours.

use crate::overlay::{Error, RenameMode};
use crate::sys::Errno;
use crate::sys::XattrSet;
use crate::types::{Attr, Caller, FileKind, Ino, SetTime, Timestamp};
use fuser::{FileAttr, FileType, INodeNo, Request, TimeOrNow};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file type bits of a mode.
const S_IFMT: u32 = 0o170_000;
// The flags of renameat2 that users may give.
const RENAME_NOREPLACE: u32 = 1 << 0;
const RENAME_EXCHANGE: u32 = 1 << 1;

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
    }
}

/// The kind that mknod's mode asks for; `None` if it is none that mknod makes.
pub(super) fn kind_of_mode(mode: u32) -> Option<FileKind> {
    match mode & S_IFMT {
        0 | 0o100_000 => Some(FileKind::Regular),
        0o020_000 => Some(FileKind::CharDevice),
        0o060_000 => Some(FileKind::BlockDevice),
        0o010_000 => Some(FileKind::Fifo),
        0o140_000 => Some(FileKind::Socket),
        _ => None,
    }
}

pub(super) fn file_attr(ino: Ino, attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino.0),
        size: attr.size,
        blocks: attr.blocks,
        atime: attr.atime.into(),
        mtime: attr.mtime.into(),
        ctime: attr.ctime.into(),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: u16::try_from(attr.mode & 0o7777).unwrap_or(0),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev.to_fuse(),
        blksize: attr.blksize,
        flags: 0,
    }
}

/// The reply to a lookup that found nothing and may be remembered: node id 0.
pub(super) fn negative() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

pub(super) fn caller(request: &Request, umask: u32) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), pid: request.pid(), umask: umask & 0o777 }
}

pub(super) fn set_time(time: Option<TimeOrNow>) -> SetTime {
    match time {
        None => SetTime::Omit,
        Some(TimeOrNow::Now) => SetTime::Now,
        Some(TimeOrNow::SpecificTime(time)) => SetTime::To(received_time(time)),
    }
}

/// A time as the kernel sent it. fuser 0.18 takes the nanoseconds of times before the epoch as
/// going further back, while the kernel counts them forward: undone here.
fn received_time(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(_) => Timestamp::from(time),
        Err(before) => {
            let back = before.duration();
            Timestamp { secs: -i64::try_from(back.as_secs()).unwrap_or(i64::MAX), nanos: back.subsec_nanos() }
        }
    }
}

/// What rename's flags ask for; RENAME_WHITEOUT is for the layers, not for users.
pub(super) fn rename_mode(flags: u32) -> Result<RenameMode, Error> {
    match flags {
        0 => Ok(RenameMode::Replace),
        RENAME_NOREPLACE => Ok(RenameMode::NoReplace),
        RENAME_EXCHANGE => Ok(RenameMode::Exchange),
        _ => Err(Error::Invalid),
    }
}

/// XATTR_CREATE and XATTR_REPLACE.
pub(super) fn xattr_set(flags: u32) -> XattrSet {
    match flags & 3 {
        1 => XattrSet::Create,
        2 => XattrSet::Replace,
        _ => XattrSet::Any,
    }
}

/// The errno of an error: the one place where errors are logged.
pub(super) fn errno(what: &str, ino: Ino, error: Error) -> Errno {
    let errno = error.errno();
    // What points at the layers or the disk is worth a line; the rest is everyday life.
    let level = match error {
        Error::DataMissing | Error::BadRedirect | Error::UnknownInode => log::Level::Warn,
        Error::Sys(e) if matches!(e.errno, Errno::IO | Errno::NOSPC | Errno::NFILE | Errno::MFILE) => {
            log::Level::Warn
        }
        _ => log::Level::Debug,
    };
    log::log!(level, "{what} of inode {}: {error}", ino.0);
    errno
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r4_only_the_users_rename_flags_pass() {
        const RENAME_WHITEOUT: u32 = 1 << 2;
        assert_eq!(rename_mode(0), Ok(RenameMode::Replace));
        assert_eq!(rename_mode(RENAME_EXCHANGE), Ok(RenameMode::Exchange));
        assert_eq!(rename_mode(RENAME_NOREPLACE), Ok(RenameMode::NoReplace));
        assert_eq!(rename_mode(RENAME_WHITEOUT), Err(Error::Invalid));
        assert_eq!(rename_mode(RENAME_EXCHANGE | RENAME_NOREPLACE), Err(Error::Invalid));
    }

    #[test]
    fn mknod_makes_neither_directories_nor_symlinks() {
        assert_eq!(kind_of_mode(0o644), Some(FileKind::Regular));
        assert_eq!(kind_of_mode(0o010_600), Some(FileKind::Fifo));
        assert_eq!(kind_of_mode(0o040_755), None);
        assert_eq!(kind_of_mode(0o120_777), None);
    }

    #[test]
    fn a_specific_time_is_kept_to_the_nanosecond() {
        let time = UNIX_EPOCH + std::time::Duration::new(7, 123_456_789);
        assert_eq!(
            set_time(Some(TimeOrNow::SpecificTime(time))),
            SetTime::To(Timestamp { secs: 7, nanos: 123_456_789 })
        );
        // What fuser makes of -1 s + 5 ns.
        let early = UNIX_EPOCH - std::time::Duration::new(1, 5);
        assert_eq!(
            set_time(Some(TimeOrNow::SpecificTime(early))),
            SetTime::To(Timestamp { secs: -1, nanos: 5 })
        );
    }
}
