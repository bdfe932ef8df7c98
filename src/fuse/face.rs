//! The operations: convert, one call, reply.

use super::buffer::with_buffer;
use super::capabilities::negotiate;
use super::convert::{
    caller, errno, file_attr, file_type, kind_of_mode, negative, rename_mode, set_time, xattr_set,
};
use super::notices::{Notice, Notices, Seek};
use super::reload::AbsentNames;
use super::stats::{Op, Stats};
use crate::config::Settings;
use crate::overlay::{Entry, Error, Full, NewObject, Overlay, SeekTo, WriteHow};
use crate::types::{Caller, DeviceNumber, Ino, SetAttr};
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, Generation, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long the kernel remembers where nothing else is said: it is the only writer, so for ever
/// (136 years; longer times overflow older kernels).
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);
/// Node ids are inode numbers, and none is used for a second object while the kernel knows it.
const GENERATION: Generation = Generation(0);

// The ioctls of chattr and lsattr, with the sizes of their structures.
const FS_IOC_GETFLAGS: u32 = 0x8008_6601;
const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
const FS_IOC_FSGETXATTR: u32 = 0x801c_581f;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
const FLAGS_LEN: usize = 4;
const FSXATTR_LEN: usize = 28;

/// The filesystem as fuser sees it.
#[derive(Debug)]
pub(super) struct Face {
    overlay: Arc<Overlay>,
    stats: Arc<Stats>,
    notices: Notices,
    absent: Arc<AbsentNames>,
    remember: Duration,
    acl: bool,
    writeback: bool,
}

impl Face {
    pub(super) fn new(
        overlay: Arc<Overlay>,
        stats: Arc<Stats>,
        notices: Notices,
        absent: Arc<AbsentNames>,
        settings: &Settings,
    ) -> Self {
        let remember = settings.cache.unwrap_or(FOR_EVER);
        let acl = settings.acl && !overlay.keeps_owners();
        Face { overlay, stats, notices, absent, remember, acl, writeback: settings.writeback }
    }

    /// Has the kernel list a directory anew.
    fn relist(&self, directory: Option<Ino>) {
        // A queue that is gone belongs to a mount that ended.
        if let Some(directory) = directory
            && self.notices.send(Notice::Relist(directory)).is_err()
        {
            log::debug!("the mount is ending");
        }
    }

    fn reply_entry(&self, what: &str, parent: INodeNo, found: Result<Entry<'_>, Error>, reply: ReplyEntry) {
        match found {
            Ok(entry) => {
                let attr = file_attr(entry.ino, &entry.attr);
                entry.node.into_kernel();
                reply.entry(&self.remember, &attr, GENERATION);
            }
            Err(e) => reply.error(errno(what, parent, e)),
        }
    }

    fn make(&self, at: (INodeNo, &OsStr), new: NewObject<'_>, mode: u32, caller: Caller, reply: ReplyEntry) {
        let made = self.overlay.create(Ino(at.0.0), at.1.as_bytes(), new, mode & 0o7777, caller);
        self.reply_entry("create", at.0, made, reply);
    }
}

fn reply_empty(what: &str, ino: INodeNo, done: Result<(), Error>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(errno(what, ino, e)),
    }
}

/// Replies with a value, or with its length if the caller asks for no more.
fn reply_xattr(ino: INodeNo, size: u32, value: Result<Vec<u8>, Error>, reply: ReplyXattr) {
    match value {
        Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() > size as usize => reply.error(errno("getxattr", ino, Error::TooSmall)),
        Ok(value) => reply.data(&value),
        Err(e) => reply.error(errno("getxattr", ino, e)),
    }
}

