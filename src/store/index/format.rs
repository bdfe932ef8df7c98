//! What stands where in an index. Any change of it is a new [`VERSION`].

use super::IndexError;
use crate::store::digest::DiffId;
use crate::types::{FileKind, Timestamp};

/// Begins each index.
pub(super) const MAGIC: [u8; 8] = *b"LFSINDEX";
/// The version of the format.
pub(super) const VERSION: u32 = 1;
/// What one checksum covers.
pub(super) const PAGE: usize = 4096;
/// Size of a row.
pub(super) const ROW: usize = 88;
/// Size of an extent.
pub(super) const EXTENT: usize = 24;
/// Size of an xattr.
pub(super) const XATTR: usize = 16;
/// Size of a slot.
pub(super) const SLOT: usize = 8;
/// Where the header's own checksum stands.
const HEADER_SUM: usize = PAGE - 4;

/// The row of the root directory.
pub const ROOT_ROW: u32 = 0;

const OPAQUE: u32 = 1;
const IMPLIED: u32 = 2;
const PLAIN: u32 = 4;

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// The name is hidden in the layers below.
    Whiteout,
    /// There is an object.
    File(FileKind),
}

impl RowKind {
    fn code(self) -> u8 {
        match self {
            RowKind::Whiteout => 0,
            RowKind::File(FileKind::Regular) => 1,
            RowKind::File(FileKind::Directory) => 2,
            RowKind::File(FileKind::Symlink) => 3,
            RowKind::File(FileKind::CharDevice) => 4,
            RowKind::File(FileKind::BlockDevice) => 5,
            RowKind::File(FileKind::Fifo) => 6,
            RowKind::File(FileKind::Socket) => 7,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        Some(RowKind::File(match code {
            0 => return Some(RowKind::Whiteout),
            1 => FileKind::Regular,
            2 => FileKind::Directory,
            3 => FileKind::Symlink,
            4 => FileKind::CharDevice,
            5 => FileKind::BlockDevice,
            6 => FileKind::Fifo,
            7 => FileKind::Socket,
            _ => return None,
        }))
    }

    /// Whether it is a directory.
    pub fn is_dir(self) -> bool {
        self == RowKind::File(FileKind::Directory)
    }
}

/// Where the data of a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// All in one piece, there in the tar.
    Plain(u64),
    /// In extents, of so many bytes together.
    Extents(u64),
}

/// One name of the layer, with the attributes of what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Row of the directory it is in; the root is in itself.
    pub parent: u32,
    /// What it is.
    pub kind: RowKind,
    /// A directory that hides the layers below.
    pub opaque: bool,
    /// A directory that the layer has only because of what is in it.
    pub implied: bool,
    /// Permission bits with set-id and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// How many names of the layer lead to it; 1 of directories.
    pub nlink: u32,
    /// The first row that leads to the same file.
    pub inode: u32,
    /// Size shown, in bytes.
    pub size: u64,
    /// Its data.
    pub(super) data: Data,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last access.
    pub atime: Timestamp,
    /// Directory: first child. Regular file: first extent. Symlink: where in the strings the target
    /// is. Device: major number.
    pub(super) first: u32,
    /// Children, extents, bytes of the target, or the minor number.
    pub(super) count: u32,
    /// Where in the strings its name is, and how long it is.
    pub(super) name: (u32, u8),
    /// First xattr, and how many.
    pub(super) xattrs: (u32, u32),
}

impl Row {
    /// Whether it has xattrs.
    pub fn has_xattrs(&self) -> bool {
        self.xattrs.1 > 0
    }

    /// Bytes of data that are stored.
    pub fn stored(&self) -> u64 {
        match self.data {
            Data::Plain(_) => self.size,
            Data::Extents(stored) => stored,
        }
    }

