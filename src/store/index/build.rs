//! From the tree of a layer to the bytes of its index.
//!
//! Rows and names are made while they are written, twice: for the checksums, which come first, and
//! for the file. So a layer of millions of entries needs no memory for them beyond the tree.

use super::format::{Counts, Data, EXTENT, Header, Layout, PAGE, Row, RowKind, SLOT};
use super::order::{Order, Place};
use super::slots::{self, BIG_DIRECTORY, Slots};
use crate::layer::Extent;
use crate::store::digest::DiffId;
use crate::store::tar::{Body, IMPLIED, Inode, NO_XATTRS, Tree, WHITEOUT};
use crate::types::{FileKind, Timestamp};
use hashbrown::HashMap;
use std::fmt;
use std::io::{self, Write};

/// Owner root, readable by all: as an extractor makes a directory nobody described.
const IMPLIED_MODE: u16 = 0o755;
const NO_ROW: u32 = u32::MAX;

/// An index before it is written.
pub struct IndexImage {
    counts: Counts,
    tree: Tree,
    order: Order,
    /// By inode: the first row, and how many rows.
    first_rows: Vec<u32>,
    nlinks: Vec<u32>,
    /// Where the extents of sparse files and the targets of symlinks are, by inode.
    places: HashMap<u32, u32>,
    /// First xattr and how many, by number of the set.
    xattr_places: Vec<(u32, u32)>,
    extents: Vec<u8>,
    xattrs: Vec<u8>,
    slots: Vec<u8>,
    /// The strings that are no names; they follow the names.
    strings: Vec<u8>,
}

impl fmt::Debug for IndexImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexImage").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl IndexImage {
    /// How many names the layer has, whiteouts included, the root not counted.
    pub fn entries(&self) -> u64 {
        u64::from(self.counts.rows) - 1
    }

    /// Writes the index of the tar with this digest and length.
    pub fn write_to(&self, out: &mut dyn Write, diff_id: DiffId, tar_len: u64) -> io::Result<()> {
        let layout = Layout::new(self.counts);
        let mut sums = PageSums { sum: crc32fast::Hasher::new(), left: PAGE, table: Vec::new() };
        self.give_body(&layout, &mut |bytes| {
            sums.add(bytes);
            Ok(())
        })?;
        let mut table = sums.table;
        table.resize(layout.body - PAGE, 0);
        let header = Header { diff_id, tar_len, counts: self.counts, table_sum: crc32fast::hash(&table) };
        out.write_all(&header.encode())?;
        out.write_all(&table)?;
        // Rows come one by one.
        let mut out = io::BufWriter::with_capacity(64 << 10, out);
        self.give_body(&layout, &mut |bytes| out.write_all(bytes))?;
        out.flush()
    }

    fn give_body(&self, layout: &Layout, give: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut name_at = 0;
        for number in 0..self.counts.rows {
            let row = self.row(number, name_at);
            name_at += u32::from(row.name.1);
            give(&row.encode())?;
        }
        for section in [&self.extents, &self.xattrs, &self.slots] {
            give(section)?;
        }
        for node in &self.order.nodes {
            give(self.tree.name(*node))?;
        }
        give(&self.strings)?;
        give(&vec![0; layout.pages * PAGE - layout.end])
    }

    /// A row whose name is at `name_at` of the strings.
    fn row(&self, number: u32, name_at: u32) -> Row {
        let node = self.order.nodes[number as usize];
        let Place { parent, first, count } = self.order.places[number as usize];
        let there = &self.tree.nodes[node as usize];
        let mut row = Row {
            parent,
            // Until more is known of it: a directory nobody described.
            kind: RowKind::File(FileKind::Directory),
            opaque: there.opaque,
            implied: there.inode == IMPLIED,
            mode: IMPLIED_MODE,
            uid: 0,
            gid: 0,
            nlink: 1,
            inode: number,
            size: 0,
            data: Data::Extents(0),
            mtime: Timestamp::default(),
            atime: Timestamp::default(),
            first,
            count,
            // The tree has no longer names.
            name: (name_at, self.tree.name(node).len() as u8),
            xattrs: (0, 0),
        };
        if there.inode == WHITEOUT {
            row.kind = RowKind::Whiteout;
            row.mode = 0;
        } else if let Some(inode) = self.tree.inodes.get(there.inode as usize) {
            self.describe(&mut row, there.inode, inode);
        }
        row
    }

    fn describe(&self, row: &mut Row, id: u32, inode: &Inode) {
        (row.mode, row.uid, row.gid) = (inode.mode, inode.uid, inode.gid);
        (row.mtime, row.atime) = (inode.mtime, inode.atime);
        if inode.xattrs != NO_XATTRS {
            row.xattrs = self.xattr_places[inode.xattrs as usize];
        }
        if matches!(inode.body, Body::Directory) {
            return;
        }
        row.inode = self.first_rows[id as usize];
        row.nlink = self.nlinks[id as usize];
        let place = self.places.get(&id).copied().unwrap_or(0);
        match &inode.body {
            Body::Directory => {}
            Body::Plain { size, stored } => {
                (row.kind, row.size) = (RowKind::File(FileKind::Regular), *size);
                row.data = Data::Plain(*stored);
            }
            Body::Sparse { size, first, count } => {
                let extents = &self.tree.extents[*first as usize..][..*count as usize];
                (row.kind, row.size) = (RowKind::File(FileKind::Regular), *size);
                row.data = Data::Extents(extents.iter().map(|extent| extent.len).sum());
                (row.first, row.count) = (place, *count);
            }
            Body::Symlink { target } => {
                (row.kind, row.size) = (RowKind::File(FileKind::Symlink), target.len() as u64);
                // The tree has no longer targets.
                (row.first, row.count) = (place, target.len() as u32);
            }
            Body::Device(kind, rdev) => {
                row.kind = RowKind::File(*kind);
                (row.first, row.count) = (rdev.major, rdev.minor);
            }
            Body::Fifo => row.kind = RowKind::File(FileKind::Fifo),
        }
    }
}

