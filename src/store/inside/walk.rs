//! Walking through a tree, each directory before what is in it, in the order of the names.
//!
//! Without recursion: a layer may nest directories deeper than a stack is.

use super::error::{InsideError, Result};
use super::node::{Child, Node};
use super::tree::{Located, Name, Tree, join};

/// Where a walk is.
#[derive(Debug)]
pub struct Visit<'w> {
    /// The path from the tree's root.
    pub path: &'w [u8],
    /// The last component of the path; empty for the root of the tree.
    pub name: &'w [u8],
    /// How far below the start.
    pub depth: usize,
    /// What stands there.
    pub child: &'w Child,
    /// A directory after all that is in it; each directory is visited before as well.
    pub leaving: bool,
}

/// Where a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Into the directory, if it is one.
    Enter,
    /// Past what is in the directory. It is not visited again on leaving.
    Pass,
}

struct Frame {
    dir: Child,
    path: Vec<u8>,
    names: std::vec::IntoIter<Name>,
}

/// Visits the start and all below it.
pub fn walk<E: From<InsideError>>(
    tree: &Tree<'_>,
    start: &Located,
    visit: &mut dyn FnMut(&Visit<'_>) -> std::result::Result<Flow, E>,
) -> std::result::Result<(), E> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut next = Some((start.path.clone(), Child::Object(start.node.clone())));
    loop {
        if let Some((path, child)) = next.take() {
            let (depth, name) = (frames.len(), name_of(&path));
            let place = Visit { path: &path, name, depth, child: &child, leaving: false };
            if visit(&place)? == Flow::Enter
                && let Some(dir) = child.node().filter(|node| node.is_dir())
            {
                let names = tree.list(dir, &path)?.into_iter();
                frames.push(Frame { dir: child, path, names });
            }
        }
        let Some(frame) = frames.last_mut() else { return Ok(()) };
        next = step(tree, frame)?;
        if next.is_none() {
            let depth = frames.len() - 1;
            if let Some(Frame { dir, path, .. }) = frames.pop() {
                let name = name_of(&path);
                visit(&Visit { path: &path, name, depth, child: &dir, leaving: true })?;
            }
        }
    }
}

/// The next name of a directory and what stands there.
fn step(tree: &Tree<'_>, frame: &mut Frame) -> Result<Option<(Vec<u8>, Child)>> {
    let Frame { dir, path, names, .. } = frame;
    let Some(dir) = dir.node() else { return Ok(None) };
    for Name { name, .. } in names {
        if let Some(child) = tree.child(dir, path, &name)? {
            return Ok(Some((join(path, &name), child)));
        }
    }
    Ok(None)
}

/// The last component of a path.
pub(crate) fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or_default()
}

/// The objects of a directory that are no whiteouts, with their names.
pub(super) fn children(tree: &Tree<'_>, dir: &Node, path: &[u8]) -> Result<Vec<(Box<[u8]>, Child)>> {
    let mut all = Vec::new();
    for Name { name, .. } in tree.list(dir, path)? {
        if let Some(child) = tree.child(dir, path, &name)? {
            all.push((name, child));
        }
    }
    Ok(all)
}
