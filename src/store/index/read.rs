//! Reads an index in place.

use super::format::{
    Counts, Data, EXTENT, Header, Layout, PAGE, ROOT_ROW, ROW, Row, RowKind, SLOT, XATTR, u32_at, u64_at,
};
use super::slots::{BIG_DIRECTORY, Slots};
use crate::layer::Extent;
use crate::store::digest::DiffId;
use crate::sys::{AsFd, FileMap};
use crate::types::{DeviceNumber, FileKind};
use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering as Memory};

/// An index that cannot be used. All are healed by making it anew from the tar.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It could not be read.
    #[error("the index could not be read: {0}")]
    Read(#[source] io::Error),
    /// It is of a version that this program does not know.
    #[error("the index has version {0}, which this program does not read")]
    Version(u32),
    /// It is of another tar.
    #[error("the index is that of another tar")]
    OtherTar,
    /// Its bytes cannot be right.
    #[error("the index is damaged: {0}")]
    Damaged(&'static str),
}

type Result<T> = std::result::Result<T, IndexError>;

/// Where the bytes are.
#[derive(Debug)]
enum Storage {
    Map(FileMap),
    Memory(Box<[u8]>),
}

/// The index of one layer.
#[derive(Debug)]
pub struct Index {
    storage: Storage,
    counts: Counts,
    layout: Layout,
    /// A bit for each page of the body whose checksum was found right.
    verified: Box<[AtomicU64]>,
}

impl Index {
    /// Opens the index of a tar.
    pub fn open(path: &Path, diff_id: DiffId, tar_len: u64) -> Result<Index> {
        let file = File::open(path).map_err(IndexError::Read)?;
        let meta = file.metadata().map_err(IndexError::Read)?;
        if meta.len() < PAGE as u64 {
            return Err(IndexError::Damaged("it is too short"));
        }
        let map = FileMap::whole(file.as_fd()).map_err(|e| IndexError::Read(e.errno.into()))?;
        Index::new(Storage::Map(map), diff_id, tar_len)
    }

    /// Takes the index of a tar from memory.
    pub fn from_bytes(bytes: Box<[u8]>, diff_id: DiffId, tar_len: u64) -> Result<Index> {
        Index::new(Storage::Memory(bytes), diff_id, tar_len)
    }

    fn new(storage: Storage, diff_id: DiffId, tar_len: u64) -> Result<Index> {
        let file = bytes_of(&storage);
        let header = Header::decode(file)?;
        if header.diff_id != diff_id || header.tar_len != tar_len {
            return Err(IndexError::OtherTar);
        }
        let layout = Layout::new(header.counts);
        if layout.file_len() != file.len()
            || header.counts.rows == 0
            || !(header.counts.slots == 0 || header.counts.slots.is_power_of_two())
        {
            return Err(IndexError::Damaged("its length is wrong"));
        }
        if crc32fast::hash(&file[PAGE..layout.body]) != header.table_sum {
            return Err(IndexError::Damaged("the checksum of its checksums is wrong"));
        }
        let verified = (0..layout.pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let index = Index { storage, counts: header.counts, layout, verified };
        if !index.row(ROOT_ROW)?.kind.is_dir() {
            return Err(IndexError::Damaged("its root is no directory"));
        }
        Ok(index)
    }

    /// How many names the layer has, whiteouts included, the root not counted.
    pub fn entries(&self) -> u32 {
        self.counts.rows - 1
    }

    /// How many rows there are, the root included.
    pub fn rows(&self) -> u32 {
        self.counts.rows
    }

    /// A row.
    pub fn row(&self, number: u32) -> Result<Row> {
        let raw = self.row_bytes::<ROW>(number, 0)?;
        Row::decode(raw).ok_or(IndexError::Damaged("a row cannot be"))
    }

    /// The name of a row; empty of the root.
    pub fn name(&self, row: &Row) -> Result<&[u8]> {
        self.string(row.name.0, row.name.1.into())
    }

    /// The row of a name in a directory.
    pub fn find(&self, dir: u32, name: &[u8]) -> Result<Option<u32>> {
        let Range { mut start, mut end } = self.children(dir)?;
        if end - start > BIG_DIRECTORY {
            let slots = Slots { count: self.counts.slots, parent: dir, name };
            for slot in slots.candidates() {
                let at = self.layout.slots + slot as usize * SLOT;
                let raw = self.body(at, SLOT)?;
                let Some(row) = u32_at(raw, 0).checked_sub(1) else {
                    return Ok(None);
                };
                if u32_at(raw, 4) == slots.tag() && (start..end).contains(&row) && self.is_named(row, name)? {
                    return Ok(Some(row));
                }
            }
            // So crowded that some names have no slot.
        }
        while start < end {
            let middle = start + (end - start) / 2;
            let place = self.row_bytes::<9>(middle, 0)?;
            let there = self.string(u32_at(place, 4), place[8].into())?;
            match there.cmp(name) {
                Ordering::Equal => return Ok(Some(middle)),
                Ordering::Less => start = middle + 1,
                Ordering::Greater => end = middle,
            }
        }
        Ok(None)
    }

    fn is_named(&self, row: u32, name: &[u8]) -> Result<bool> {
        let place = self.row_bytes::<9>(row, 0)?;
        Ok(self.string(u32_at(place, 4), place[8].into())? == name)
    }

    /// The rows of what is in a directory, sorted by name; nothing of what is no directory.
    pub fn children(&self, number: u32) -> Result<Range<u32>> {
        let dir = self.row(number)?;
        if !dir.kind.is_dir() || dir.count == 0 {
            return Ok(0..0);
        }
        let end = dir.first.checked_add(dir.count).filter(|end| *end <= self.counts.rows);
        // Rows are in breadth-first order: so no walk can go round.
        let end =
            end.filter(|_| dir.first > number).ok_or(IndexError::Damaged("a directory leads astray"))?;
        Ok(dir.first..end)
    }

    /// The data of a regular file; nothing of what is none.
    pub fn extents(&self, row: &Row) -> Result<Box<[Extent]>> {
        if row.kind != RowKind::File(FileKind::Regular) || row.stored() == 0 {
            return Ok(Box::default());
        }
        let astray = IndexError::Damaged("the data of a file leads astray");
        if let Data::Plain(stored) = row.data {
            stored.checked_add(row.size).ok_or(astray)?;
            return Ok([Extent { at: 0, len: row.size, stored }].into());
        }
        let end = row.first.checked_add(row.count).filter(|end| *end <= self.counts.extents);
        if end.is_none() {
            return Err(astray);
        }
        let at = self.layout.extents + row.first as usize * EXTENT;
        let raw = self.body(at, row.count as usize * EXTENT)?;
        let mut from = 0;
        let mut extents = Vec::with_capacity(row.count as usize);
        for piece in raw.chunks_exact(EXTENT) {
            let extent = Extent { at: u64_at(piece, 0), len: u64_at(piece, 8), stored: u64_at(piece, 16) };
            let end = extent.at.checked_add(extent.len).filter(|end| *end <= row.size);
            let stored_end = extent.stored.checked_add(extent.len);
            match (end, stored_end) {
                (Some(end), Some(_)) if extent.at >= from && extent.len > 0 => from = end,
                _ => return Err(astray),
            }
            extents.push(extent);
        }
        Ok(extents.into())
    }

    /// The target of a symlink; empty of what is none.
    pub fn target(&self, row: &Row) -> Result<&[u8]> {
        match row.kind {
            RowKind::File(FileKind::Symlink) => self.string(row.first, row.count),
            _ => Ok(b""),
        }
    }

    /// The device number of a device; 0:0 of what is none.
    pub fn device_number(&self, row: &Row) -> DeviceNumber {
        match row.kind {
            RowKind::File(FileKind::CharDevice | FileKind::BlockDevice) => {
                DeviceNumber { major: row.first, minor: row.count }
            }
            _ => DeviceNumber::default(),
        }
    }

    /// Names and values of the xattrs, sorted by name.
    pub fn xattrs(&self, row: &Row) -> Result<Vec<(&[u8], &[u8])>> {
        let (first, count) = row.xattrs;
        if count == 0 {
            return Ok(Vec::new());
        }
        let end = first.checked_add(count).filter(|end| *end <= self.counts.xattrs);
        if end.is_none() {
            return Err(IndexError::Damaged("the xattrs of a file lead astray"));
        }
        let raw = self.body(self.layout.xattrs + first as usize * XATTR, count as usize * XATTR)?;
        let string = |raw, at| self.string(u32_at(raw, at), u32_at(raw, at + 4));
        raw.chunks_exact(XATTR).map(|raw| Ok((string(raw, 0)?, string(raw, 8)?))).collect()
    }

    /// Reads everything once: every checksum, every row and all that rows lead to.
    pub fn check(&self) -> Result<()> {
        self.body(0, self.layout.end)?;
        let mut next_child = 1;
        for number in 0..self.counts.rows {
            let row = self.row(number)?;
            let children = self.children(number)?;
            let parent_fits = if number == ROOT_ROW { row.parent == ROOT_ROW } else { row.parent < number };
            if !parent_fits || row.inode > number || (!children.is_empty() && children.start != next_child) {
                return Err(IndexError::Damaged("its rows are not in order"));
            }
            next_child = children.end.max(next_child);
            let mut last: Option<&[u8]> = None;
            for row in children {
                let child = self.row(row)?;
                let name = self.name(&child)?;
                let in_order = child.parent == number && last.is_none_or(|last| last < name);
                if !in_order || self.find(number, name)? != Some(row) {
                    return Err(IndexError::Damaged("its rows are not in order"));
                }
                last = Some(name);
            }
            self.extents(&row)?;
            self.target(&row)?;
            self.xattrs(&row)?;
        }
        if next_child == self.counts.rows { Ok(()) } else { Err(IndexError::Damaged("rows nobody leads to")) }
    }

    fn string(&self, at: u32, len: u32) -> Result<&[u8]> {
        let end = at.checked_add(len).filter(|end| *end <= self.counts.strings);
        end.ok_or(IndexError::Damaged("a name leads astray"))?;
        self.body(self.layout.strings + at as usize, len as usize)
    }

    /// `N` bytes of a row, from an offset in it on.
    fn row_bytes<const N: usize>(&self, number: u32, offset: usize) -> Result<&[u8; N]> {
        let astray = IndexError::Damaged("a row that is not there");
        if number >= self.counts.rows {
            return Err(astray);
        }
        let raw = self.body(number as usize * ROW + offset, N)?;
        raw.first_chunk().ok_or(astray)
    }

    /// A part of the body, its checksums verified.
    fn body(&self, at: usize, len: usize) -> Result<&[u8]> {
        let end = at.checked_add(len).filter(|end| *end <= self.layout.end);
        let end = end.ok_or(IndexError::Damaged("something lies outside of it"))?;
        if len == 0 {
            return Ok(b"");
        }
        for page in at / PAGE..end.div_ceil(PAGE) {
            self.verify_page(page)?;
        }
        let outside = IndexError::Damaged("something lies outside of it");
        bytes_of(&self.storage).get(self.layout.body + at..self.layout.body + end).ok_or(outside)
    }

    fn verify_page(&self, page: usize) -> Result<()> {
        let bit = 1 << (page % 64);
        // Whoever sees the bit needs nothing else that was written with it: the bytes never change.
        let word = self.verified.get(page / 64).ok_or(IndexError::Damaged("a page that is not there"))?;
        if word.load(Memory::Relaxed) & bit != 0 {
            return Ok(());
        }
        let file = bytes_of(&self.storage);
        let from = self.layout.body + page * PAGE;
        let stated = u32_at(file, PAGE + page * 4);
        if file.get(from..from + PAGE).map(crc32fast::hash) != Some(stated) {
            return Err(IndexError::Damaged("the checksum of a page is wrong"));
        }
        word.fetch_or(bit, Memory::Relaxed);
        Ok(())
    }
}

fn bytes_of(storage: &Storage) -> &[u8] {
    match storage {
        Storage::Map(map) => map.bytes(),
        Storage::Memory(bytes) => bytes,
    }
}