    pub(super) fn encode(&self) -> [u8; ROW] {
        let (plain, data) = match self.data {
            Data::Plain(at) => (true, at),
            Data::Extents(stored) => (false, stored),
        };
        let flags = [(self.opaque, OPAQUE), (self.implied, IMPLIED), (plain, PLAIN)];
        let flags = flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag);
        let mut raw = Writer { raw: [0; ROW], at: 0 };
        raw.put(self.parent.to_le_bytes());
        raw.put(self.name.0.to_le_bytes());
        raw.put([self.name.1, self.kind.code()]);
        raw.put(self.mode.to_le_bytes());
        for number in [self.uid, self.gid, self.nlink, self.inode, self.first, self.count] {
            raw.put(number.to_le_bytes());
        }
        for number in [self.xattrs.0, self.xattrs.1, flags] {
            raw.put(number.to_le_bytes());
        }
        raw.put(self.size.to_le_bytes());
        raw.put(data.to_le_bytes());
        raw.put(self.mtime.secs.to_le_bytes());
        raw.put(self.atime.secs.to_le_bytes());
        raw.put(self.mtime.nanos.to_le_bytes());
        raw.put(self.atime.nanos.to_le_bytes());
        raw.raw
    }

    /// Reads a row; `None` if it cannot be one.
    pub(super) fn decode(raw: &[u8; ROW]) -> Option<Self> {
        let flags = u32_at(raw, 44);
        let time = |secs, nanos| {
            let nanos = u32_at(raw, nanos);
            (nanos < 1_000_000_000).then_some(Timestamp { secs: u64_at(raw, secs).cast_signed(), nanos })
        };
        let mode = u16::from_le_bytes([raw[10], raw[11]]);
        if mode > 0o7777 || flags & !(OPAQUE | IMPLIED | PLAIN) != 0 {
            return None;
        }
        Some(Row {
            parent: u32_at(raw, 0),
            name: (u32_at(raw, 4), raw[8]),
            kind: RowKind::of_code(raw[9])?,
            mode,
            uid: u32_at(raw, 12),
            gid: u32_at(raw, 16),
            nlink: u32_at(raw, 20),
            inode: u32_at(raw, 24),
            first: u32_at(raw, 28),
            count: u32_at(raw, 32),
            xattrs: (u32_at(raw, 36), u32_at(raw, 40)),
            opaque: flags & OPAQUE != 0,
            implied: flags & IMPLIED != 0,
            size: u64_at(raw, 48),
            data: if flags & PLAIN != 0 { Data::Plain } else { Data::Extents }(u64_at(raw, 56)),
            mtime: time(64, 80)?,
            atime: time(72, 84)?,
        })
    }
}

/// Puts numbers one after the other.
struct Writer {
    raw: [u8; ROW],
    at: usize,
}

impl Writer {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.raw[self.at..self.at + N].copy_from_slice(&bytes);
        self.at += N;
    }
}

/// A number at an offset; 0 beyond the end.
pub(super) fn u32_at(raw: &[u8], at: usize) -> u32 {
    raw.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// A number at an offset; 0 beyond the end.
pub(super) fn u64_at(raw: &[u8], at: usize) -> u64 {
    raw.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) rows: u32,
    pub(super) extents: u32,
    pub(super) xattrs: u32,
    /// A power of two, or none.
    pub(super) slots: u32,
    pub(super) strings: u32,
}

/// Where everything is: follows from the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Where the body begins.
    pub(super) body: usize,
    /// Pages of the body.
    pub(super) pages: usize,
    /// Where the sections begin and end, in the body.
    pub(super) extents: usize,
    pub(super) xattrs: usize,
    pub(super) slots: usize,
    pub(super) strings: usize,
    pub(super) end: usize,
}

impl Layout {
    pub(super) fn new(counts: Counts) -> Self {
        let extents = counts.rows as usize * ROW;
        let xattrs = extents + counts.extents as usize * EXTENT;
        let slots = xattrs + counts.xattrs as usize * XATTR;
        let strings = slots + counts.slots as usize * SLOT;
        let end = strings + counts.strings as usize;
        let pages = end.div_ceil(PAGE);
        let body = PAGE + (pages * 4).next_multiple_of(PAGE);
        Layout { body, pages, extents, xattrs, slots, strings, end }
    }

    /// Length of the whole index.
    pub(super) fn file_len(&self) -> usize {
        self.body + self.pages * PAGE
    }
}

