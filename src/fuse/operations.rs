//! What is answered to each request, whatever transport it came by: count, one call of the overlay, and
//! an error becomes an errno.
//!
//! A method that answers an object has handed the kernel's reference to it over: the reply must be sent.

use super::convert::{errno, kind_of_mode, rename_mode, xattr_set};
use super::refresh::Refresher;
use super::reload::AbsentNames;
use super::seeks::{Seek, SeekReply, Seeks};
use super::stats::{Op, Stats};
use crate::config::Settings;
use crate::overlay::{Ahead, DirEntry, Entry, Error, Full, NewObject, Overlay, SeekTo, WriteHow};
use crate::sys::{CachedRange, Errno};
use crate::types::{Attr, Caller, DeviceNumber, FsStats, Ino, SetAttr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long the kernel remembers where nothing else is said: it is the only writer, so for ever
/// (136 years; longer times overflow older kernels).
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

// The ioctls of chattr and lsattr, with the sizes of their structures.
const FS_IOC_GETFLAGS: u32 = 0x8008_6601;
const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
const FS_IOC_FSGETXATTR: u32 = 0x801c_581f;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
const FLAGS_LEN: usize = 4;
const FSXATTR_LEN: usize = 28;

// The flags of a WRITE.
const FUSE_WRITE_CACHE: u32 = 1 << 0;
const FUSE_WRITE_KILL_SUIDGID: u32 = 1 << 2;

/// From so many bytes on a read is worth mapping what is cached: it saves a copy, and costs four system calls more.
const WORTH_MAPPING: usize = 128 << 10;

/// A value, or what is answered instead.
pub(super) type Answer<T> = Result<T, Errno>;

/// A name in a directory.
pub(super) type Named<'a> = (Ino, &'a [u8]);

/// An object that the kernel knows from now on.
pub(super) struct Shown {
    pub(super) ino: Ino,
    pub(super) attr: Attr,
}

/// The value of an xattr, or the list of them.
pub(super) enum XattrAnswer {
    /// How long it is; no more was asked for.
    Length(u32),
    Bytes(Vec<u8>),
}

/// Where a seek led.
pub(super) enum Sought {
    At(i64),
    /// The kernel has to write back first: [`Operations::seek_later`].
    Later(SeekTo),
}

/// The operations of one mount.
#[derive(Debug)]
pub(super) struct Operations {
    overlay: Arc<Overlay>,
    stats: Arc<Stats>,
    seeks: Seeks,
    refresher: Refresher,
    absent: Arc<AbsentNames>,
    /// How long the kernel may remember names and attributes.
    pub(super) remember: Duration,
    /// ACLs are enforced.
    pub(super) acl: bool,
    /// The kernel keeps what is written and sends it later.
    pub(super) writeback: bool,
}

impl Operations {
    pub(super) fn new(
        overlay: Arc<Overlay>,
        stats: Arc<Stats>,
        seeks: Seeks,
        absent: Arc<AbsentNames>,
        settings: &Settings,
    ) -> Self {
        let remember = settings.cache.unwrap_or(FOR_EVER);
        let acl = settings.acl && !overlay.keeps_owners();
        Operations {
            overlay,
            stats,
            seeks,
            refresher: Refresher::default(),
            absent,
            remember,
            acl,
            writeback: settings.writeback,
        }
    }

    /// An operation that nobody needs: the kernel does without it, and mostly does not ask again.
    pub(super) fn refuse(&self, op: Op) -> Errno {
        self.stats.count(op);
        Errno::NOSYS
    }

    /// `None`: there is no such name, and the kernel may remember that.
    pub(super) fn lookup(&self, at: Named<'_>) -> Answer<Option<Shown>> {
        self.stats.count(Op::Lookup);
        match self.overlay.lookup(at.0, at.1) {
            Ok(None) => {
                self.absent.note(at.0, at.1);
                Ok(None)
            }
            Ok(Some(entry)) => Ok(Some(hand_over(entry))),
            Err(e) => Err(errno("lookup", at.0, e)),
        }
    }

    pub(super) fn forget(&self, ino: Ino, lookups: u64) {
        self.stats.count(Op::Forget);
        self.overlay.forget(ino, lookups);
    }

    pub(super) fn get_attr(&self, ino: Ino) -> Answer<Attr> {
        self.stats.count(Op::GetAttr);
        self.overlay.get_attr(ino).map_err(|e| errno("getattr", ino, e))
    }

