//! One request of the ring and its reply: decode, one call, encode.
//!
//! What a request has beside its argument, names and data, comes in the payload, where the reply goes too:
//! it is read before anything is written there.

use super::wire::{self, AttrReply, DirentOut, EntryOut, InHeader};
use crate::fuse::operations::{Answer, Named, Operations, Shown, Sought, XattrAnswer};
use crate::fuse::stats::{FUSE_RENAME2, Op};
use crate::overlay::{Ahead, DirEntry, Full, SeekTo};
use crate::sys::Errno;
use crate::types::{Attr, Caller, Ino};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Threads of one queue that wait until the kernel has written back, which it does by requests that may
/// come by the same queue: one thread at least does not wait.
#[derive(Debug)]
pub(super) struct Waiting {
    now: AtomicUsize,
    most: usize,
}

impl Waiting {
    /// Of so many threads.
    pub(super) fn among(threads: usize) -> Self {
        Waiting { now: AtomicUsize::new(0), most: threads.saturating_sub(1) }
    }

    /// Runs `wait` unless too many wait already.
    fn one_more<T>(&self, wait: impl FnOnce() -> T) -> Option<T> {
        let allowed = self.now.fetch_add(1, Ordering::AcqRel) < self.most;
        let waited = allowed.then(wait);
        self.now.fetch_sub(1, Ordering::AcqRel);
        waited
    }
}

/// A request that is being answered.
pub(super) struct Exchange<'o, 'a> {
    pub(super) operations: &'o Operations,
    pub(super) waiting: &'a Waiting,
    pub(super) header: InHeader,
    /// The structure that goes with the kind of request.
    pub(super) argument: &'a [u8],
    /// The rest of the request, and room for the reply.
    pub(super) payload: &'a mut [u8],
    /// How much of the payload is the request's.
    pub(super) given: usize,
    /// What is to be read ahead, once the reply is given.
    pub(super) ahead: Ahead<'o>,
}

impl Exchange<'_, '_> {
    /// Carries the request out; answers how long the payload of the reply is.
    pub(super) fn carry_out(&mut self) -> Answer<usize> {
        let InHeader { opcode, node, unique, .. } = self.header;
        // Others are for what was not agreed on: locks, polls, DAX.
        let op = Op::of(opcode).ok_or(Errno::NOSYS)?;
        log::debug!("ring: request {unique}: {} of inode {node}", op.name());
        match op {
            Op::Lookup => self.lookup(),
            Op::GetAttr => self.get_attr(),
            Op::SetAttr => self.set_attr(),
            Op::ReadLink => self.read_link(),
            Op::SymLink => self.symlink(),
            Op::MkNod => self.mknod(),
            Op::MkDir => self.mkdir(),
            Op::Unlink => nothing(self.operations.unlink(self.name()?)),
            Op::RmDir => nothing(self.operations.rmdir(self.name()?)),
            Op::Rename => nothing(self.rename()),
            Op::Link => self.link(),
            Op::Read => self.read(),
            Op::Write => self.write(),
            Op::StatFs => self.statistics(),
            Op::FSync => nothing(self.fsync()),
            Op::FSyncDir => nothing(self.operations.fsync_dir(self.node())),
            Op::SetXAttr => nothing(self.set_xattr()),
            Op::GetXAttr => self.get_xattr(),
            Op::ListXAttr => self.list_xattrs(),
            Op::RemoveXAttr => nothing(self.remove_xattr()),
            Op::ReadDir => self.read_dir(),
            Op::ReadDirPlus => self.read_dir_plus(),
            Op::IoCtl => self.ioctl(),
            Op::FAllocate => nothing(self.fallocate()),
            Op::LSeek => self.seek(),
            Op::CopyFileRange => self.copy_range(),
            Op::Release | Op::ReleaseDir => {
                self.operations.release(op);
                Ok(0)
            }
            // Opens, closes and creations are no messages, and the kernel checks access by itself.
            Op::Open | Op::OpenDir | Op::Flush | Op::Create | Op::Access => Err(self.operations.refuse(op)),
            // Comes by the device.
            Op::Forget => Err(Errno::NOSYS),
        }
    }

    fn node(&self) -> Ino {
        Ino(self.header.node)
    }

    fn caller(&self, umask: u32) -> Caller {
        Caller { uid: self.header.uid, gid: self.header.gid, pid: self.header.pid, umask: umask & 0o777 }
    }

