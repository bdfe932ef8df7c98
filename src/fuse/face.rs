//! The operations as fuser brings them: convert, one call, reply.

use super::buffer::with_buffer;
use super::capabilities::{RingWish, negotiate};
use super::convert::{caller, file_attr, file_type, negative, set_time};
use super::operations::{Answer, Operations, Shown, Sought, XattrAnswer};
use super::stats::Op;
use crate::overlay::Full;
use crate::sys;
use crate::types::{Ino, SetAttr};
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
use std::time::SystemTime;

/// Node ids are inode numbers, and none is used for a second object while the kernel knows it.
const GENERATION: Generation = Generation(0);

/// The filesystem as fuser sees it.
#[derive(Debug)]
pub(super) struct Face {
    pub(super) operations: Arc<Operations>,
    /// Requests are to come over io_uring, if the kernel offers it.
    pub(super) ring: Option<RingWish>,
}

impl Face {
    fn reply_entry(&self, shown: Answer<Shown>, reply: ReplyEntry) {
        match shown {
            Ok(shown) => {
                reply.entry(&self.operations.remember, &file_attr(shown.ino, &shown.attr), GENERATION)
            }
            Err(e) => reply.error(refusal(e)),
        }
    }
}

fn refusal(errno: sys::Errno) -> Errno {
    Errno::from_i32(errno.raw_os_error())
}

fn named(parent: INodeNo, name: &OsStr) -> (Ino, &[u8]) {
    (Ino(parent.0), name.as_bytes())
}

fn reply_empty(done: Answer<()>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(refusal(e)),
    }
}

fn reply_xattr(value: Answer<XattrAnswer>, reply: ReplyXattr) {
    match value {
        Ok(XattrAnswer::Length(length)) => reply.size(length),
        Ok(XattrAnswer::Bytes(bytes)) => reply.data(&bytes),
        Err(e) => reply.error(refusal(e)),
    }
}

