//! The index: what keeps the names of a copied-up hard link one file (rules C7, I4, O3).
//!
//! A lower file with several names is copied up to an index entry, named by its file handle, and
//! the entry is linked to the names in the upper as they are needed. A lower name whose file has an
//! entry leads to the entry. How many names are shown is kept as a difference to the real number.

use super::Overlay;
use super::copy_up::Copied;
use super::error::{Error, Result};
use super::lookup::Resolution;
use super::node::{DirBody, IndexEntry, Node, NodeState, Place, UpperPart};
use crate::layer::{Finding, Found, NlinkMark};
use crate::semantics::names::Mark;
use crate::sys::{AsFd, BorrowedFd, Errno, Ref, link, unlink};
use crate::types::{FileKind, FileName};
use std::sync::Arc;

/// The number of names shown for a leaf whose topmost object has `real` names.
pub(super) fn shown_nlink(state: &NodeState, real: u32) -> u32 {
    let entry = state.upper.as_ref().and_then(|upper| upper.index.as_ref());
    let shown = match (entry, &state.upper) {
        (Some(entry), _) => i64::from(real) + entry.nlink_delta,
        (None, Some(_)) => i64::from(real),
        (None, None) => i64::from(real) - i64::from(state.leaf().map_or(0, |leaf| leaf.rare().hidden_names)),
    };
    u32::try_from(shown).unwrap_or(0)
}

impl Overlay {
    /// Finds the index entry of what a lookup found in a directory.
    pub(super) fn apply_index(&self, found: &mut Resolution, body: &DirBody, name: &FileName) -> Result<()> {
        let Some(kind) = found.top().map(|top| top.attr.kind) else {
            return Ok(());
        };
        let Some(index) = self.stack.upper.as_ref().and_then(|upper| upper.index_for(kind)) else {
            return Ok(());
        };
        if let Some(upper) = &found.upper {
            if upper.marks.nlink.is_some() && !upper.attr.kind.is_dir() {
                found.index = upper.marks.origin.as_ref().map(|origin| origin.index_name());
                if matches!(upper.marks.nlink, Some(NlinkMark::Lower(_))) {
                    // Left by a crash: the lower file says from what is counted.
                    found.lowers.extend(self.lower_of_that_name(body, name)?);
                }
            }
            return Ok(());
        }
        let Some((place, lower)) = found.lowers.first() else {
            return Ok(());
        };
        if lower.attr.kind.is_dir() || lower.attr.nlink < 2 {
            return Ok(());
        }
        let Some(origin) = self.stack.of(place).origin(&place.object)? else {
            return Ok(());
        };
        let name = origin.index_name();
        if let Finding::Found(entry) = self.upper()?.find(Ref::At(index, &name), false)? {
            found.upper = Some(entry);
            found.index = Some(name);
        }
        Ok(())
    }

    /// What the lowers of a directory have at a name, whatever the upper has.
    fn lower_of_that_name(&self, body: &DirBody, name: &FileName) -> Result<Option<(Place, Box<Found>)>> {
        for place in &body.lowers {
            let lower = self.stack.of(place);
            match lower.find(&place.object, name)? {
                Finding::Absent => {}
                Finding::Whiteout => break,
                Finding::Found(found) => {
                    let object = lower.object(&place.object, name, &found);
                    return Ok(Some((Place { layer: place.layer, object }, found)));
                }
            }
        }
        Ok(None)
    }

    /// The difference between shown and real number of names, from the entry's mark.
    pub(super) fn index_delta(&self, upper: &Found, found: &Resolution) -> i64 {
        match (upper.marks.nlink, found.lowers.first()) {
            (Some(NlinkMark::Upper(delta)), _) => delta,
            (Some(NlinkMark::Lower(delta)), Some((_, lower))) => {
                i64::from(lower.attr.nlink) + delta - i64::from(upper.attr.nlink)
            }
            // The entry itself is not a shown name.
            _ => -1,
        }
    }

    /// Whether a lower object must be copied up by way of the index; its entry's name if so.
    pub(super) fn index_name(&self, place: &Place, lower: &Found) -> Result<Option<Vec<u8>>> {
        let kind = lower.attr.kind;
        let kept = self.stack.upper.as_ref().is_some_and(|upper| upper.index_for(kind).is_some());
        if !kept || lower.attr.nlink < 2 || kind == FileKind::Directory {
            return Ok(None);
        }
        Ok(self.stack.of(place).origin(&place.object)?.map(|origin| origin.index_name()))
    }

    /// Publishes a staged copy as an index entry: from this step on all names lead to it.
    pub(super) fn publish_index(
        &self,
        node: &Arc<Node>,
        copied: Copied<'_>,
        name: Vec<u8>,
        lower_nlink: u32,
    ) -> Result<()> {
        let upper = self.upper()?;
        let index = upper.index().ok_or(Error::Unsupported)?;
        let mut state = node.state.write();
        let hidden = state.leaf().map_or(0, |leaf| leaf.rare().hidden_names);
        let nlink_delta = i64::from(lower_nlink) - i64::from(hidden) - 1;
        upper.mark(copied.staged.object(), Mark::Nlink, &NlinkMark::Upper(nlink_delta).to_bytes())?;
        copied.staged.publish(index, &name)?;
        let entry = IndexEntry { name, nlink_delta, settled: true };
        state.upper =
            Some(UpperPart { real: copied.real, metacopy: copied.metacopy, index: Some(Box::new(entry)) });
        Ok(())
    }