impl Filesystem for Face {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        negotiate(config, self.acl, self.writeback);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.stats.count(Op::Lookup);
        match self.overlay.lookup(Ino(parent.0), name.as_bytes()) {
            Ok(None) => {
                self.absent.note(Ino(parent.0), name.as_bytes());
                reply.entry(&self.remember, &negative(), GENERATION);
            }
            Ok(Some(entry)) => self.reply_entry("lookup", parent, Ok(entry), reply),
            Err(e) => reply.error(errno("lookup", parent, e)),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.stats.count(Op::Forget);
        self.overlay.forget(Ino(ino.0), nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.stats.count(Op::GetAttr);
        match self.overlay.get_attr(Ino(ino.0)) {
            Ok(attr) => reply.attr(&self.remember, &file_attr(Ino(ino.0), &attr)),
            Err(e) => reply.error(errno("getattr", ino, e)),
        }
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.stats.count(Op::SetAttr);
        let change = SetAttr { mode, uid, gid, size, atime: set_time(atime), mtime: set_time(mtime) };
        match self.overlay.set_attr(Ino(ino.0), &change, caller(req, 0)) {
            Ok(attr) => reply.attr(&self.remember, &file_attr(Ino(ino.0), &attr)),
            Err(e) => reply.error(errno("setattr", ino, e)),
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        self.stats.count(Op::ReadLink);
        match self.overlay.read_link(Ino(ino.0)) {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(errno("readlink", ino, e)),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        self.stats.count(Op::MkNod);
        match kind_of_mode(mode) {
            Some(kind) => {
                let new = NewObject::Node(kind, DeviceNumber::from_fuse(rdev));
                self.make((parent, name), new, mode, caller(req, umask), reply);
            }
            None => reply.error(errno("mknod", parent, Error::Invalid)),
        }
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        self.stats.count(Op::MkDir);
        self.make((parent, name), NewObject::Directory, mode, caller(req, umask), reply);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.stats.count(Op::SymLink);
        let new = NewObject::Symlink(target.as_os_str().as_bytes());
        self.make((parent, name), new, 0o777, caller(req, 0), reply);
    }

    fn link(&self, _req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        self.stats.count(Op::Link);
        let linked = self.overlay.link(Ino(ino.0), Ino(newparent.0), newname.as_bytes());
        self.reply_entry("link", ino, linked, reply);
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.stats.count(Op::Unlink);
        reply_empty("unlink", parent, self.overlay.unlink(Ino(parent.0), name.as_bytes()), reply);
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.stats.count(Op::RmDir);
        reply_empty("rmdir", parent, self.overlay.rmdir(Ino(parent.0), name.as_bytes()), reply);
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.stats.count(Op::Rename);
        let (from, to) = ((Ino(parent.0), name.as_bytes()), (Ino(newparent.0), newname.as_bytes()));
        let done = rename_mode(flags).and_then(|mode| self.overlay.rename(from.0, from.1, to.0, to.1, mode));
        reply_empty("rename", parent, done, reply);
    }

    /// ENOSYS: the kernel opens without asking from then on (FUSE_NO_OPEN_SUPPORT).
    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.stats.count(Op::Open);
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.stats.count(Op::Read);
        with_buffer(size as usize, |buffer| match self.overlay.read(Ino(ino.0), offset, buffer) {
            Ok(len) => reply.data(&buffer[..len]),
            Err(e) => reply.error(errno("read", ino, e)),
        });
        // Only the first READ of a file counts.
        if offset == 0 {
            self.relist(self.overlay.outdated_listing(Ino(ino.0)));
        }
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.stats.count(Op::Write);
        let how = WriteHow {
            // Without the write-back cache these come from mappings, and the time is ours to set.
            late: self.writeback && write_flags.contains(WriteFlags::FUSE_WRITE_CACHE),
            kill_set_id: write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID),
        };
        match self.overlay.write(Ino(ino.0), offset, data, how) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(e) => reply.error(errno("write", ino, e)),
        }
    }

