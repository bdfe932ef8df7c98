//! The entries of an archive, one after the other: headers, what continues them, and where the data is.

use super::header::{Header, checksum_fits, device_number};
use super::pax::{Pax, PaxSparse};
use super::source::{Block, Source, padding};
use super::sparse::{SparseMap, old_gnu, pax_1_0};
use super::{Problem, TarError};
use crate::layer::Extent;
use crate::types::{DeviceNumber, Timestamp};
use std::io::Read;

/// A pax header or a long name of more is refused: they are kept in memory.
const LONGEST_EXTENSION: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug)]
pub(super) enum EntryKind {
    /// A regular file of this size; what no extent covers is a hole.
    Regular { size: u64, extents: Vec<Extent> },
    /// Another name of an entry.
    HardLink { target: Vec<u8> },
    /// A symlink.
    Symlink { target: Vec<u8> },
    /// A directory.
    Directory,
    /// A character device.
    CharDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
    /// A named pipe.
    Fifo,
}

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) atime: Timestamp,
    /// Sorted by name.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads the entries of an archive.
pub(super) struct Walk<'r> {
    source: Source<'r>,
    global: Pax,
    /// The entry being read, for messages.
    name: Option<Vec<u8>>,
    header_at: u64,
}

/// What stands before the header of an entry.
#[derive(Default)]
struct Before {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Before {
    fn is_something(&self) -> bool {
        self.pax.is_some() || self.name.is_some() || self.link.is_some()
    }
}

impl<'r> Walk<'r> {
    /// Begins at the start of an archive.
    pub(super) fn new(tar: &'r mut dyn Read) -> Self {
        Walk { source: Source::new(tar), global: Pax::default(), name: None, header_at: 0 }
    }

    /// The next entry; `None` at the end, all that follows it being read then.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        self.name = None;
        self.next_entry().map_err(|problem| self.error(problem))
    }

    /// A problem of the entry that was read last.
    pub(super) fn error(&self, problem: Problem) -> TarError {
        TarError { entry: self.name.as_deref().map(Box::from), at: self.header_at, problem }
    }