/// Sums pages of what comes in pieces.
struct PageSums {
    sum: crc32fast::Hasher,
    left: usize,
    table: Vec<u8>,
}

impl PageSums {
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(self.left));
            self.sum.update(part);
            self.left -= part.len();
            if self.left == 0 {
                let sum = std::mem::replace(&mut self.sum, crc32fast::Hasher::new());
                self.table.extend_from_slice(&sum.finalize().to_le_bytes());
                self.left = PAGE;
            }
            bytes = rest;
        }
    }
}

/// Makes the index of a tree; the error says of what there is too much.
pub(in crate::store) fn build(mut tree: Tree) -> Result<IndexImage, &'static str> {
    let order = Order::of(&mut tree);
    tree.forget_lookups();
    let mut image = IndexImage {
        counts: Counts::default(),
        first_rows: vec![NO_ROW; tree.inodes.len()],
        nlinks: order.count_links(&tree),
        places: HashMap::new(),
        xattr_places: Vec::with_capacity(tree.xattr_sets.len()),
        tree,
        order,
        extents: Vec::new(),
        xattrs: Vec::new(),
        slots: Vec::new(),
        strings: Vec::new(),
    };
    image.add_names()?;
    image.add_xattrs()?;
    image.add_bodies()?;
    image.add_slots()?;
    Ok(image)
}

impl IndexImage {
    /// Counts rows and the bytes of names, which are the first of the strings.
    fn add_names(&mut self) -> Result<(), &'static str> {
        self.counts.rows = u32::try_from(self.order.nodes.len()).map_err(|_| "names")?;
        let bytes = self.order.nodes.iter().map(|node| self.tree.name(*node).len() as u64).sum::<u64>();
        self.counts.strings = u32::try_from(bytes).map_err(|_| "bytes of names")?;
        Ok(())
    }

    fn add_xattrs(&mut self) -> Result<(), &'static str> {
        for set in std::mem::take(&mut self.tree.xattr_sets) {
            let first = self.counts.xattrs;
            for (name, value) in set.iter() {
                for bytes in [name, value] {
                    let at = self.add_string(bytes)?;
                    self.xattrs.extend_from_slice(&at.to_le_bytes());
                    self.xattrs.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                }
                self.counts.xattrs = self.counts.xattrs.checked_add(1).ok_or("xattrs")?;
            }
            self.xattr_places.push((first, self.counts.xattrs - first));
        }
        Ok(())
    }

    /// Extents and targets, in the order of the first rows of their files.
    fn add_bodies(&mut self) -> Result<(), &'static str> {
        for number in 0..self.counts.rows {
            let id = self.tree.nodes[self.order.nodes[number as usize] as usize].inode;
            let Some(first_row) = self.first_rows.get_mut(id as usize).filter(|row| **row == NO_ROW) else {
                continue;
            };
            *first_row = number;
            let place = match &self.tree.inodes[id as usize].body {
                Body::Symlink { target } => {
                    let target = target.clone();
                    self.add_string(&target)?
                }
                Body::Sparse { first, count, .. } => {
                    let (first, count) = (*first as usize, *count as usize);
                    self.add_extents(first, count)?
                }
                Body::Plain { .. } | Body::Directory | Body::Device(..) | Body::Fifo => continue,
            };
            self.places.insert(id, place);
        }
        Ok(())
    }

    fn add_string(&mut self, bytes: &[u8]) -> Result<u32, &'static str> {
        let at = self.counts.strings;
        let len = u32::try_from(bytes.len()).map_err(|_| "bytes of names")?;
        self.counts.strings = at.checked_add(len).ok_or("bytes of names")?;
        self.strings.extend_from_slice(bytes);
        Ok(at)
    }

    fn add_extents(&mut self, first: usize, count: usize) -> Result<u32, &'static str> {
        let place = self.counts.extents;
        self.counts.extents = u32::try_from(count).ok().and_then(|n| place.checked_add(n)).ok_or("pieces")?;
        self.extents.reserve(count * EXTENT);
        for Extent { at, len, stored } in &self.tree.extents[first..first + count] {
            for number in [at, len, stored] {
                self.extents.extend_from_slice(&number.to_le_bytes());
            }
        }
        Ok(place)
    }

    fn add_slots(&mut self) -> Result<(), &'static str> {
        let IndexImage { tree, order, .. } = self;
        let big = |place: &&Place| place.count > BIG_DIRECTORY;
        let names = order.places.iter().filter(big).map(|place| u64::from(place.count)).sum::<u64>();
        let count = u32::try_from(names).ok().and_then(slots::count_for).ok_or("names")?;
        self.counts.slots = count;
        let mut table = vec![0; count as usize * SLOT];
        for (parent, place) in order.places.iter().enumerate().filter(|(_, place)| big(place)) {
            for row in place.first..place.first + place.count {
                let name = tree.name(order.nodes[row as usize]);
                slots::insert(&mut table, &Slots { count, parent: parent as u32, name }, row);
            }
        }
        self.slots = table;
        Ok(())
    }
}
