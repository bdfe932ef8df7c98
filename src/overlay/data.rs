//! Data: reading, writing, holes, syncing (rules F1 to F4, C8).
//!
//! There are no file handles: each request names a node, and reads go to wherever its data is now.

use super::Overlay;
use super::error::{Error, Result};
use super::node::{Node, Place};
use crate::layer::{Contents, FdKey, NewOwners};
use crate::semantics::copy_up::{Need, without_set_id};
use crate::sys::{
    AsFd, BorrowedFd, CachedRange, Errno, OwnedFd, Ref, Whence, copy_range, fallocate, open_at, reopen, stat,
    sync_data, sync_file, utimens, write_at, write_uncached,
};
use crate::types::{FileKind, Ino, SetTime};
use std::sync::Arc;

/// From so much on it is one of many writes of a large file: that is the most that one request brings.
const STREAM: usize = 1 << 20;

/// What a seek looks for.
pub use crate::sys::Whence as SeekTo;

/// What is known of a write beyond its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteHow {
    /// The kernel wrote it to its cache before, and knows the time of that: it sets the modification
    /// time by itself, and this write must not.
    pub late: bool,
    /// The writer may not keep set-id bits.
    pub kill_set_id: bool,
}

/// The kernel keeps what was written in the mount's own cache: much of it is not kept in that of the upper as
/// well.
fn write_once(fd: BorrowedFd<'_>, data: &[u8], offset: u64) -> crate::sys::Result<()> {
    if data.len() >= STREAM { write_uncached(fd, data, offset) } else { write_at(fd, data, offset) }
}

impl Overlay {
    /// Reads into `buf`; answers the bytes read, fewer only at the end of the file.
    pub fn read(&self, ino: Ino, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let node = self.file(ino)?;
        Ok(self.readable_data(&node)?.read_at(buf, offset)?)
    }

    /// The same for data of a lower that is in the page cache, which need not be copied: `None` for all else, for
    /// parts of which that is not known, and at the end of the file.
    pub fn read_cached(&self, ino: Ino, offset: u64, len: usize) -> Result<Option<CachedRange>> {
        let node = self.file(ino)?;
        match self.lower_data(&node)? {
            Some(place) => Ok(self.lower_contents(node.ino, &place)?.cached_at(offset, len)?),
            None => Ok(None),
        }
    }

    /// Writes all of `data`.
    pub fn write(&self, ino: Ino, offset: u64, data: &[u8], how: WriteHow) -> Result<()> {
        let node = self.file(ino)?;
        self.ensure_upper(&node, Need::Data)?;
        let fd = self.upper_data(&node)?;
        if how.late {
            // One at a time, or the second would take the first one's time for the file's own.
            let _alone = node.copy_up.lock();
            let (_, before) = stat(Ref::Fd(fd.as_fd()))?;
            write_once(fd.as_fd(), data, offset)?;
            utimens(Ref::Fd(fd.as_fd()), SetTime::Omit, SetTime::To(before.mtime))?;
        } else {
            write_once(fd.as_fd(), data, offset)?;
        }
        if how.kill_set_id { self.drop_set_id(&node) } else { Ok(()) }
    }

    fn file(&self, ino: Ino) -> Result<Arc<Node>> {
        let node = self.node(ino)?;
        match node.kind {
            FileKind::Regular => Ok(node),
            FileKind::Directory => Err(Error::IsDirectory),
            _ => Err(Error::Invalid),
        }
    }

    fn drop_set_id(&self, node: &Arc<Node>) -> Result<()> {
        self.with_upper(node, |object, _| {
            let upper = self.upper()?;
            let (_, attr) = upper.stat(object)?;
            let kept = without_set_id(attr.mode);
            if kept != attr.mode {
                upper.set_owners(object, NewOwners { mode: Some(kept), ..NewOwners::default() })?;
            }
            Ok(())
        })
    }

    /// Where the data of a regular file is, if that is a lower.
    fn lower_data(&self, node: &Node) -> Result<Option<Place>> {
        let state = node.state.read();
        match state.is_whole_in_upper() {
            true => Ok(None),
            false if state.leaf().is_some_and(|leaf| leaf.rare().data_missing) => Err(Error::DataMissing),
            false => state.lower_data().cloned().map(Some).ok_or(Error::DataMissing),
        }
    }