    pub(super) fn set_attr(&self, ino: Ino, change: &SetAttr, caller: Caller) -> Answer<Attr> {
        self.stats.count(Op::SetAttr);
        self.overlay.set_attr(ino, change, caller).map_err(|e| errno("setattr", ino, e))
    }

    pub(super) fn read_link(&self, ino: Ino) -> Answer<Vec<u8>> {
        self.stats.count(Op::ReadLink);
        let target = self.overlay.read_link(ino).map_err(|e| errno("readlink", ino, e))?;
        self.refresher.note(&self.overlay, ino);
        Ok(target)
    }

    pub(super) fn mknod(&self, at: Named<'_>, mode: u32, rdev: u32, caller: Caller) -> Answer<Shown> {
        self.stats.count(Op::MkNod);
        match kind_of_mode(mode) {
            Some(kind) => self.make(at, NewObject::Node(kind, DeviceNumber::from_fuse(rdev)), mode, caller),
            None => Err(errno("mknod", at.0, Error::Invalid)),
        }
    }

    pub(super) fn mkdir(&self, at: Named<'_>, mode: u32, caller: Caller) -> Answer<Shown> {
        self.stats.count(Op::MkDir);
        self.make(at, NewObject::Directory, mode, caller)
    }

    pub(super) fn symlink(&self, at: Named<'_>, target: &[u8], caller: Caller) -> Answer<Shown> {
        self.stats.count(Op::SymLink);
        self.make(at, NewObject::Symlink(target), 0o777, caller)
    }

    fn make(&self, at: Named<'_>, new: NewObject<'_>, mode: u32, caller: Caller) -> Answer<Shown> {
        let made = self.overlay.create(at.0, at.1, new, mode & 0o7777, caller);
        made.map(hand_over).map_err(|e| errno("create", at.0, e))
    }

    pub(super) fn link(&self, ino: Ino, at: Named<'_>) -> Answer<Shown> {
        self.stats.count(Op::Link);
        self.overlay.link(ino, at.0, at.1).map(hand_over).map_err(|e| errno("link", ino, e))
    }

    pub(super) fn unlink(&self, at: Named<'_>) -> Answer<()> {
        self.stats.count(Op::Unlink);
        self.overlay.unlink(at.0, at.1).map_err(|e| errno("unlink", at.0, e))
    }

    pub(super) fn rmdir(&self, at: Named<'_>) -> Answer<()> {
        self.stats.count(Op::RmDir);
        self.overlay.rmdir(at.0, at.1).map_err(|e| errno("rmdir", at.0, e))
    }

    pub(super) fn rename(&self, from: Named<'_>, to: Named<'_>, flags: u32) -> Answer<()> {
        self.stats.count(Op::Rename);
        rename_mode(flags)
            .and_then(|mode| self.overlay.rename(from.0, from.1, to.0, to.1, mode))
            .map_err(|e| errno("rename", from.0, e))
    }

    /// Reads into the buffer; answers how much.
    pub(super) fn read(&self, ino: Ino, offset: u64, buffer: &mut [u8]) -> Answer<usize> {
        self.stats.count(Op::Read);
        let read = self.overlay.read(ino, offset, buffer).map_err(|e| errno("read", ino, e))?;
        self.after_read(ino, offset);
        Ok(read)
    }

    /// The same bytes where they are in the page cache; `None` if they are to be read.
    pub(super) fn read_cached(&self, ino: Ino, offset: u64, len: usize) -> Option<CachedRange> {
        if len < WORTH_MAPPING {
            return None;
        }
        // An error is found by reading too.
        let range = self.overlay.read_cached(ino, offset, len).ok().flatten()?;
        self.stats.count(Op::Read);
        self.after_read(ino, offset);
        Some(range)
    }

