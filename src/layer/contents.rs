//! The data of one file of a layer, wherever the layer keeps it.

use crate::sys::{
    AsFd, BorrowedFd, CachedRange, Errno, OwnedFd, Ref, Result, SysError, Whence, WriteBack, copy_range_all,
    copy_sparse, read_at, seek, stat, sync_data, truncate, will_need,
};
use std::sync::Arc;

/// The data of a regular file, open for reading.
#[derive(Clone, Debug)]
pub enum Contents {
    /// A file of its own.
    File(Arc<OwnedFd>),
    /// Ranges of another file.
    Ranges(Ranges),
}

/// A range of data; what no extent covers is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where in the file it is shown, in bytes.
    pub at: u64,
    /// Its length in bytes; not 0.
    pub len: u64,
    /// Where it is stored in the backing file, in bytes.
    pub stored: u64,
}

/// Data that is stored inside another file, as a tar does it.
#[derive(Clone, Debug)]
pub struct Ranges {
    /// The file that has it.
    pub file: Arc<OwnedFd>,
    /// The size shown, in bytes.
    pub size: u64,
    /// Sorted, apart, and within the size.
    pub extents: Box<[Extent]>,
}

impl Contents {
    /// Reads at an offset; answers the bytes read, fewer than asked only at the end.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        match self {
            Contents::File(fd) => read_at(fd.as_fd(), buf, offset),
            Contents::Ranges(ranges) => ranges.read_at(buf, offset),
        }
    }

    /// The same bytes where they are in the page cache, if all are and the file has so many.
    pub fn cached_at(&self, offset: u64, len: usize) -> Result<Option<CachedRange>> {
        match self {
            Contents::File(fd) => CachedRange::of(fd.as_fd(), offset, len),
            Contents::Ranges(ranges) => ranges.cached_at(offset, len),
        }
    }

    /// Begins to read the first `len` bytes into the page cache.
    pub fn read_ahead(&self, len: u64) -> Result<()> {
        match self {
            Contents::File(fd) => will_need(fd.as_fd(), 0, len),
            Contents::Ranges(ranges) => {
                let mut wanted = ranges.extents.iter().take_while(|extent| extent.at < len);
                wanted.try_for_each(|extent| {
                    will_need(ranges.file.as_fd(), extent.stored, extent.len.min(len - extent.at))
                })
            }
        }
    }

    /// The next data or hole at or after an offset; ENXIO past the end.
    pub fn seek(&self, offset: u64, whence: Whence) -> Result<u64> {
        match self {
            Contents::File(fd) => seek(fd.as_fd(), offset, whence),
            Contents::Ranges(ranges) => ranges.seek(offset, whence),
        }
    }

    /// The size in bytes.
    pub fn size(&self) -> Result<u64> {
        match self {
            Contents::File(fd) => Ok(stat(Ref::Fd(fd.as_fd()))?.1.size),
            Contents::Ranges(ranges) => Ok(ranges.size),
        }
    }

    /// Copies the first `len` bytes into an empty file, keeping holes; `whole` says that this is all.
    pub fn copy_to(&self, to: BorrowedFd<'_>, len: u64, whole: bool, back: WriteBack) -> Result<()> {
        match self {
            Contents::File(fd) => copy_sparse(fd.as_fd(), to, len, whole, back),
            Contents::Ranges(ranges) => ranges.copy_to(to, len, back),
        }
    }

    /// The file that has this data and nothing else, if there is one.
    pub fn as_file(&self) -> Option<&Arc<OwnedFd>> {
        match self {
            Contents::File(fd) => Some(fd),
            Contents::Ranges(_) => None,
        }
    }
}