    /// The data of a regular file, wherever it is now.
    pub(super) fn readable_data(&self, node: &Arc<Node>) -> Result<Contents> {
        match self.lower_data(node)? {
            Some(place) => self.lower_contents(node.ino, &place),
            None => match self.upper_data(node) {
                // It may be read but not written: immutable, or on a filesystem that is read-only now.
                Err(Error::Sys(e))
                    if matches!(e.errno, Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::TXTBSY) =>
                {
                    self.open_upper(node, false).map(|fd| Contents::File(Arc::new(fd)))
                }
                opened => opened.map(Contents::File),
            },
        }
    }

    /// The data of a node that is in a lower; a file of its own is kept open.
    fn lower_contents(&self, ino: Ino, place: &Place) -> Result<Contents> {
        let key = FdKey::LowerData(ino);
        if let Some(fd) = self.pool.peek(key) {
            return Ok(Contents::File(fd));
        }
        let contents = self.stack.of(place).open(&place.object)?;
        if let Some(fd) = contents.as_file() {
            self.pool.put(key, fd.clone());
        }
        Ok(contents)
    }

    /// The upper's file, open for reading and writing.
    pub(super) fn upper_data(&self, node: &Arc<Node>) -> Result<Arc<OwnedFd>> {
        if let Some(fd) = self.pool.peek(FdKey::UpperData(node.ino)) {
            return Ok(fd);
        }
        let fd = Arc::new(self.open_upper(node, true)?);
        self.pool.put(FdKey::UpperData(node.ino), fd.clone());
        Ok(fd)
    }

    fn open_upper(&self, node: &Arc<Node>, write: bool) -> Result<OwnedFd> {
        self.with_upper(node, |object, _| {
            Ok(match object {
                Ref::At(dir, name) => open_at(dir, name, write)?,
                Ref::Fd(fd) => reopen(fd, write)?,
            })
        })
    }

    /// Allocates, punches or zeroes a range.
    pub fn fallocate(&self, ino: Ino, mode: u32, offset: u64, len: u64) -> Result<()> {
        self.writable()?;
        let node = self.file(ino)?;
        self.ensure_upper(&node, Need::Data)?;
        Ok(fallocate(self.upper_data(&node)?.as_fd(), mode, offset, len)?)
    }

    /// The next data or hole at or after an offset.
    pub fn seek(&self, ino: Ino, offset: u64, whence: Whence) -> Result<u64> {
        let node = self.file(ino)?;
        Ok(self.readable_data(&node)?.seek(offset, whence)?)
    }

    /// The same, where data that the kernel has not written back yet cannot change the answer: it turns
    /// holes into data and makes no file longer. `None` where it can.
    pub fn seek_for_certain(&self, ino: Ino, offset: u64, whence: Whence) -> Result<Option<u64>> {
        let contents = self.readable_data(&self.file(ino)?)?;
        let size = contents.size()?;
        if offset >= size {
            return contents.seek(offset, whence).map(Some).map_err(Error::from);
        }
        let certain = if whence == Whence::Data { offset } else { size };
        Ok(contents.seek(offset, whence).ok().filter(|found| *found == certain))
    }

    /// Copies a range between two files; answers the bytes copied.
    pub fn copy_range(&self, from: Ino, from_at: u64, to: Ino, to_at: u64, len: u64) -> Result<u64> {
        self.writable()?;
        let (source, target) = (self.file(from)?, self.file(to)?);
        self.ensure_upper(&target, Need::Data)?;
        let (input, output) = (self.readable_data(&source)?, self.upper_data(&target)?);
        // Data that is no file of its own: the caller copies by reading and writing.
        let input = input.as_file().ok_or(Error::Unsupported)?;
        Ok(copy_range(input.as_fd(), from_at, output.as_fd(), to_at, len)?)
    }

    /// Makes a file durable: data, attributes, and the names it was given by a copy-up.
    pub fn sync_file(&self, ino: Ino, data_only: bool) -> Result<()> {
        let node = self.node(ino)?;
        if !self.durable || node.kind != FileKind::Regular || node.state.read().upper.is_none() {
            return Ok(());
        }
        let fd = self.upper_data(&node)?;
        if data_only { Ok(sync_data(fd.as_fd())?) } else { Ok(sync_file(fd.as_fd())?) }
    }

    /// Makes the names of a directory durable.
    pub fn sync_dir(&self, ino: Ino) -> Result<()> {
        let node = self.directory(ino)?;
        match self.upper_dir_if_any(&node)? {
            Some(fd) if self.durable => Ok(sync_file(reopen(fd.as_fd(), false)?.as_fd())?),
            _ => Ok(()),
        }
    }
}
