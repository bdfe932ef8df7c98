//! Attributes that the kernel takes for stale because it read: whose they are, and giving them anew (rule M20).
//!
//! 1. *Each object waits once*, however often it is read: its node says so.
//! 2. *They are given by directory*, as entries of a listing that has no others. Deepest first, since that
//!    listing makes the directory's own attributes stale, and those may be waiting too. For what is alone in
//!    its directory that would be no gain.
//! 3. *Nothing depends on it*: what was taken and is not given the kernel asks for, and from then on it may
//!    wait again.

use super::Overlay;
use super::lookup::Entry;
use super::node::Node;
use super::readdir::Full;
use crate::types::Ino;
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// No more than these wait.
const MOST: usize = 4096;
/// To find the place of a listing that it does not have, the kernel goes through all that it has: so many
/// names cost less than a request for each object.
const NAMES_FOR_EACH: usize = 1024;

/// The objects that wait, in the order of the reads.
#[derive(Debug, Default)]
pub(super) struct Waiting(pub(super) Mutex<Vec<Ino>>);

/// Objects whose attributes the kernel takes for stale.
#[derive(Debug, Default)]
pub struct Outdated {
    /// Those that are worth a listing of their directory, by directory, deepest first.
    pub listed: Vec<OutdatedIn>,
    /// The paths of those that are alone in theirs, from the root of the mount.
    pub alone: Vec<PathBuf>,
}

/// Objects of one directory whose attributes the kernel takes for stale.
#[derive(Debug)]
pub struct OutdatedIn {
    /// The directory.
    pub directory: Ino,
    /// Where it is, seen from the root of the mount.
    pub path: PathBuf,
    /// The objects.
    pub objects: Vec<Ino>,
}

impl Overlay {
    /// Told that the kernel will take an object's attributes for stale.
    pub fn note_outdated(&self, ino: Ino) {
        // The root is in no directory.
        if ino == Ino::ROOT {
            return;
        }
        let Some(node) = self.nodes.get(ino) else { return };
        if node.outdated.load(Ordering::Relaxed) {
            return;
        }
        let mut waiting = self.waiting.0.lock();
        if waiting.len() < MOST && !node.outdated.swap(true, Ordering::Relaxed) {
            waiting.push(ino);
        }
    }

    /// Takes the objects that wait, if there are `enough`; those in the directory `but` do not count, and go on
    /// waiting.
    pub fn take_outdated(&self, enough: usize, but: Option<Ino>) -> Option<Outdated> {
        let mut waiting = self.waiting.0.lock();
        if waiting.len() < enough {
            return None;
        }
        // What was forgotten, given meanwhile or has no name waits no more.
        let named: Vec<_> = waiting.iter().filter_map(|ino| self.outdated_named(*ino)).collect();
        let (kept, taken): (Vec<_>, Vec<_>) =
            named.into_iter().partition(|(_, parent)| Some(parent.ino) == but);
        *waiting = kept.iter().map(|(node, _)| node.ino).collect();
        if taken.len() < enough {
            waiting.extend(taken.iter().map(|(node, _)| node.ino));
            return None;
        }
        drop(waiting);
        Some(by_directory(taken))
    }

    /// The node of an object that waits, and that of its directory.
    fn outdated_named(&self, ino: Ino) -> Option<(Arc<Node>, Arc<Node>)> {
        let node = self.nodes.get(ino).filter(|node| node.outdated.load(Ordering::Relaxed))?;
        let parent = node.state.read().links.first()?.parent.clone();
        Some((node, parent))
    }

    /// Gives the objects from one on to `each`, with their names, until it is full; answers up to which they
    /// are done. `each` hands an entry's reference on to the kernel, or drops it.
    pub fn list_outdated<'s>(
        &'s self,
        of: &OutdatedIn,
        from: usize,
        mut each: impl FnMut(&[u8], usize, Entry<'s>) -> std::result::Result<(), Full>,
    ) -> usize {
        for (at, ino) in of.objects.iter().enumerate().skip(from) {
            let Some(found) = self.nodes.find(*ino) else { continue };
            let node = found.node().clone();
            node.outdated.store(false, Ordering::Relaxed);
            let name = {
                let state = node.state.read();
                let link = state.links.iter().find(|link| link.parent.ino == of.directory);
                link.map(|link| link.name.clone())
            };
            // It moved, or was removed; what else is wrong with it is answered when it is asked for.
            let (Some(name), Ok(attr)) = (name, self.attr_of(&node)) else { continue };
            if each(&name, at + 1, Entry { ino: *ino, attr, node: found }) == Err(Full) {
                node.outdated.store(true, Ordering::Relaxed);
                return at;
            }
        }
        of.objects.len()
    }
}

/// Parts objects, each with its directory, into those to be listed and those alone.
fn by_directory(objects: Vec<(Arc<Node>, Arc<Node>)>) -> Outdated {
    let mut groups: BTreeMap<Ino, (Arc<Node>, Vec<Arc<Node>>)> = BTreeMap::new();
    for (node, parent) in objects {
        groups.entry(parent.ino).or_insert_with(|| (parent, Vec::new())).1.push(node);
    }
    let (mut listed, mut alone) = (Vec::new(), Vec::new());
    for (directory, (parent, nodes)) in groups {
        if let [node] = &nodes[..] {
            alone.push(path_of(node).1);
        } else if is_worth_listing(&parent, nodes.len()) {
            let (depth, path) = path_of(&parent);
            let objects = nodes.iter().map(|node| node.ino).collect();
            listed.push((Reverse(depth), OutdatedIn { directory, path, objects }));
        }
    }
    listed.sort_by_key(|(depth, _)| *depth);
    Outdated { listed: listed.into_iter().map(|(_, of)| of).collect(), alone }
}

fn is_worth_listing(directory: &Node, objects: usize) -> bool {
    let state = directory.state.read();
    let names = state.dir().and_then(|body| body.listing.as_ref()).map_or(0, |listing| listing.len());
    names <= objects * NAMES_FOR_EACH
}

/// How deep an object is, and its path from the root.
fn path_of(object: &Arc<Node>) -> (usize, PathBuf) {
    let mut names = Vec::new();
    let mut at = object.clone();
    loop {
        let above = at.state.read().links.first().cloned();
        let Some(link) = above else { break };
        names.push(link.name);
        at = link.parent;
    }
    let path = names.iter().rev().map(|name| OsStr::from_bytes(name));
    (names.len(), std::iter::once(OsStr::new(".")).chain(path).collect())
}