    /// ENOSYS: the kernel does not ask again.
    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        self.stats.count(Op::Flush);
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.stats.count(Op::Release);
        reply.ok();
    }

    fn fsync(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.stats.count(Op::FSync);
        reply_empty("fsync", ino, self.overlay.sync_file(Ino(ino.0), datasync), reply);
    }

    /// ENOSYS: the kernel opens directories without asking from then on (FUSE_NO_OPENDIR_SUPPORT).
    fn opendir(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.stats.count(Op::OpenDir);
        reply.error(Errno::ENOSYS);
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.stats.count(Op::ReadDir);
        let listed = self.overlay.read_dir(Ino(ino.0), offset, |entry| {
            let name = OsStr::from_bytes(entry.name);
            match reply.add(INodeNo(entry.ino.0), entry.next, file_type(entry.kind), name) {
                true => Err(Full),
                false => Ok(()),
            }
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(errno("readdir", ino, e)),
        }
    }

    fn readdirplus(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.stats.count(Op::ReadDirPlus);
        let listed = self.overlay.read_dir_plus(Ino(ino.0), offset, |entry, found| {
            let name = OsStr::from_bytes(entry.name);
            let attr = match &found {
                Some(found) => file_attr(found.ino, &found.attr),
                // `.` and `..`: only number and kind are read.
                None => {
                    fuser::FileAttr { ino: INodeNo(entry.ino.0), kind: file_type(entry.kind), ..negative() }
                }
            };
            if reply.add(attr.ino, entry.next, name, &self.remember, &attr, GENERATION) {
                return Err(Full);
            }
            if let Some(found) = found {
                found.node.into_kernel();
            }
            Ok(())
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(errno("readdirplus", ino, e)),
        }
        if offset == 0 {
            self.relist(self.overlay.outdated_by_listing(Ino(ino.0)));
        }
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.stats.count(Op::ReleaseDir);
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.stats.count(Op::FSyncDir);
        reply_empty("fsyncdir", ino, self.overlay.sync_dir(Ino(ino.0)), reply);
    }

    fn statfs(&self, _req: &Request, ino: INodeNo, reply: ReplyStatfs) {
        self.stats.count(Op::StatFs);
        match self.overlay.statistics() {
            Ok(s) => reply.statfs(
                s.blocks,
                s.free,
                s.available,
                s.files,
                s.files_free,
                s.block_size,
                s.name_max,
                s.fragment_size,
            ),
            Err(e) => reply.error(errno("statfs", ino, e)),
        }
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        self.stats.count(Op::SetXAttr);
        let done =
            self.overlay.set_xattr(Ino(ino.0), name.as_bytes(), value, xattr_set(flags), caller(req, 0));
        reply_empty("setxattr", ino, done, reply);
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.stats.count(Op::GetXAttr);
        reply_xattr(ino, size, self.overlay.get_xattr(Ino(ino.0), name.as_bytes()), reply);
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.stats.count(Op::ListXAttr);
        reply_xattr(ino, size, self.overlay.list_xattrs(Ino(ino.0), caller(req, 0)), reply);
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.stats.count(Op::RemoveXAttr);
        reply_empty("removexattr", ino, self.overlay.remove_xattr(Ino(ino.0), name.as_bytes()), reply);
    }

    /// ENOSYS: the kernel checks by itself (default_permissions).
    fn access(&self, _req: &Request, _ino: INodeNo, _mask: fuser::AccessFlags, reply: ReplyEmpty) {
        self.stats.count(Op::Access);
        reply.error(Errno::ENOSYS);
    }

    /// ENOSYS: new files come through MKNOD, which costs no handle.
    fn create(
        &self,
        _req: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        self.stats.count(Op::Create);
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        cmd: u32,
        in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        self.stats.count(Op::IoCtl);
        let get = |len: usize| self.overlay.get_flags(Ino(ino.0), cmd).map(|flags| flags[..len].to_vec());
        let set = |len: usize| {
            let mut flags = [0u8; FSXATTR_LEN];
            let given = in_data.get(..len).ok_or(Error::Invalid)?;
            flags[..len].copy_from_slice(given);
            self.overlay.set_flags(Ino(ino.0), cmd, &flags).map(|()| Vec::new())
        };
        let done = match cmd {
            FS_IOC_GETFLAGS => get(FLAGS_LEN),
            FS_IOC_FSGETXATTR => get(FSXATTR_LEN),
            FS_IOC_SETFLAGS => set(FLAGS_LEN),
            FS_IOC_FSSETXATTR => set(FSXATTR_LEN),
            _ => return reply.error(Errno::ENOTTY),
        };
        match done {
            Ok(out) => reply.ioctl(0, &out),
            Err(Error::Unsupported) => reply.error(Errno::ENOTTY),
            Err(e) => reply.error(errno("ioctl", ino, e)),
        }
    }

    fn fallocate(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.stats.count(Op::FAllocate);
        let done = self.overlay.fallocate(Ino(ino.0), mode.unsigned_abs(), offset, length);
        reply_empty("fallocate", ino, done, reply);
    }

    fn lseek(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        const SEEK_DATA: i32 = 3;
        const SEEK_HOLE: i32 = 4;
        self.stats.count(Op::LSeek);
        let whence = match whence {
            SEEK_DATA => SeekTo::Data,
            SEEK_HOLE => SeekTo::Hole,
            _ => return reply.error(errno("lseek", ino, Error::Invalid)),
        };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        if !self.writeback {
            match self.overlay.seek_for_certain(Ino(ino.0), offset, whence) {
                Ok(Some(at)) => return reply.offset(i64::try_from(at).unwrap_or(i64::MAX)),
                Ok(None) => {}
                Err(e) => return reply.error(errno("lseek", ino, e)),
            }
        }
        if let Err(refused) = self.notices.send(Notice::Seek(Seek { ino, offset, whence, reply }))
            && let Notice::Seek(seek) = refused.0
        {
            seek.reply.error(Errno::EIO);
        }
    }

    fn copy_file_range(
        &self,
        _req: &Request,
        ino_in: INodeNo,
        _fh_in: FileHandle,
        offset_in: u64,
        ino_out: INodeNo,
        _fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        // The reply has 32 bits: a longer copy is done in parts by the caller.
        const MOST: u64 = 1 << 30;
        self.stats.count(Op::CopyFileRange);
        let done =
            self.overlay.copy_range(Ino(ino_in.0), offset_in, Ino(ino_out.0), offset_out, len.min(MOST));
        match done {
            Ok(copied) => reply.written(u32::try_from(copied).unwrap_or(u32::MAX)),
            Err(e) => reply.error(errno("copy_file_range", ino_out, e)),
        }
    }
}