/// The first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) diff_id: DiffId,
    pub(super) tar_len: u64,
    pub(super) counts: Counts,
    /// CRC-32 of the checksums of the pages.
    pub(super) table_sum: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        page[..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
        page[12..16].copy_from_slice(&self.table_sum.to_le_bytes());
        page[16..48].copy_from_slice(self.diff_id.as_bytes());
        page[48..56].copy_from_slice(&self.tar_len.to_le_bytes());
        let Counts { rows, extents, xattrs, slots, strings } = self.counts;
        let counts = [rows, extents, xattrs, slots, strings];
        for (field, count) in page[56..76].chunks_exact_mut(4).zip(counts) {
            field.copy_from_slice(&count.to_le_bytes());
        }
        let sum = crc32fast::hash(&page[..HEADER_SUM]);
        page[HEADER_SUM..].copy_from_slice(&sum.to_le_bytes());
        page
    }

    pub(super) fn decode(file: &[u8]) -> Result<Self, IndexError> {
        let page = file.get(..PAGE).ok_or(IndexError::Damaged("it is too short"))?;
        if page[..8] != MAGIC {
            return Err(IndexError::Damaged("it does not begin like an index"));
        }
        match u32_at(page, 8) {
            VERSION => {}
            other => return Err(IndexError::Version(other)),
        }
        if crc32fast::hash(&page[..HEADER_SUM]) != u32_at(page, HEADER_SUM) {
            return Err(IndexError::Damaged("the checksum of its header is wrong"));
        }
        let mut diff_id = [0; 32];
        diff_id.copy_from_slice(&page[16..48]);
        Ok(Header {
            diff_id: DiffId::from_bytes(diff_id),
            tar_len: u64_at(page, 48),
            counts: Counts {
                rows: u32_at(page, 56),
                extents: u32_at(page, 60),
                xattrs: u32_at(page, 64),
                slots: u32_at(page, 68),
                strings: u32_at(page, 72),
            },
            table_sum: u32_at(page, 12),
        })
    }
}

/// Makes all checksums right in bytes that shall be taken for an index, and its length: for tests
/// of what is behind the checksums. Answers which tar it claims to be of; `None` if it is too short.
#[cfg(any(test, fuzzing))]
pub(in crate::store) fn seal(bytes: &mut Vec<u8>) -> Option<(DiffId, u64)> {
    if bytes.len() < 76 {
        return None;
    }
    bytes.resize(bytes.len().max(PAGE), 0);
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..HEADER_SUM]);
    bytes[HEADER_SUM..PAGE].copy_from_slice(&sum.to_le_bytes());
    let mut header = Header::decode(bytes).ok()?;
    let layout = Layout::new(header.counts);
    if layout.file_len() > 1 << 20 {
        return None;
    }
    bytes.resize(layout.file_len(), 0);
    for page in 0..layout.pages {
        let from = layout.body + page * PAGE;
        let sum = crc32fast::hash(&bytes[from..from + PAGE]);
        bytes[PAGE + page * 4..][..4].copy_from_slice(&sum.to_le_bytes());
    }
    header.table_sum = crc32fast::hash(&bytes[PAGE..layout.body]);
    bytes[..PAGE].copy_from_slice(&header.encode());
    Some((header.diff_id, header.tar_len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_and_impossible_ones_do_not() {
        let row = Row {
            parent: 1,
            kind: RowKind::File(FileKind::BlockDevice),
            opaque: true,
            implied: false,
            mode: 0o7755,
            uid: 2,
            gid: 3,
            nlink: 4,
            inode: 5,
            size: 1 << 40,
            data: Data::Plain(6),
            mtime: Timestamp { secs: -7, nanos: 8 },
            atime: Timestamp { secs: 9, nanos: 999_999_999 },
            first: 10,
            count: 11,
            name: (12, 255),
            xattrs: (13, 14),
        };
        let raw = row.encode();
        assert_eq!(Row::decode(&raw), Some(row));
        for (at, bad) in [(9, 8), (11, 0x10), (44, 8), (83, 0x7f)] {
            let mut raw = raw;
            raw[at] = bad;
            assert_eq!(Row::decode(&raw), None, "byte {at}");
        }
    }

    #[test]
    fn the_header_reads_back_and_no_byte_of_it_may_change() {
        let header = Header {
            diff_id: DiffId::from_bytes([7; 32]),
            tar_len: 1 << 40,
            counts: Counts { rows: 1, extents: 2, xattrs: 3, slots: 8, strings: 4 },
            table_sum: 5,
        };
        let page = header.encode();
        assert_eq!(Header::decode(&page).unwrap(), header);
        for at in 0..PAGE {
            let mut page = page;
            page[at] ^= 1;
            assert!(Header::decode(&page).is_err(), "byte {at}");
        }
    }
}
