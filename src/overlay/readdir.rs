//! Listing directories: rule U10.
//!
//! Cookies: 1 follows `.`, 2 follows `..`, and n + 2 follows the listing's first n rows.

use super::Overlay;
use super::error::{Error, Result};
use super::lookup::Entry;
use super::node::Node;
use crate::types::{FileKind, FileName, Ino};
use std::sync::Arc;

/// The caller's buffer is full; the entry was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// One entry of a listing.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its shown number.
    pub ino: Ino,
    /// Its kind.
    pub kind: FileKind,
    /// Where the listing goes on after it.
    pub next: u64,
}

const AFTER_DOT: u64 = 1;
const AFTER_DOTS: u64 = 2;

impl Overlay {
    /// Gives the entries from a cookie on to `each`, until it is full.
    pub fn read_dir(
        &self,
        ino: Ino,
        cookie: u64,
        mut each: impl FnMut(DirEntry<'_>) -> std::result::Result<(), Full>,
    ) -> Result<()> {
        let dir = self.directory(ino)?;
        if self.dots(&dir, cookie, &mut each) == Err(Full) {
            return Ok(());
        }
        self.list_from(&dir, cookie)?;
        let state = dir.state.read();
        let listing = state.dir().and_then(|body| body.listing.as_ref()).ok_or(Error::NotDirectory)?;
        for (row, name) in listing.rows_from(first_row(cookie)) {
            let entry =
                DirEntry { name: name.name, ino: name.ino, kind: name.kind, next: row as u64 + AFTER_DOTS };
            if each(entry) == Err(Full) {
                break;
            }
        }
        Ok(())
    }

    /// The same with a lookup of each entry but `.` and `..`. `each` hands the entry's reference on
    /// to the kernel, or drops it.
    pub fn read_dir_plus<'s>(
        &'s self,
        ino: Ino,
        cookie: u64,
        mut each: impl FnMut(DirEntry<'_>, Option<Entry<'s>>) -> std::result::Result<(), Full>,
    ) -> Result<()> {
        let dir = self.directory(ino)?;
        if self.dots(&dir, cookie, &mut |entry| each(entry, None)) == Err(Full) {
            return Ok(());
        }
        let fd = self.upper_dir_if_any(&dir)?;
        self.list_from(&dir, cookie)?;
        let state = dir.state.read();
        let body = state.dir().ok_or(Error::NotDirectory)?;
        let listing = body.listing.as_ref().ok_or(Error::NotDirectory)?;
        for (row, name) in listing.rows_from(first_row(cookie)) {
            // What vanished from a layer meanwhile is not listed.
            let Some(found) = self.lookup_locked(&dir, &state, fd.as_ref(), &FileName::from(name.name))?
            else {
                continue;
            };
            let entry = DirEntry {
                name: name.name,
                ino: found.ino,
                kind: found.attr.kind,
                next: row as u64 + AFTER_DOTS,
            };
            if each(entry, Some(found)) == Err(Full) {
                break;
            }
        }
        Ok(())
    }

    /// Reads the listing anew only where a reader begins: cookies count its rows.
    fn list_from(&self, dir: &Arc<Node>, cookie: u64) -> Result<()> {
        let begun = cookie > AFTER_DOTS && dir.state.read().dir().is_some_and(|body| body.listing.is_some());
        if begun { Ok(()) } else { self.load_listing(dir) }
    }

    fn dots(
        &self,
        dir: &Arc<Node>,
        cookie: u64,
        each: &mut impl FnMut(DirEntry<'_>) -> std::result::Result<(), Full>,
    ) -> std::result::Result<(), Full> {
        let parent = dir.state.read().links.first().map_or(dir.ino, |link| link.parent.ino);
        let kind = FileKind::Directory;
        if cookie < AFTER_DOT {
            each(DirEntry { name: b".", ino: dir.ino, kind, next: AFTER_DOT })?;
        }
        if cookie < AFTER_DOTS {
            each(DirEntry { name: b"..", ino: parent, kind, next: AFTER_DOTS })?;
        }
        Ok(())
    }
}

fn first_row(cookie: u64) -> usize {
    usize::try_from(cookie.saturating_sub(AFTER_DOTS)).unwrap_or(usize::MAX)
}