impl Filesystem for Face {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        negotiate(config, &self.operations, self.ring.as_ref());
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.operations.lookup(named(parent, name)) {
            Ok(None) => reply.entry(&self.operations.remember, &negative(), GENERATION),
            Ok(Some(shown)) => self.reply_entry(Ok(shown), reply),
            Err(e) => reply.error(refusal(e)),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.operations.forget(Ino(ino.0), nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.operations.get_attr(Ino(ino.0)) {
            Ok(attr) => reply.attr(&self.operations.remember, &file_attr(Ino(ino.0), &attr)),
            Err(e) => reply.error(refusal(e)),
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
        let change = SetAttr { mode, uid, gid, size, atime: set_time(atime), mtime: set_time(mtime) };
        match self.operations.set_attr(Ino(ino.0), &change, caller(req, 0)) {
            Ok(attr) => reply.attr(&self.operations.remember, &file_attr(Ino(ino.0), &attr)),
            Err(e) => reply.error(refusal(e)),
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match self.operations.read_link(Ino(ino.0)) {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(refusal(e)),
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
        self.reply_entry(self.operations.mknod(named(parent, name), mode, rdev, caller(req, umask)), reply);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        self.reply_entry(self.operations.mkdir(named(parent, name), mode, caller(req, umask)), reply);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes();
        self.reply_entry(self.operations.symlink(named(parent, name), target, caller(req, 0)), reply);
    }

    fn link(&self, _req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        self.reply_entry(self.operations.link(Ino(ino.0), named(newparent, newname)), reply);
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(self.operations.unlink(named(parent, name)), reply);
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(self.operations.rmdir(named(parent, name)), reply);
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
        let (from, to) = (named(parent, name), named(newparent, newname));
        reply_empty(self.operations.rename(from, to, flags.bits()), reply);
    }

    /// ENOSYS: the kernel opens without asking from then on (FUSE_NO_OPEN_SUPPORT).
    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(refusal(self.operations.refuse(Op::Open)));
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
        let ino = Ino(ino.0);
        let ahead = self.operations.next_in_walk(ino, offset);
        match self.operations.read_cached(ino, offset, size as usize) {
            Some(range) => reply.data(range.bytes()),
            None => with_buffer(size as usize, |buffer| match self.operations.read(ino, offset, buffer) {
                Ok(len) => reply.data(&buffer[..len]),
                Err(e) => reply.error(refusal(e)),
            }),
        }
        self.operations.read_ahead(&ahead);
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
        match self.operations.write(Ino(ino.0), offset, data, write_flags.bits()) {
            Ok(written) => reply.written(written),
            Err(e) => reply.error(refusal(e)),
        }
    }

    /// ENOSYS: the kernel does not ask again.
    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.error(refusal(self.operations.refuse(Op::Flush)));
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
        self.operations.release(Op::Release);
        reply.ok();
    }

    fn fsync(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        reply_empty(self.operations.fsync(Ino(ino.0), datasync), reply);
    }

    /// ENOSYS: the kernel opens directories without asking from then on (FUSE_NO_OPENDIR_SUPPORT).
    fn opendir(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(refusal(self.operations.refuse(Op::OpenDir)));
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.operations.read_dir(Ino(ino.0), offset, |entry| {
            let name = OsStr::from_bytes(entry.name);
            match reply.add(INodeNo(entry.ino.0), entry.next, file_type(entry.kind), name) {
                true => Err(Full),
                false => Ok(()),
            }
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(refusal(e)),
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
        let listed = self.operations.read_dir_plus(Ino(ino.0), offset, |entry, attr| {
            let name = OsStr::from_bytes(entry.name);
            let attr = match attr {
                Some(attr) => file_attr(entry.ino, attr),
                // `.` and `..`: only number and kind are read.
                None => {
                    fuser::FileAttr { ino: INodeNo(entry.ino.0), kind: file_type(entry.kind), ..negative() }
                }
            };
            match reply.add(attr.ino, entry.next, name, &self.operations.remember, &attr, GENERATION) {
                true => Err(Full),
                false => Ok(()),
            }
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(refusal(e)),
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
        self.operations.release(Op::ReleaseDir);
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply_empty(self.operations.fsync_dir(Ino(ino.0)), reply);
    }

    fn statfs(&self, _req: &Request, ino: INodeNo, reply: ReplyStatfs) {
        match self.operations.statistics(Ino(ino.0)) {
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
            Err(e) => reply.error(refusal(e)),
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
        let done = self.operations.set_xattr(
            Ino(ino.0),
            name.as_bytes(),
            value,
            flags.cast_unsigned(),
            caller(req, 0),
        );
        reply_empty(done, reply);
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        reply_xattr(self.operations.get_xattr(Ino(ino.0), name.as_bytes(), size), reply);
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        reply_xattr(self.operations.list_xattrs(Ino(ino.0), size, caller(req, 0)), reply);
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(self.operations.remove_xattr(Ino(ino.0), name.as_bytes()), reply);
    }

    /// ENOSYS: the kernel checks by itself (default_permissions).
    fn access(&self, _req: &Request, _ino: INodeNo, _mask: fuser::AccessFlags, reply: ReplyEmpty) {
        reply.error(refusal(self.operations.refuse(Op::Access)));
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
        reply.error(refusal(self.operations.refuse(Op::Create)));
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
        match self.operations.ioctl(Ino(ino.0), cmd, in_data) {
            Ok(out) => reply.ioctl(0, &out),
            Err(e) => reply.error(refusal(e)),
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
        reply_empty(self.operations.fallocate(Ino(ino.0), mode.cast_unsigned(), offset, length), reply);
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
        let (ino, offset) = (Ino(ino.0), offset.cast_unsigned());
        match self.operations.seek(ino, offset, whence.cast_unsigned()) {
            Ok(Sought::At(at)) => reply.offset(at),
            Ok(Sought::Later(whence)) => {
                let reply = move |answer: Answer<i64>| match answer {
                    Ok(at) => reply.offset(at),
                    Err(e) => reply.error(refusal(e)),
                };
                self.operations.seek_later(ino, offset, whence, Box::new(reply));
            }
            Err(e) => reply.error(refusal(e)),
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
        match self.operations.copy_range((Ino(ino_in.0), offset_in), (Ino(ino_out.0), offset_out), len) {
            Ok(copied) => reply.written(copied),
            Err(e) => reply.error(refusal(e)),
        }
    }
}
