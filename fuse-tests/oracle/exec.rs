//! Carries out operations on one tree and says what came of each, in a form that can be compared
//! with another tree's answer.

use super::op::{Access, Op, RenameKind};
use super::tree::{digest, stat_text};
use crate::harness::{Errno, xattr};
use rustix::fs::{
    AtFlags, CWD, Dir, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid,
    XattrFlags,
};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What an operation answered: a text, or its errno.
pub(crate) type Answer = Result<String, Errno>;

/// One tree and the descriptors that are open in it.
pub(crate) struct Executor {
    root: PathBuf,
    /// Times at or after this one are "now", whatever they are exactly.
    start: i64,
    slots: BTreeMap<usize, OwnedFd>,
}

impl Executor {
    pub(crate) fn new(root: &Path, start: i64) -> Self {
        Executor { root: root.to_owned(), start, slots: BTreeMap::new() }
    }

    /// Closes what is open, as before an unmount.
    pub(crate) fn close_all(&mut self) {
        self.slots.clear();
    }

    pub(crate) fn run(&mut self, op: &Op) -> Answer {
        match op {
            Op::Create { .. }
            | Op::Write { .. }
            | Op::Append { .. }
            | Op::Truncate { .. }
            | Op::Punch { .. }
            | Op::Allocate { .. } => self.change_data(op),
            Op::Read { path } => read(&self.open(path, OFlags::RDONLY)?),
            Op::ReadLink { path } => {
                let target = rustix::fs::readlinkat(CWD, self.at(path), Vec::new())?;
                Ok(target.to_string_lossy().into_owned())
            }
            Op::List { path } => self.list(path),
            Op::Stat { path } => {
                let stat = rustix::fs::statat(CWD, self.at(path), AtFlags::SYMLINK_NOFOLLOW)?;
                Ok(stat_text(&stat, self.start))
            }
            Op::Mkdir { .. }
            | Op::Rmdir { .. }
            | Op::Unlink { .. }
            | Op::Rename { .. }
            | Op::Link { .. }
            | Op::Symlink { .. }
            | Op::MakeFifo { .. }
            | Op::MakeNull { .. } => self.change_names(op),
            Op::Chmod { .. }
            | Op::Chown { .. }
            | Op::SetTime { .. }
            | Op::SetXattr { .. }
            | Op::GetXattr { .. }
            | Op::RemoveXattr { .. } => self.attributes(op),
            Op::FdOpen { slot, path, access } => {
                let fd = self.open(path, flags_of(*access))?;
                self.slots.insert(*slot, fd);
                done()
            }
            Op::FdClose { slot } => {
                self.slots.remove(slot).ok_or(Errno::BADF)?;
                done()
            }
            _ => self.descriptor(op),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Never waits for the other end of a fifo.
    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::open(self.at(path), flags, Mode::from(0o644))
    }

    fn change_data(&self, op: &Op) -> Answer {
        match op {
            Op::Create { path, exclusive, len } => {
                let how = if *exclusive { OFlags::EXCL } else { OFlags::TRUNC };
                let fd = self.open(path, OFlags::CREATE | OFlags::WRONLY | how)?;
                write(&fd, 0, *len)
            }
            Op::Write { path, offset, len } => write(&self.open(path, OFlags::WRONLY)?, *offset, *len),
            Op::Append { path, len } => write(&self.open(path, OFlags::WRONLY | OFlags::APPEND)?, 0, *len),
            Op::Truncate { path, len } => {
                rustix::fs::ftruncate(self.open(path, OFlags::WRONLY)?, *len)?;
                done()
            }
            Op::Punch { path, offset, len } => {
                let fd = self.open(path, OFlags::WRONLY)?;
                let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(fd, how, *offset, *len)?;
                done()
            }
            Op::Allocate { path, offset, len, keep_size } => {
                let fd = self.open(path, OFlags::WRONLY)?;
                let keep = FallocateFlags::KEEP_SIZE;
                let how = if *keep_size { keep } else { FallocateFlags::empty() };
                rustix::fs::fallocate(fd, how, *offset, *len)?;
                done()
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn list(&self, path: &str) -> Answer {
        let fd = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            names.push(format!("{name}:{:?}", entry.file_type()));
        }
        names.sort();
        Ok(names.join(" "))
    }

    fn change_names(&self, op: &Op) -> Answer {
        match op {
            Op::Mkdir { path, mode } => rustix::fs::mkdir(self.at(path), Mode::from(*mode)),
            Op::Rmdir { path } => rustix::fs::rmdir(self.at(path)),
            Op::Unlink { path } => rustix::fs::unlink(self.at(path)),
            Op::Rename { from, to, kind } => {
                let flags = match kind {
                    RenameKind::Plain => RenameFlags::empty(),
                    RenameKind::NoReplace => RenameFlags::NOREPLACE,
                    RenameKind::Exchange => RenameFlags::EXCHANGE,
                };
                rustix::fs::renameat_with(CWD, self.at(from), CWD, self.at(to), flags)
            }
            Op::Link { from, to } => {
                rustix::fs::linkat(CWD, self.at(from), CWD, self.at(to), AtFlags::empty())
            }
            Op::Symlink { target, path } => rustix::fs::symlink(target.as_str(), self.at(path)),
            Op::MakeFifo { path } => self.mknod(path, FileType::Fifo, 0),
            Op::MakeNull { path } => self.mknod(path, FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
            other => unreachable!("{other:?}"),
        }?;
        done()
    }

    fn mknod(&self, path: &str, kind: FileType, device: u64) -> Result<(), Errno> {
        rustix::fs::mknodat(CWD, self.at(path), kind, Mode::from(0o640), device)
    }

    fn attributes(&self, op: &Op) -> Answer {
        match op {
            Op::Chmod { path, mode } => {
                rustix::fs::chmodat(CWD, self.at(path), Mode::from(*mode), AtFlags::empty())?;
            }
            Op::Chown { path, uid, gid } => {
                let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
                let not_the_target = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(CWD, self.at(path), Some(uid), Some(gid), not_the_target)?;
            }
            Op::SetTime { path, mtime, nanos } => {
                let time = Timespec { tv_sec: *mtime, tv_nsec: *nanos };
                let times = Timestamps { last_access: time, last_modification: time };
                rustix::fs::utimensat(CWD, self.at(path), &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Op::SetXattr { path, name, value, create, replace } => {
                let mut flags = XattrFlags::empty();
                flags.set(XattrFlags::CREATE, *create);
                flags.set(XattrFlags::REPLACE, *replace && !*create);
                xattr::lset_flags(self.at(path), name, value.as_bytes(), flags)?;
            }
            Op::GetXattr { path, name } => {
                let value = xattr::lget(self.at(path), name)?;
                return Ok(String::from_utf8_lossy(&value).into_owned());
            }
            Op::RemoveXattr { path, name } => xattr::lremove(self.at(path), name)?,
            other => unreachable!("{other:?}"),
        }
        done()
    }

    fn descriptor(&self, op: &Op) -> Answer {
        let slot = |slot: &usize| self.slots.get(slot).ok_or(Errno::BADF);
        match op {
            Op::FdRead { slot: s } => return read(slot(s)?),
            Op::FdWrite { slot: s, offset, len } => return write(slot(s)?, *offset, *len),
            Op::FdTruncate { slot: s, len } => rustix::fs::ftruncate(slot(s)?, *len)?,
            Op::FdChmod { slot: s, mode } => rustix::fs::fchmod(slot(s)?, Mode::from(*mode))?,
            Op::FdChown { slot: s, uid, gid } => {
                let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
                rustix::fs::fchown(slot(s)?, Some(uid), Some(gid))?;
            }
            Op::FdStat { slot: s } => {
                return Ok(stat_text(&rustix::fs::fstat(slot(s)?)?, self.start));
            }
            Op::FdSync { slot: s } => rustix::fs::fsync(slot(s)?)?,
            other => unreachable!("{other:?}"),
        }
        done()
    }
}

fn done() -> Answer {
    Ok(String::new())
}

fn flags_of(access: Access) -> OFlags {
    match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::WRONLY,
        Access::ReadWrite => OFlags::RDWR,
        Access::Append => OFlags::RDWR | OFlags::APPEND,
        Access::WriteTruncate => OFlags::RDWR | OFlags::TRUNC,
    }
}

fn read(fd: &OwnedFd) -> Answer {
    let mut all = Vec::new();
    let mut block = [0_u8; 16384];
    loop {
        let got = rustix::io::pread(fd, &mut block, all.len() as u64)?;
        if got == 0 {
            return Ok(digest(&all));
        }
        all.extend_from_slice(&block[..got]);
    }
}

/// Writes bytes that tell their place and the length of their write.
fn write(fd: &OwnedFd, offset: u64, len: usize) -> Answer {
    let byte = |i: usize| ((offset as usize + i + len * 7) % 251) as u8 + 1;
    let data: Vec<u8> = (0..len).map(byte).collect();
    let written = rustix::io::pwrite(fd, &data, offset)?;
    Ok(written.to_string())
}
