//! The names of one directory, merged, as rows that keep their places.
//!
//! 1. *A cookie must stay good while the directory lives.* A row's number is its cookie; rows never
//!    move, and a removed row's place is used again.
//! 2. *A million names must fit.* Names lie in one buffer, rows are 24 bytes, and the index holds
//!    only row numbers.
//! 3. *A name's layers must be known without asking them.* A row says which parts of the directory
//!    have the name; whiteouts of the upper are rows too, but not visible.

use super::ahead::Walk;
use crate::semantics::listing::{Listed, MergedName};
use crate::types::{FileKind, Ino};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;
use std::ops::Range;

/// A part of the directory: 0 is the upper, n the lower n-1 of the directory's own list.
pub(super) type Part = u16;
/// The part that is the upper.
pub(super) const UPPER: Part = 0;

const NO_PARTS: u32 = u32::MAX;

/// All names of a directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    names: Vec<u8>,
    /// Bytes of `names` that no row uses.
    unused: usize,
    rows: Vec<Row>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Lists of the parts of directories, each after its length.
    parts: Vec<Part>,
    visible: usize,
    /// How its files are being read.
    pub(super) walk: Walk,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    ino: Ino,
    name_at: u32,
    /// Where in `parts` its list begins, by its length; [`NO_PARTS`] without one.
    parts_at: u32,
    top: Part,
    /// 0: it holds no name.
    name_len: u8,
    kind: FileKind,
    merged: MergedName,
}

impl Row {
    fn is_live(&self) -> bool {
        self.name_len > 0
    }
}

/// One name of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    /// The name.
    pub(super) name: &'a [u8],
    /// The object's shown number.
    pub(super) ino: Ino,
    /// The object's kind.
    pub(super) kind: FileKind,
    /// Whether the mount shows it.
    pub(super) visible: bool,
    /// The part that decides.
    pub(super) top: Part,
    /// Whether a lower part shows the name, were the upper not there.
    pub(super) in_lower: bool,
    /// All parts of a directory that has several; else empty.
    parts: &'a [Part],
}

impl Name<'_> {
    /// Whether a part of the directory has the shown object, or its share of it.
    pub(super) fn has_part(&self, part: Part) -> bool {
        match self.parts {
            [] => self.top == part,
            parts => parts.contains(&part),
        }
    }
}

impl Listing {
    fn hash(&self, name: &[u8]) -> u64 {
        self.hasher.hash_one(name)
    }

    fn name_of(&self, row: &Row) -> &[u8] {
        &self.names[row.name_at as usize..][..usize::from(row.name_len)]
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.index
            .find(self.hash(name), |at| self.name_of(&self.rows[*at as usize]) == name)
            .map(|at| *at as usize)
    }

    fn parts_of(&self, row: &Row) -> &[Part] {
        match self.parts.get(row.parts_at as usize..) {
            Some([len, parts @ ..]) => &parts[..usize::from(*len)],
            _ => &[],
        }
    }