    fn argument<T: FromBytes>(&self) -> Answer<T> {
        T::read_from_prefix(self.argument).map(|(argument, _)| argument).map_err(|_| Errno::IO)
    }

    fn given(&self) -> Answer<&[u8]> {
        self.payload.get(..self.given).ok_or(Errno::IO)
    }

    /// The name that the request brings, in the directory that it names.
    fn name(&self) -> Answer<Named<'_>> {
        Ok((self.node(), text(self.given()?)?.0))
    }

    /// The name, and what follows it.
    fn name_and_rest(&self) -> Answer<(Named<'_>, &[u8])> {
        let (name, rest) = text(self.given()?)?;
        Ok(((self.node(), name), rest))
    }

    /// Replies with one structure.
    fn reply<T: IntoBytes + Immutable>(&mut self, structure: &T) -> Answer<usize> {
        structure.write_to_prefix(self.payload).map_err(|_| Errno::IO)?;
        Ok(size_of::<T>())
    }

    fn reply_bytes(&mut self, bytes: &[u8]) -> Answer<usize> {
        self.payload.get_mut(..bytes.len()).ok_or(Errno::RANGE)?.copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn reply_entry(&mut self, shown: &Shown) -> Answer<usize> {
        self.reply(&EntryOut::of(shown.ino, &shown.attr, self.operations.remember))
    }

    fn reply_attr(&mut self, attr: &Attr) -> Answer<usize> {
        self.reply(&AttrReply::of(self.node(), attr, self.operations.remember))
    }

    fn lookup(&mut self) -> Answer<usize> {
        match self.operations.lookup(self.name()?)? {
            Some(shown) => self.reply_entry(&shown),
            None => self.reply(&EntryOut::absent(self.operations.remember)),
        }
    }

    fn get_attr(&mut self) -> Answer<usize> {
        let attr = self.operations.get_attr(self.node())?;
        self.reply_attr(&attr)
    }

    fn set_attr(&mut self) -> Answer<usize> {
        let given: wire::SetAttrIn = self.argument()?;
        let attr = self.operations.set_attr(self.node(), &given.change(), self.caller(0))?;
        self.reply_attr(&attr)
    }

    fn read_link(&mut self) -> Answer<usize> {
        let target = self.operations.read_link(self.node())?;
        self.reply_bytes(&target)
    }

    fn symlink(&mut self) -> Answer<usize> {
        let (at, rest) = self.name_and_rest()?;
        let shown = self.operations.symlink(at, text(rest)?.0, self.caller(0))?;
        self.reply_entry(&shown)
    }

    fn mknod(&mut self) -> Answer<usize> {
        let given: wire::MkNodIn = self.argument()?;
        let caller = self.caller(given.umask);
        let shown = self.operations.mknod(self.name()?, given.mode, given.rdev, caller)?;
        self.reply_entry(&shown)
    }

    fn mkdir(&mut self) -> Answer<usize> {
        let given: wire::MkDirIn = self.argument()?;
        let shown = self.operations.mkdir(self.name()?, given.mode, self.caller(given.umask))?;
        self.reply_entry(&shown)
    }

    fn link(&mut self) -> Answer<usize> {
        let given: wire::LinkIn = self.argument()?;
        let shown = self.operations.link(Ino(given.node), self.name()?)?;
        self.reply_entry(&shown)
    }

    fn rename(&self) -> Answer<()> {
        let given: wire::Rename2In = self.argument()?;
        // The plain form ends before the flags.
        let flags = if self.header.opcode == FUSE_RENAME2 { given.flags } else { 0 };
        let (from, rest) = self.name_and_rest()?;
        self.operations.rename(from, (Ino(given.to), text(rest)?.0), flags)
    }

    fn read(&mut self) -> Answer<usize> {
        let given: wire::ReadIn = self.argument()?;
        let node = self.node();
        let buffer = self.payload.get_mut(..given.size as usize).ok_or(Errno::INVAL)?;
        self.ahead = self.operations.next_in_walk(node, given.offset);
        self.operations.read(node, given.offset, buffer)
    }

    fn write(&mut self) -> Answer<usize> {
        let given: wire::WriteIn = self.argument()?;
        let size = self.operations.write(self.node(), given.offset, self.given()?, given.write_flags)?;
        self.reply(&wire::WriteOut { size, padding: 0 })
    }

    fn statistics(&mut self) -> Answer<usize> {
        let statistics = self.operations.statistics(self.node())?;
        self.reply(&wire::StatFsOut::of(&statistics))
    }

    fn fsync(&self) -> Answer<()> {
        let given: wire::FSyncIn = self.argument()?;
        self.operations.fsync(self.node(), given.flags & wire::FUSE_FSYNC_FDATASYNC != 0)
    }

    fn set_xattr(&self) -> Answer<()> {
        let given: wire::SetXAttrIn = self.argument()?;
        let ((node, name), value) = self.name_and_rest()?;
        let value = value.get(..given.size as usize).ok_or(Errno::INVAL)?;
        self.operations.set_xattr(node, name, value, given.flags, self.caller(0))
    }

    fn get_xattr(&mut self) -> Answer<usize> {
        let given: wire::GetXAttrIn = self.argument()?;
        let (node, name) = self.name()?;
        let value = self.operations.get_xattr(node, name, given.size)?;
        self.reply_sized(&value)
    }

    fn list_xattrs(&mut self) -> Answer<usize> {
        let given: wire::GetXAttrIn = self.argument()?;
        let names = self.operations.list_xattrs(self.node(), given.size, self.caller(0))?;
        self.reply_sized(&names)
    }

    fn reply_sized(&mut self, value: &XattrAnswer) -> Answer<usize> {
        match value {
            XattrAnswer::Length(size) => self.reply(&wire::GetXAttrOut { size: *size, padding: 0 }),
            XattrAnswer::Bytes(bytes) => self.reply_bytes(bytes),
        }
    }

    fn remove_xattr(&self) -> Answer<()> {
        let (node, name) = self.name()?;
        self.operations.remove_xattr(node, name)
    }

    fn read_dir(&mut self) -> Answer<usize> {
        let given: wire::ReadIn = self.argument()?;
        let mut listing = Listing::of(self.payload, given.size)?;
        self.operations.read_dir(Ino(self.header.node), given.offset, |entry| listing.add(&[], entry))?;
        Ok(listing.len)
    }

    fn read_dir_plus(&mut self) -> Answer<usize> {
        let given: wire::ReadIn = self.argument()?;
        let (node, remember) = (self.node(), self.operations.remember);
        let mut listing = Listing::of(self.payload, given.size)?;
        self.operations.read_dir_plus(node, given.offset, |entry, attr| {
            // `.` and `..` are not looked up: node 0.
            let shown = attr.map_or_else(EntryOut::default, |attr| EntryOut::of(entry.ino, attr, remember));
            listing.add(shown.as_bytes(), entry)
        })?;
        Ok(listing.len)
    }

    fn ioctl(&mut self) -> Answer<usize> {
        let given: wire::IoctlIn = self.argument()?;
        let out = self.operations.ioctl(self.node(), given.request, self.given()?)?;
        let head = wire::IoctlOut::default();
        self.reply_bytes(&[head.as_bytes(), &out].concat())
    }

    fn fallocate(&self) -> Answer<()> {
        let given: wire::FAllocateIn = self.argument()?;
        self.operations.fallocate(self.node(), given.mode, given.offset, given.len)
    }

    fn seek(&mut self) -> Answer<usize> {
        let given: wire::LSeekIn = self.argument()?;
        let offset = match self.operations.seek(self.node(), given.offset, given.whence)? {
            Sought::At(offset) => offset,
            Sought::Later(whence) => self.seek_written_back(given.offset, whence)?,
        };
        self.reply(&wire::LSeekOut { offset })
    }

    /// Seeks once the kernel has written back; if too many wait for that, all of the file counts as data,
    /// which is always true.
    fn seek_written_back(&self, offset: u64, whence: SeekTo) -> Answer<i64> {
        let (send, answer) = sync_channel(1);
        let reply = move |found| {
            if send.send(found).is_err() {
                log::debug!("nobody waits for a seek any more");
            }
        };
        let sought = self.waiting.one_more(|| {
            self.operations.seek_later(self.node(), offset, whence, Box::new(reply));
            answer.recv().unwrap_or(Err(Errno::IO))
        });
        sought.unwrap_or_else(|| seek_in_data(offset, whence, self.operations.get_attr(self.node())?.size))
    }

    fn copy_range(&mut self) -> Answer<usize> {
        let given: wire::CopyFileRangeIn = self.argument()?;
        let (from, to) = ((self.node(), given.from), (Ino(given.node_to), given.to));
        let size = self.operations.copy_range(from, to, given.len)?;
        self.reply(&wire::WriteOut { size, padding: 0 })
    }
}

