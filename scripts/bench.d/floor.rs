//! A FUSE server that does nothing: `big` of 512 MiB and `small/f0` to `small/f9999` of 4 KiB come from one buffer,
//! of what is written only the size is known. It agrees with the kernel on the same as layerfs, so the time that a row of
//! `scripts/bench` takes over it is that of the kernel, of waking one another, and of the transport: no server of this
//! kind is faster.
//!
//! Usage: floor MOUNTPOINT; serves until it is unmounted.

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, ReplyXattr, Request, Session, SessionACL, TimeOrNow, WriteFlags,
};
use layerfs::sys::{FuseMount, MountFlags, fuse_device, mount_fuse};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{Error, Result};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MAX_IO: u32 = 1 << 20;
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);
const ROOT: u64 = 1;
const SMALL: u64 = 2;
const BIG: u64 = 3;
const FIRST_SMALL: u64 = 10;
/// New files have numbers from here on.
const FIRST_NEW: u64 = 1 << 32;

/// What the kernel is asked for: as in `src/fuse/capabilities.rs`, without listings, which it has none of.
const WANTED: &[InitFlags] = &[
    InitFlags::FUSE_NO_OPEN_SUPPORT,
    InitFlags::FUSE_NO_OPENDIR_SUPPORT,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_DONT_MASK,
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
];

struct Floor {
    data: Vec<u8>,
    /// Sizes of the new files.
    new: Mutex<HashMap<u64, u64>>,
}

impl Floor {
    /// Runs `body` on the sizes of the new files.
    fn with_new<T>(&self, body: impl FnOnce(&mut HashMap<u64, u64>) -> T) -> T {
        body(&mut self.new.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn attr(&self, ino: u64) -> FileAttr {
        let (kind, size) = match ino {
            ROOT | SMALL => (FileType::Directory, 0),
            BIG => (FileType::RegularFile, 512 << 20),
            FIRST_NEW.. => {
                (FileType::RegularFile, self.with_new(|sizes| sizes.get(&ino).copied().unwrap_or(0)))
            }
            _ => (FileType::RegularFile, 4096),
        };
        FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o755,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

/// The number of a name; 0 where there is none.
fn number(parent: INodeNo, name: &OsStr) -> u64 {
    let name = name.to_str().unwrap_or_default();
    match (parent.0, name) {
        (ROOT, "small") => SMALL,
        (ROOT, "big") => BIG,
        (SMALL, name) => {
            let digits = name.strip_prefix('f').and_then(|digits| digits.parse::<u64>().ok());
            digits.map_or(0, |number| FIRST_SMALL + number)
        }
        _ => 0,
    }
}

impl Filesystem for Floor {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> Result<()> {
        for flag in WANTED {
            config
                .add_capabilities(*flag)
                .map_err(|lacks| Error::other(format!("kernel lacks {lacks:?}")))?;
        }
        let refused = |most: u32| Error::other(format!("the kernel takes {most} bytes at most"));
        config.set_max_write(MAX_IO).map(drop).map_err(refused)
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        reply.entry(&FOR_EVER, &self.attr(number(parent, name)), Generation(0));
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &self.attr(ino.0));
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let Some(size) = size {
            self.with_new(|sizes| sizes.insert(ino.0, size));
        }
        reply.attr(&FOR_EVER, &self.attr(ino.0));
    }

    fn mknod(
        &self,
        _req: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        let number = self.with_new(|sizes| {
            let number = FIRST_NEW + sizes.len() as u64;
            sizes.insert(number, 0);
            number
        });
        reply.entry(&FOR_EVER, &self.attr(number), Generation(0));
    }

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
        reply.error(Errno::ENOSYS);
    }

    fn unlink(&self, _req: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.ok();
    }

    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        reply.data(&self.data[..size as usize]);
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.with_new(|sizes| {
            let size = sizes.entry(ino.0).or_default();
            *size = (*size).max(offset + data.len() as u64);
        });
        reply.written(u32::try_from(data.len()).unwrap_or(MAX_IO));
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn getxattr(&self, _req: &Request, _ino: INodeNo, _name: &OsStr, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::NO_XATTR);
    }
}

fn main() -> Result<()> {
    let target = std::env::args_os().nth(1).ok_or_else(|| Error::other("usage: floor MOUNTPOINT"))?;
    let device = fuse_device().map_err(Error::other)?;
    let mount = FuseMount {
        source: "floor",
        target: Path::new(&target),
        subtype: "floor",
        flags: MountFlags::empty(),
        data: String::from("default_permissions,allow_other"),
    };
    mount_fuse(device.as_fd(), &mount).map_err(Error::other)?;
    let mut config = Config::default();
    config.n_threads = Some(std::thread::available_parallelism()?.get() + 1);
    config.clone_fd = true;
    let floor = Floor { data: vec![b'x'; MAX_IO as usize], new: Mutex::default() };
    Session::from_fd(floor, device, SessionACL::All, config)?.run()
}