    /// Makes sure that the upper has the object at this name of it, if it still is one: links the index
    /// entry there. The node must be in the upper, and its directory too.
    pub(super) fn ensure_upper_name(&self, dir: &Arc<Node>, name: &[u8], node: &Arc<Node>) -> Result<()> {
        let upper = self.upper()?;
        let Some(index) = upper.index().filter(|_| !node.kind.is_dir()) else {
            return Ok(());
        };
        let fd = self.upper_dir(dir)?;
        let mut dir_state = dir.state.write();
        let mut state = node.state.write();
        // Moved or removed meanwhile, which a late write is no obstacle to: linked again it would be back.
        if !state.links.iter().any(|link| link.is(dir, name)) {
            return Ok(());
        }
        let has = self.name_info(dir_state.dir().ok_or(Error::NotDirectory)?, Some(&fd), name)?.in_upper();
        let Some(UpperPart { index: Some(entry), .. }) = &mut state.upper else {
            return Ok(());
        };
        if has {
            return self.settle_count(&mut state);
        }
        let object = Ref::At(index, &entry.name);
        let (_, attr) = crate::sys::stat(object)?;
        let shown = i64::from(attr.nlink) + entry.nlink_delta;
        // In the form that a crash before the link leaves true: counted from the lower.
        if let Some(lower_nlink) = self.lower_nlink(&state)? {
            upper.mark(
                Ref::At(index, &index_entry(&state)?.name),
                Mark::Nlink,
                &NlinkMark::Lower(shown - lower_nlink).to_bytes(),
            )?;
        }
        // The count is about to change, whether a mark could say so before (above) or not.
        if let Some(UpperPart { index: Some(entry), .. }) = &mut state.upper {
            entry.settled = false;
        }
        let entry_name = index_entry(&state)?.name.clone();
        let keep_times = self.dir_times(fd.as_fd())?;
        self.mark_impure(fd.as_fd(), &mut dir_state)?;
        link(index, &entry_name, fd.as_fd(), name)?;
        // From here on it is there, whatever fails after.
        if let Some(UpperPart { index: Some(entry), .. }) = &mut state.upper {
            entry.nlink_delta = shown - i64::from(attr.nlink) - 1;
        }
        if let Some(listing) = dir_state.dir_mut().and_then(|d| d.listing.as_mut()) {
            listing.set_copied_up(name);
        }
        self.restore_times(fd.as_fd(), keep_times)?;
        self.settle_count(&mut state)
    }

    /// Makes the mark on disk count from the upper, as it must before names come or go.
    pub(super) fn settle_count(&self, state: &mut NodeState) -> Result<()> {
        let upper = self.upper()?;
        let (Some(index), Some(UpperPart { index: Some(entry), .. })) = (upper.index(), &mut state.upper)
        else {
            return Ok(());
        };
        if !entry.settled {
            let mark = NlinkMark::Upper(entry.nlink_delta).to_bytes();
            upper.mark(Ref::At(index, &entry.name), Mark::Nlink, &mark)?;
            entry.settled = true;
        }
        Ok(())
    }

    fn lower_nlink(&self, state: &NodeState) -> Result<Option<i64>> {
        match state.leaf().and_then(|leaf| leaf.lower.as_ref()) {
            Some((place, _)) => Ok(Some(i64::from(self.stack.of(place).attr(&place.object)?.nlink))),
            None => Ok(None),
        }
    }

    /// A name of an indexed file was removed: when it was the last, the entry goes, and an anchor
    /// keeps the object for those who have it open.
    pub(super) fn drop_index_if_unused(&self, state: &mut NodeState) -> Result<()> {
        let Some(index) = self.stack.upper.as_ref().and_then(|upper| upper.index()) else {
            return Ok(());
        };
        let Ok(entry) = index_entry(state) else {
            return Ok(());
        };
        let object = Ref::At(index, &entry.name);
        let (_, attr) = crate::sys::stat(object)?;
        if i64::from(attr.nlink) + entry.nlink_delta > 0 {
            return Ok(());
        }
        let anchor = crate::sys::open_dir_path(index, &entry.name, false)?;
        remove_entry(index, &entry.name)?;
        state.anchor = Some(Arc::new(anchor));
        if let Some(upper) = &mut state.upper {
            upper.index = None;
        }
        Ok(())
    }
}

fn index_entry(state: &NodeState) -> Result<&IndexEntry> {
    state.upper.as_ref().and_then(|upper| upper.index.as_deref()).ok_or(Error::NotFound)
}

fn remove_entry(index: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    match unlink(index, name) {
        Err(e) if e.errno != Errno::NOENT => Err(e.into()),
        _ => Ok(()),
    }
}