/// A reply without a payload.
fn nothing(done: Answer<()>) -> Answer<usize> {
    done.map(|()| 0)
}

/// The bytes before the first NUL, and those after it.
fn text(bytes: &[u8]) -> Answer<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(Errno::INVAL)?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

/// Where a seek leads in a file without holes.
fn seek_in_data(offset: u64, whence: SeekTo, size: u64) -> Answer<i64> {
    if offset >= size {
        return Err(Errno::NXIO);
    }
    let at = match whence {
        SeekTo::Data => offset,
        SeekTo::Hole => size,
    };
    i64::try_from(at).map_err(|_| Errno::NXIO)
}

/// The entries of a READDIR or READDIRPLUS, each at a multiple of eight bytes.
struct Listing<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> Listing<'a> {
    fn of(payload: &'a mut [u8], size: u32) -> Answer<Self> {
        Ok(Listing { bytes: payload.get_mut(..size as usize).ok_or(Errno::INVAL)?, len: 0 })
    }

    /// Adds an entry, and before it what it shows.
    fn add(&mut self, shown: &[u8], entry: DirEntry<'_>) -> Result<(), Full> {
        let dirent = DirentOut {
            ino: entry.ino.0,
            next: entry.next,
            name_len: u32::try_from(entry.name.len()).map_err(|_| Full)?,
            kind: wire::kind_bits(entry.kind),
        };
        let mut rest = &mut self.bytes[self.len..];
        let len = (shown.len() + size_of::<DirentOut>() + entry.name.len()).next_multiple_of(8);
        if rest.len() < len {
            return Err(Full);
        }
        for part in [shown, dirent.as_bytes(), entry.name] {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        let written = shown.len() + size_of::<DirentOut>() + entry.name.len();
        rest[..len - written].fill(0);
        self.len += len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::FileKind;

    #[test]
    fn names_end_at_their_nul() {
        assert_eq!(text(b"old\0new\0"), Ok((&b"old"[..], &b"new\0"[..])));
        assert_eq!(text(b"endless"), Err(Errno::INVAL));
    }

    #[test]
    fn a_listing_is_aligned_and_refuses_what_does_not_fit() {
        let mut bytes = [0xff; 80];
        let mut listing = Listing::of(&mut bytes, 72).unwrap();
        let entry = |name| DirEntry { name, ino: Ino(7), kind: FileKind::Symlink, next: 3 };
        assert_eq!(listing.add(&[], entry(b"abc")), Ok(()));
        assert_eq!(listing.len, 32);
        assert_eq!(listing.add(&[], entry(b"a name of 17 long")), Err(Full));
        assert_eq!(listing.add(&[], entry(b"sixteen letters.")), Ok(()));
        assert_eq!(listing.len, 72);
        assert_eq!(bytes[..8], 7u64.to_ne_bytes());
        assert_eq!(bytes[8..16], 3u64.to_ne_bytes());
        assert_eq!(bytes[16..24], [3, 0, 0, 0, 10, 0, 0, 0]);
        assert_eq!(&bytes[24..32], b"abc\0\0\0\0\0");
        assert_eq!(bytes[72..], [0xff; 8]);
    }

    #[test]
    fn one_thread_of_a_queue_does_not_wait() {
        let waiting = Waiting::among(2);
        let second = waiting.one_more(|| waiting.one_more(|| "waits"));
        assert_eq!(second, Some(None));
        assert_eq!(waiting.one_more(|| "waits"), Some("waits"));
    }

    #[test]
    fn a_file_without_holes_ends_in_one() {
        assert_eq!(seek_in_data(5, SeekTo::Data, 9), Ok(5));
        assert_eq!(seek_in_data(5, SeekTo::Hole, 9), Ok(9));
        assert_eq!(seek_in_data(9, SeekTo::Data, 9), Err(Errno::NXIO));
        assert_eq!(seek_in_data(9, SeekTo::Hole, 9), Err(Errno::NXIO));
    }
}