    /// Where the header of the entry that was read last is.
    pub(super) fn header_at(&self) -> u64 {
        self.header_at
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, Problem> {
        let mut before = Before::default();
        loop {
            self.header_at = self.source.at();
            let Some(block) = self.header_block(&before)? else {
                return Ok(None);
            };
            let header = Header::parse(&block)?;
            match header.kind {
                b'L' => before.name = Some(self.long_name(header.size, "name")?),
                b'K' => before.link = Some(self.long_name(header.size, "link target")?),
                b'g' => {
                    let records = self.extension(header.size, "pax header")?;
                    self.global.add(&records)?;
                }
                // X is what Solaris wrote before there was a standard.
                b'x' | b'X' => {
                    let records = self.extension(header.size, "pax header")?;
                    before.pax.get_or_insert_with(|| self.global.clone()).add(&records)?;
                }
                // The name of the whole archive.
                b'V' => self.skip_data(header.size, "a volume name")?,
                _ => return self.entry(&block, header, before).map(Some),
            }
        }
    }

    /// The next block that holds a header; `None` at the end.
    fn header_block(&mut self, before: &Before) -> Result<Option<Block>, Problem> {
        let block = self.source.block("a header")?;
        let ended = block.as_ref().is_none_or(|block| block.iter().all(|b| *b == 0));
        if ended && before.is_something() {
            return Err(Problem::Truncated("an entry, after its extended header"));
        }
        match block {
            Some(_) if ended => {
                let second = self.source.block("the blocks that end it")?;
                if second.is_some_and(|block| block.iter().any(|b| *b != 0)) {
                    return Err(Problem::LoneZeroBlock);
                }
                self.source.drain()?;
                Ok(None)
            }
            // Layers exist whose writer was stopped before the blocks of zeros.
            None => Ok(None),
            Some(block) if checksum_fits(&block) => Ok(Some(block)),
            Some(_) if self.header_at == 0 => Err(Problem::NotATar),
            Some(_) => Err(Problem::Checksum),
        }
    }

    fn extension(&mut self, size: u64, what: &'static str) -> Result<Vec<u8>, Problem> {
        match usize::try_from(size) {
            Ok(len) if size <= LONGEST_EXTENSION => self.source.padded(len, what),
            _ => Err(Problem::TooLong { what, len: size, most: LONGEST_EXTENSION }),
        }
    }

    /// A name in a block of its own, ended by NUL or not.
    fn long_name(&mut self, size: u64, what: &'static str) -> Result<Vec<u8>, Problem> {
        let mut name = self.extension(size, what)?;
        let len = name.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        name.truncate(len);
        if name.contains(&0) { Err(Problem::Nul(what)) } else { Ok(name) }
    }

    fn skip_data(&mut self, size: u64, inside: &'static str) -> Result<(), Problem> {
        self.source.skip(size, inside)?;
        self.source.skip_padding(padding(size))
    }

    fn entry(&mut self, block: &Block, header: Header, before: Before) -> Result<Entry, Problem> {
        let pax = before.pax.unwrap_or_else(|| self.global.clone());
        let path = before.name.or(pax.sparse.name.clone()).or(pax.path).unwrap_or(header.name);
        self.name = Some(path.clone());
        let link = before.link.or(pax.linkpath).unwrap_or(header.link);
        let size = pax.size.unwrap_or(header.size);
        if i64::try_from(size).is_err() {
            return Err(Problem::Range("size"));
        }
        let owner = |pax: Option<u64>, header: i64, what| {
            let id = pax.map_or(u32::try_from(header).ok(), |id| u32::try_from(id).ok());
            // The last number means "leave as it is" to chown(2).
            id.filter(|id| *id != u32::MAX).ok_or(Problem::Range(what))
        };
        let mtime = pax.mtime.unwrap_or(header.mtime);
        let kind = self.kind(block, header.kind, link, size, &pax.sparse)?;
        Ok(Entry {
            path,
            kind,
            mode: header.mode,
            uid: owner(pax.uid, header.uid, "owner")?,
            gid: owner(pax.gid, header.gid, "group")?,
            mtime,
            atime: pax.atime.or(header.atime).unwrap_or(mtime),
            xattrs: pax.xattrs.into_iter().collect(),
        })
    }

    /// What the entry is; passes over its data. Links, directories and devices have none, whatever
    /// their size says: that of a hard link is the size of the file.
    fn kind(
        &mut self,
        block: &Block,
        kind: u8,
        link: Vec<u8>,
        size: u64,
        sparse: &PaxSparse,
    ) -> Result<EntryKind, Problem> {
        match kind {
            b'0' | 0 | b'7' => {
                // So directories were written before they had a type.
                let directory = kind == 0 && self.name.as_ref().is_some_and(|name| name.ends_with(b"/"));
                if directory {
                    self.skip_data(size, "the data of an entry")?;
                    return Ok(EntryKind::Directory);
                }
                let (map, shown, skipped) = self.pax_map(size, sparse)?;
                self.regular(map, shown, size - skipped)
            }
            b'S' => {
                let (map, shown) = old_gnu(block, &mut self.source)?;
                self.regular(Some(map), shown, size)
            }
            b'1' => Ok(EntryKind::HardLink { target: link }),
            b'2' => Ok(EntryKind::Symlink { target: link }),
            b'3' => Ok(EntryKind::CharDevice(device_number(block)?)),
            b'4' => Ok(EntryKind::BlockDevice(device_number(block)?)),
            b'5' => Ok(EntryKind::Directory),
            b'6' => Ok(EntryKind::Fifo),
            // A directory with the list of its names, by incremental backups.
            b'D' => {
                self.skip_data(size, "the data of an entry")?;
                Ok(EntryKind::Directory)
            }
            other => Err(Problem::UnknownType(char::from(other))),
        }
    }

    /// The map that pax records give or announce, the size shown, and how much of the data the map took.
    fn pax_map(&mut self, size: u64, sparse: &PaxSparse) -> Result<(Option<SparseMap>, u64, u64), Problem> {
        let shown = || sparse.size.ok_or(Problem::Sparse("the size of the file is missing"));
        match (sparse.version, &sparse.map) {
            ((0, 0), None) => Ok((None, size, 0)),
            ((0, _), map) => {
                let mut pieces = SparseMap::new();
                for (at, len) in map.iter().flatten() {
                    pieces.add(*at, *len)?;
                }
                Ok((Some(pieces), shown()?, 0))
            }
            ((1, 0), _) => {
                let (map, len) = pax_1_0(size, &mut self.source)?;
                Ok((Some(map), shown()?, len))
            }
            _ => Err(Problem::Sparse("its version is unknown")),
        }
    }

    /// A regular file whose `data` bytes come next.
    fn regular(&mut self, map: Option<SparseMap>, shown: u64, data: u64) -> Result<EntryKind, Problem> {
        if i64::try_from(shown).is_err() {
            return Err(Problem::Range("size"));
        }
        let start = self.source.at();
        let extents = match map {
            Some(map) => map.finish(shown, data, start)?,
            None if data == 0 => Vec::new(),
            None => vec![Extent { at: 0, len: data, stored: start }],
        };
        self.skip_data(data, "the data of an entry")?;
        Ok(EntryKind::Regular { size: shown, extents })
    }
}
