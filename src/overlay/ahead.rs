//! Reading ahead of who goes through a directory (rule F9).
//!
//! grep -r, tar and others read the files of a directory one after the other, in the order of its listing. The
//! kernel reads ahead within a file, not from one small file to the next: each costs its reader a wait for the
//! disk, and here the wake of a thread that waits for it besides.
//!
//! 1. *It must follow from what was read.* Two files in the order of the listing are a walk, and one that is out
//!    of order ends it.
//! 2. *No reply waits for it.* It is done when the reply is on its way, and only begins to read. The thread that
//!    does it answers nothing meanwhile, and over io_uring the kernel may give it the next request all the same:
//!    so it is little at a time.
//! 3. *It costs little more than what comes anyway*: a descriptor that is opened ahead is in the pool when its
//!    file is read.
//! 4. *Nothing depends on it*: what is wrong with a file its own reader is told.

use super::Overlay;
use super::table::NodeRef;
use crate::types::{FileKind, Ino};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// A walk may pass by so many names: directories, links, files that are not wanted.
const STEP: u32 = 8;
/// So many names ahead are read,
const WINDOW: u32 = 16;
/// and so many more at a time: a walk may be short, too.
const STRIDE: u32 = 4;
/// So much of each: what the kernel reads ahead within a file by default.
const LEN: u64 = 128 << 10;

/// Files that are likely to be read next. They are held as a reader holds them, so that no descriptor of a node
/// that is gone comes into the pool.
#[derive(Debug, Default)]
pub struct Ahead<'a>(SmallVec<[NodeRef<'a>; STRIDE as usize]>);

impl Ahead<'_> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How far the files of a directory were read, and read ahead: the number of the row that was read last, and
/// that of the first one that was not read ahead, from 1 on; 0 for none.
#[derive(Debug, Default)]
pub(super) struct Walk(AtomicU64);

impl Walk {
    /// Told that the file of a row is read; answers the rows to be read ahead now.
    fn step(&self, row: u32) -> Range<u32> {
        let before = self.0.load(Ordering::Relaxed);
        let (last, ahead) = ((before >> 32) as u32, before as u32);
        let number = row.saturating_add(1);
        if number == last {
            return 0..0;
        }
        let begin = ahead.max(number.saturating_add(1));
        let follows = last > 0 && number > last && number - last <= STEP;
        let end = match follows {
            true => begin.saturating_add(STRIDE).min(number.saturating_add(1 + WINDOW)),
            false => 0,
        };
        let after = u64::from(number) << 32 | u64::from(end);
        // Of two readers at the same place one is enough.
        match self.0.compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) if begin < end => begin - 1..end - 1,
            _ => 0..0,
        }
    }
}

impl Overlay {
    /// Told that a file is read from its beginning; answers which are to be read ahead now.
    pub fn next_in_walk(&self, ino: Ino) -> Ahead<'_> {
        self.walk_on(ino).unwrap_or_default()
    }

    fn walk_on(&self, ino: Ino) -> Option<Ahead<'_>> {
        // Where lowers may change, what is open is closed only when it is looked up anew.
        if self.trust.is_some() {
            return None;
        }
        let node = self.nodes.get(ino)?;
        // The reader waits for its reply, and not for who lists or changes the directory.
        let link = node.state.try_read()?.links.first().cloned()?;
        let state = link.parent.state.try_read()?;
        let listing = state.dir()?.listing.as_ref()?;
        let rows = listing.walk.step(listing.row_of(&link.name)?);
        let files = listing.rows_within(rows).filter(|name| name.kind == FileKind::Regular);
        // What the kernel has not looked up, or not since the lowers changed, is not about to be read.
        let generation = self.generation.load(Ordering::Acquire);
        let known = |ino: Ino| {
            self.nodes.get(ino).is_some_and(|node| node.generation.load(Ordering::Acquire) == generation)
        };
        Some(Ahead(
            files.filter(|name| known(name.ino)).filter_map(|name| self.nodes.find(name.ino)).collect(),
        ))
    }

    /// Begins to read them.
    pub fn read_ahead(&self, ahead: &Ahead<'_>) {
        for node in ahead.0.iter().map(NodeRef::node) {
            if let Err(e) = self.readable_data(node).and_then(|data| Ok(data.read_ahead(LEN)?)) {
                log::debug!("inode {} is not read ahead: {e}", node.ino.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(rows: &[u32]) -> Vec<Range<u32>> {
        let walk = Walk::default();
        rows.iter().map(|row| walk.step(*row)).collect()
    }

    #[test]
    fn f9_the_second_file_in_order_begins_a_walk() {
        assert_eq!(steps(&[0, 1, 2, 3]), [0..0, 2..6, 6..10, 10..14]);
        assert_eq!(steps(&[0, 1, 2, 3, 4, 5, 6, 7, 8])[4..], [14..18, 18..22, 22..23, 23..24, 24..25]);
        assert_eq!(steps(&[5, 5, 9, 9]), [0..0, 0..0, 10..14, 0..0]);
        assert_eq!(steps(&[0, 1, 9]), [0..0, 2..6, 10..14], "what was passed by is not read");
    }

    #[test]
    fn f9_what_is_out_of_order_ends_a_walk() {
        let nothing = |rows: &[u32]| steps(rows).iter().all(|rows| rows.is_empty());
        assert!(nothing(&[9, 8, 7, 6, 5]));
        assert!(nothing(&[0, STEP + 1, 2 * STEP + 2]), "too far apart");
        assert!(nothing(&[u32::MAX - 1, 3, u32::MAX - 1]));
        assert_eq!(steps(&[0, 1, 0, 1]), [0..0, 2..6, 0..0, 2..6]);
    }
}