    fn view(&self, row: &Row) -> Name<'_> {
        let visible = row.merged.visible();
        Name {
            name: self.name_of(row),
            ino: row.ino,
            kind: row.kind,
            visible,
            top: row.top,
            in_lower: match row.top {
                UPPER => row.merged.below,
                _ => visible,
            },
            parts: self.parts_of(row),
        }
    }

    /// What the directory has at a name.
    pub(super) fn get(&self, name: &[u8]) -> Option<Name<'_>> {
        self.find(name).map(|at| self.view(&self.rows[at]))
    }

    /// The row of a name.
    pub(super) fn row_of(&self, name: &[u8]) -> Option<u32> {
        self.find(name).and_then(|at| u32::try_from(at).ok())
    }

    /// How many names the mount shows.
    pub(super) fn len(&self) -> usize {
        self.visible
    }

    /// Whether the mount shows no name.
    pub(super) fn is_empty(&self) -> bool {
        self.visible == 0
    }

    /// The visible names from a row on, each with the number of the row after it.
    pub(super) fn rows_from(&self, row: usize) -> impl Iterator<Item = (usize, Name<'_>)> {
        let rows = self.rows.iter().enumerate().skip(row);
        rows.filter(|(_, row)| row.is_live() && row.merged.visible())
            .map(|(at, row)| (at + 1, self.view(row)))
    }

    /// The visible names of some rows.
    pub(super) fn rows_within(&self, rows: Range<u32>) -> impl Iterator<Item = Name<'_>> {
        let end = self.rows.len().min(rows.end as usize);
        let rows = self.rows.get(rows.start as usize..end).unwrap_or_default();
        rows.iter().filter(|row| row.is_live() && row.merged.visible()).map(|row| self.view(row))
    }

    fn push_name(&mut self, name: &[u8]) -> u32 {
        // Worth a pass over the rows once half of the buffer is unused.
        if self.unused > 4096 && self.unused > self.names.len() / 2 {
            self.compact();
        }
        let at = self.names.len();
        self.names.extend_from_slice(name);
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    fn compact(&mut self) {
        let mut names = Vec::with_capacity(self.names.len() - self.unused);
        for row in self.rows.iter_mut().filter(|row| row.is_live()) {
            let at = names.len();
            names.extend_from_slice(&self.names[row.name_at as usize..][..usize::from(row.name_len)]);
            row.name_at = u32::try_from(at).unwrap_or(u32::MAX);
        }
        self.names = names;
        self.unused = 0;
    }

    fn insert(&mut self, name: &[u8], row: impl FnOnce(u32) -> Row) -> usize {
        let name_at = self.push_name(name);
        let row = row(name_at);
        self.visible += usize::from(row.merged.visible());
        let at = match self.free.pop() {
            Some(at) => {
                self.rows[at as usize] = row;
                at
            }
            None => {
                self.rows.push(row);
                u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let Listing { names, rows, index, hasher, .. } = self;
        let hash = |at: &u32| {
            let row = &rows[*at as usize];
            hasher.hash_one(&names[row.name_at as usize..][..usize::from(row.name_len)])
        };
        index.insert_unique(hasher.hash_one(name), at, hash);
        at as usize
    }

    /// Sets what the upper has at a name; what the lowers have stays.
    pub(super) fn set_upper(&mut self, name: &[u8], upper: UpperRow) {
        let (listed, kind, ino) = match upper {
            UpperRow::Whiteout => (Listed::Whiteout, FileKind::CharDevice, Ino(0)),
            UpperRow::Object(kind @ FileKind::Directory, ino) => (Listed::Directory, kind, ino),
            UpperRow::Object(kind, ino) => (Listed::Other, kind, ino),
        };
        let in_lower = self.get(name).is_some_and(|n| n.in_lower);
        self.remove(name);
        let mut merged = MergedName::new(listed);
        merged.below = in_lower;
        let name_len = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let row = |name_at| Row { ino, name_at, parts_at: NO_PARTS, top: UPPER, name_len, kind, merged };
        self.insert(name, row);
    }

    /// The upper's directory at a name now also has these lower parts (a copied-up directory).
    pub(super) fn set_copied_up(&mut self, name: &[u8]) {
        let Some(at) = self.find(name) else { return };
        let old = self.rows[at];
        if old.top == UPPER || !old.merged.visible() {
            return;
        }
        if old.kind.is_dir() {
            let lower_parts = self.parts_of(&old).to_vec();
            self.rows[at].parts_at = u32::try_from(self.parts.len()).unwrap_or(NO_PARTS);
            self.parts.push(u16::try_from(lower_parts.len() + 1).unwrap_or(u16::MAX));
            self.parts.push(UPPER);
            self.parts.extend(lower_parts);
        }
        self.rows[at].top = UPPER;
        self.rows[at].merged.below = true;
    }

    /// Forgets a name.
    pub(super) fn remove(&mut self, name: &[u8]) {
        let hash = self.hash(name);
        let Listing { names, rows, index, .. } = self;
        let found = index.find_entry(hash, |at| {
            let row = &rows[*at as usize];
            &names[row.name_at as usize..][..usize::from(row.name_len)] == name
        });
        let Ok(entry) = found else { return };
        let (at, _) = entry.remove();
        let row = &mut self.rows[at as usize];
        self.visible -= usize::from(row.merged.visible());
        row.name_len = 0;
        self.unused += name.len();
        self.free.push(at);
    }
}

/// What the upper has at a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum UpperRow {
    /// A whiteout.
    Whiteout,
    /// An object.
    Object(FileKind, Ino),
}

/// Builds a listing part by part, topmost first.
#[derive(Debug, Default)]
pub(super) struct Builder {
    listing: Listing,
    /// Names that several parts have, by row: completed when all parts are read.
    more_parts: Vec<(u32, Part)>,
    /// Whiteouts of the part being read: they hide the parts below only.
    whiteouts: Vec<Vec<u8>>,
}

impl Builder {
    /// An entry of the part being read.
    pub(super) fn entry(&mut self, part: Part, name: &[u8], kind: FileKind, ino: Ino) {
        let listed = if kind.is_dir() { Listed::Directory } else { Listed::Other };
        match self.listing.find(name) {
            None => self.add(part, name, kind, ino, listed),
            Some(at) => {
                let row = &mut self.listing.rows[at];
                if row.merged.add(listed) {
                    self.more_parts.push((u32::try_from(at).unwrap_or(u32::MAX), part));
                }
            }
        }
    }

    /// A whiteout of the part being read.
    pub(super) fn whiteout(&mut self, name: &[u8]) {
        self.whiteouts.push(name.to_vec());
    }

    fn add(&mut self, part: Part, name: &[u8], kind: FileKind, ino: Ino, listed: Listed) {
        let name_len = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let merged = MergedName::new(listed);
        let row = |name_at| Row { ino, name_at, parts_at: NO_PARTS, top: part, name_len, kind, merged };
        self.listing.insert(name, row);
    }

    /// The part being read is complete.
    pub(super) fn end_part(&mut self, part: Part) {
        for name in std::mem::take(&mut self.whiteouts) {
            match self.listing.find(&name) {
                None => self.add(part, &name, FileKind::CharDevice, Ino(0), Listed::Whiteout),
                Some(at) => {
                    self.listing.rows[at].merged.add(Listed::Whiteout);
                }
            }
        }
    }

    /// The listing of all parts.
    pub(super) fn finish(mut self) -> Listing {
        // Stable: the parts of one name stay in their order.
        self.more_parts.sort_by_key(|(row, _)| *row);
        let mut more = self.more_parts.iter().peekable();
        let Listing { rows, parts, .. } = &mut self.listing;
        for (at, row) in
            rows.iter_mut().enumerate().filter(|(_, row)| row.kind.is_dir() && row.merged.visible())
        {
            let begin = parts.len();
            row.parts_at = u32::try_from(begin).unwrap_or(NO_PARTS);
            parts.extend([0, row.top]);
            while let Some((_, part)) = more.next_if(|(of, _)| *of as usize == at) {
                parts.push(*part);
            }
            parts[begin] = u16::try_from(parts.len() - begin - 1).unwrap_or(u16::MAX);
        }
        self.listing.parts.shrink_to_fit();
        self.listing.names.shrink_to_fit();
        self.listing.rows.shrink_to_fit();
        self.listing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_small() {
        assert_eq!(size_of::<Row>(), 24);
    }
}