impl Ranges {
    /// The first extent that ends after an offset.
    fn first_after(&self, offset: u64) -> usize {
        self.extents.partition_point(|extent| extent.at + extent.len <= offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let left = self.size.saturating_sub(offset);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let buf = &mut buf[..want];
        let end = offset + want as u64;
        let mut at = offset;
        let touched = self.extents[self.first_after(offset)..].iter().take_while(|extent| extent.at < end);
        for extent in touched {
            let (from, to) = (extent.at.max(at), (extent.at + extent.len).min(end));
            buf[in_buf(at, offset)..in_buf(from, offset)].fill(0);
            let part = &mut buf[in_buf(from, offset)..in_buf(to, offset)];
            // The file was longer when it was indexed.
            if read_at(self.file.as_fd(), part, extent.stored + (from - extent.at))? < part.len() {
                return Err(SysError { call: "pread64", errno: Errno::IO });
            }
            at = to;
        }
        buf[in_buf(at, offset)..].fill(0);
        Ok(want)
    }

    /// Only what lies in one extent.
    fn cached_at(&self, offset: u64, len: usize) -> Result<Option<CachedRange>> {
        match self.extents.get(self.first_after(offset)) {
            Some(extent) if extent.at <= offset && offset + len as u64 <= extent.at + extent.len => {
                CachedRange::of(self.file.as_fd(), extent.stored + (offset - extent.at), len)
            }
            _ => Ok(None),
        }
    }

    fn seek(&self, offset: u64, whence: Whence) -> Result<u64> {
        if offset >= self.size {
            return Err(SysError { call: "lseek", errno: Errno::NXIO });
        }
        let rest = &self.extents[self.first_after(offset)..];
        match whence {
            Whence::Data => match rest.first() {
                Some(extent) => Ok(extent.at.max(offset)),
                None => Err(SysError { call: "lseek", errno: Errno::NXIO }),
            },
            Whence::Hole => {
                let mut at = offset;
                for extent in rest {
                    if extent.at > at {
                        break;
                    }
                    at = extent.at + extent.len;
                }
                Ok(at.min(self.size))
            }
        }
    }

    fn copy_to(&self, to: BorrowedFd<'_>, len: u64, back: WriteBack) -> Result<()> {
        truncate(to, len)?;
        for extent in self.extents.iter().take_while(|extent| extent.at < len) {
            let part = extent.len.min(len - extent.at);
            copy_range_all(self.file.as_fd(), extent.stored, to, extent.at, part, back)?;
        }
        if back == WriteBack::Durable && len > 0 { sync_data(to) } else { Ok(()) }
    }
}

/// Where in a buffer that was read from `offset` on a place of the file is. The distance is at most the buffer's length.
fn in_buf(at: u64, offset: u64) -> usize {
    usize::try_from(at - offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::fs::File;
    use std::io::{Read, Write};
    use std::time::Duration;

    /// `..AAAA..BB..`: two extents in a file of 12 bytes, stored the other way round.
    fn sparse() -> Contents {
        let mut file = File::from(memfd_create("stored", MemfdFlags::CLOEXEC).unwrap());
        file.write_all(b"..BB....AAAA").unwrap();
        let extents = [Extent { at: 2, len: 4, stored: 8 }, Extent { at: 8, len: 2, stored: 2 }];
        Contents::Ranges(Ranges { file: Arc::new(file.into()), size: 12, extents: extents.into() })
    }

    const SHOWN: &[u8] = b"\0\0AAAA\0\0BB\0\0";

    #[test]
    fn ranges_read_at_every_offset_and_length() {
        for offset in 0..14u64 {
            for len in 0..14usize {
                let mut buf = vec![b'x'; len];
                let got = sparse().read_at(&mut buf, offset).unwrap();
                let from = SHOWN.len().min(offset as usize);
                let expected = &SHOWN[from..SHOWN.len().min(from + len)];
                assert_eq!(&buf[..got], expected, "{len} at {offset}");
            }
        }
    }

    #[test]
    fn f8_ranges_are_in_the_page_cache_where_one_extent_has_them() {
        for (offset, len) in (0..13u64).flat_map(|offset| (1..13usize).map(move |len| (offset, len))) {
            let within = [2..6, 8..10]
                .iter()
                .any(|extent| extent.start <= offset && offset + len as u64 <= extent.end);
            let cached = sparse().cached_at(offset, len).unwrap();
            assert_eq!(cached.is_some(), within, "{len} at {offset}");
            if let Some(range) = cached {
                assert_eq!(range.bytes(), &SHOWN[offset as usize..][..len], "{len} at {offset}");
            }
        }
    }

    /// Two pages of each extent, of a file that is on the disk alone.
    #[test]
    fn f9_ranges_are_read_ahead_where_they_are_stored() {
        // A /tmp in memory has no disk to read from.
        let dir = std::env::var_os("LAYERFS_TEST_DIR").unwrap_or("/var/tmp".into());
        let mut file = tempfile::tempfile_in(dir).unwrap();
        file.write_all(&[b'x'; 64 << 10]).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let file = Arc::new(file.into());
        let extents =
            [Extent { at: 0, len: 8192, stored: 32 << 10 }, Extent { at: 1 << 20, len: 8192, stored: 0 }];
        let ranges = Contents::Ranges(Ranges { file, size: 2 << 20, extents: extents.into() });
        let cached = |at| ranges.cached_at(at, 8192).unwrap().is_some();
        assert!(!cached(0) && !cached(1 << 20));
        let wait = || std::thread::sleep(Duration::from_millis(10));
        let soon = |at| cached(at) || std::iter::repeat_with(wait).take(500).any(|()| cached(at));
        ranges.read_ahead(1 << 20).unwrap();
        assert!(soon(0) && !cached(1 << 20), "as far as is wanted");
        ranges.read_ahead(2 << 20).unwrap();
        assert!(soon(1 << 20));
    }

    #[test]
    fn ranges_tell_data_from_holes() {
        let data = |at| sparse().seek(at, Whence::Data).ok();
        let hole = |at| sparse().seek(at, Whence::Hole).ok();
        assert_eq!(
            [0, 2, 5, 6, 9, 10, 12].map(data),
            [Some(2), Some(2), Some(5), Some(8), Some(9), None, None]
        );
        assert_eq!(
            [0, 2, 5, 6, 9, 11, 12].map(hole),
            [Some(0), Some(6), Some(6), Some(6), Some(10), Some(11), None]
        );
    }

    #[test]
    fn ranges_are_copied_whole_and_cut() {
        for len in 0..=12u64 {
            let mut to = tempfile::tempfile().unwrap();
            sparse().copy_to(to.as_fd(), len, len == 12, WriteBack::Durable).unwrap();
            let mut copy = Vec::new();
            to.read_to_end(&mut copy).unwrap();
            assert_eq!(copy, &SHOWN[..len as usize], "{len} bytes");
        }
    }

    #[test]
    fn a_backing_file_that_became_shorter_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        let extents = [Extent { at: 0, len: 4, stored: 0 }];
        let cut = Contents::Ranges(Ranges { file: Arc::new(file.into()), size: 4, extents: extents.into() });
        assert_eq!(cut.read_at(&mut [0; 4], 0).unwrap_err().errno, Errno::IO);
    }
}