    /// What is to be read ahead because this is read: asked for before the reply, after which the next read may come.
    pub(super) fn next_in_walk(&self, ino: Ino, offset: u64) -> Ahead<'_> {
        if offset == 0 { self.overlay.next_in_walk(ino) } else { Ahead::default() }
    }

    /// Reads ahead; for when the reply is on its way.
    pub(super) fn read_ahead(&self, ahead: &Ahead<'_>) {
        self.overlay.read_ahead(ahead);
    }

    fn after_read(&self, ino: Ino, offset: u64) {
        // Nothing of a directory is locked: its reader waits for pages.
        if offset == 0 {
            self.refresher.refresh(&self.overlay, None);
        }
        self.refresher.note(&self.overlay, ino);
    }

    /// Answers how much was written: all.
    pub(super) fn write(&self, ino: Ino, offset: u64, data: &[u8], flags: u32) -> Answer<u32> {
        self.stats.count(Op::Write);
        let how = WriteHow {
            // Without the write-back cache these come from mappings, and the time is ours to set.
            late: self.writeback && flags & FUSE_WRITE_CACHE != 0,
            kill_set_id: flags & FUSE_WRITE_KILL_SUIDGID != 0,
        };
        match self.overlay.write(ino, offset, data, how) {
            Ok(()) => Ok(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(e) => Err(errno("write", ino, e)),
        }
    }

    pub(super) fn fsync(&self, ino: Ino, data_only: bool) -> Answer<()> {
        self.stats.count(Op::FSync);
        self.overlay.sync_file(ino, data_only).map_err(|e| errno("fsync", ino, e))
    }

    pub(super) fn fsync_dir(&self, ino: Ino) -> Answer<()> {
        self.stats.count(Op::FSyncDir);
        self.overlay.sync_dir(ino).map_err(|e| errno("fsyncdir", ino, e))
    }

    /// RELEASE and RELEASEDIR: there are no handles to let go.
    pub(super) fn release(&self, op: Op) {
        self.stats.count(op);
    }

    pub(super) fn read_dir(
        &self,
        ino: Ino,
        cookie: u64,
        each: impl FnMut(DirEntry<'_>) -> Result<(), Full>,
    ) -> Answer<()> {
        self.stats.count(Op::ReadDir);
        let listed = self.overlay.read_dir(ino, cookie, each).map_err(|e| errno("readdir", ino, e));
        self.outdates_directory(ino);
        listed
    }

    /// `each` takes an entry, with what it shows unless it is `.` or `..`, or is full.
    pub(super) fn read_dir_plus(
        &self,
        ino: Ino,
        cookie: u64,
        mut each: impl FnMut(DirEntry<'_>, Option<&Attr>) -> Result<(), Full>,
    ) -> Answer<()> {
        self.stats.count(Op::ReadDirPlus);
        if let Some((visited, from)) = self.refresher.visited(ino, cookie) {
            let done = self.overlay.list_outdated(&visited.of, from, |name, next, found| {
                let next = Refresher::cookie(next);
                each(DirEntry { name, ino: found.ino, kind: found.attr.kind, next }, Some(&found.attr))?;
                hand_over(found);
                Ok(())
            });
            visited.given_up_to(done);
            self.refresher.note(&self.overlay, ino);
            return Ok(());
        }
        let listed = self.overlay.read_dir_plus(ino, cookie, |entry, found| {
            each(entry, found.as_ref().map(|found| &found.attr))?;
            // Only what was taken: the reference of a refused entry is given back.
            found.map(hand_over);
            Ok(())
        });
        self.outdates_directory(ino);
        listed.map_err(|e| errno("readdirplus", ino, e))
    }

    /// Before the reply with a part of a listing: with it the kernel takes the directory's access time for
    /// stale.
    fn outdates_directory(&self, ino: Ino) {
        self.refresher.refresh(&self.overlay, Some(ino));
        self.refresher.note(&self.overlay, ino);
    }

    /// Has attributes given anew that reading made stale, where the mount is one to be visited.
    /// Its device number is `MAJOR:MINOR`.
    pub(super) fn start_refreshing(&self, target: &Path, device: &str) -> std::io::Result<()> {
        self.refresher.start(target.to_owned(), device.to_owned())
    }

    pub(super) fn statistics(&self, ino: Ino) -> Answer<FsStats> {
        self.stats.count(Op::StatFs);
        self.overlay.statistics().map_err(|e| errno("statfs", ino, e))
    }

    pub(super) fn set_xattr(
        &self,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        flags: u32,
        caller: Caller,
    ) -> Answer<()> {
        self.stats.count(Op::SetXAttr);
        let done = self.overlay.set_xattr(ino, name, value, xattr_set(flags), caller);
        done.map_err(|e| errno("setxattr", ino, e))
    }

    pub(super) fn get_xattr(&self, ino: Ino, name: &[u8], size: u32) -> Answer<XattrAnswer> {
        self.stats.count(Op::GetXAttr);
        fit(self.overlay.get_xattr(ino, name), size).map_err(|e| errno("getxattr", ino, e))
    }

    pub(super) fn list_xattrs(&self, ino: Ino, size: u32, caller: Caller) -> Answer<XattrAnswer> {
        self.stats.count(Op::ListXAttr);
        fit(self.overlay.list_xattrs(ino, caller), size).map_err(|e| errno("listxattr", ino, e))
    }

    pub(super) fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Answer<()> {
        self.stats.count(Op::RemoveXAttr);
        self.overlay.remove_xattr(ino, name).map_err(|e| errno("removexattr", ino, e))
    }

    /// The ioctls of chattr and lsattr; answers what the caller gets back.
    pub(super) fn ioctl(&self, ino: Ino, request: u32, given: &[u8]) -> Answer<Vec<u8>> {
        self.stats.count(Op::IoCtl);
        let get = |len: usize| self.overlay.get_flags(ino, request).map(|flags| flags[..len].to_vec());
        let set = |len: usize| {
            let mut flags = [0u8; FSXATTR_LEN];
            let given = given.get(..len).ok_or(Error::Invalid)?;
            flags[..len].copy_from_slice(given);
            self.overlay.set_flags(ino, request, &flags).map(|()| Vec::new())
        };
        let done = match request {
            FS_IOC_GETFLAGS => get(FLAGS_LEN),
            FS_IOC_FSGETXATTR => get(FSXATTR_LEN),
            FS_IOC_SETFLAGS => set(FLAGS_LEN),
            FS_IOC_FSSETXATTR => set(FSXATTR_LEN),
            _ => return Err(Errno::NOTTY),
        };
        done.map_err(|e| match e {
            Error::Unsupported => Errno::NOTTY,
            e => errno("ioctl", ino, e),
        })
    }

    pub(super) fn fallocate(&self, ino: Ino, mode: u32, offset: u64, len: u64) -> Answer<()> {
        self.stats.count(Op::FAllocate);
        self.overlay.fallocate(ino, mode, offset, len).map_err(|e| errno("fallocate", ino, e))
    }

    pub(super) fn seek(&self, ino: Ino, offset: u64, whence: u32) -> Answer<Sought> {
        const SEEK_DATA: u32 = 3;
        const SEEK_HOLE: u32 = 4;
        self.stats.count(Op::LSeek);
        let whence = match whence {
            SEEK_DATA => SeekTo::Data,
            SEEK_HOLE => SeekTo::Hole,
            _ => return Err(errno("lseek", ino, Error::Invalid)),
        };
        // The protocol's offsets are signed.
        if i64::try_from(offset).is_err() {
            return Err(Errno::NXIO);
        }
        if self.writeback {
            return Ok(Sought::Later(whence));
        }
        match self.overlay.seek_for_certain(ino, offset, whence) {
            Ok(Some(at)) => Ok(Sought::At(i64::try_from(at).unwrap_or(i64::MAX))),
            Ok(None) => Ok(Sought::Later(whence)),
            Err(e) => Err(errno("lseek", ino, e)),
        }
    }

    /// Replies to a seek once the kernel has written back.
    pub(super) fn seek_later(&self, ino: Ino, offset: u64, whence: SeekTo, reply: SeekReply) {
        // A queue that is gone belongs to a mount that ended.
        if let Err(refused) = self.seeks.send(Seek { ino, offset, whence, reply }) {
            (refused.0.reply)(Err(Errno::IO));
        }
    }

    /// Answers how much was copied.
    pub(super) fn copy_range(&self, from: (Ino, u64), to: (Ino, u64), len: u64) -> Answer<u32> {
        // The reply has 32 bits: a longer copy is done in parts by the caller.
        const MOST: u64 = 1 << 30;
        self.stats.count(Op::CopyFileRange);
        match self.overlay.copy_range(from.0, from.1, to.0, to.1, len.min(MOST)) {
            Ok(copied) => Ok(u32::try_from(copied).unwrap_or(u32::MAX)),
            Err(e) => Err(errno("copy_file_range", to.0, e)),
        }
    }
}

/// Gives the kernel its reference.
fn hand_over(entry: Entry<'_>) -> Shown {
    entry.node.into_kernel();
    Shown { ino: entry.ino, attr: entry.attr }
}

/// A value, or its length if the caller asks for no more.
fn fit(value: Result<Vec<u8>, Error>, size: u32) -> Result<XattrAnswer, Error> {
    match value? {
        value if size == 0 => Ok(XattrAnswer::Length(u32::try_from(value.len()).unwrap_or(u32::MAX))),
        value if value.len() > size as usize => Err(Error::TooSmall),
        value => Ok(XattrAnswer::Bytes(value)),
    }
}
