//! What the tar must say of each path so that it shows the merged view over the lowers.

use super::indexed::Indexed;
use crate::layer::Object;
use crate::semantics::names::{NAME_MAX, OPAQUE_FILE, WHITEOUT_PREFIX};
use crate::store::inside::{Child, InsideError, Node, Place, Tree};
use crate::store::object_writer::{ObjectWriter, TarReport};
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, InsideError>;

/// A directory that is being written.
struct Level {
    path: Vec<u8>,
    merged: Node,
    /// What the lowers have there, and the tar leaves to them.
    base: Option<Node>,
    names: std::vec::IntoIter<Box<[u8]>>,
}

/// The walk through upper and lowers.
pub(super) struct Plan<'t, 'w> {
    merged: &'t Tree<'t>,
    base: &'t Tree<'t>,
    indexed: Indexed,
    out: ObjectWriter<'t, 'w>,
    levels: Vec<Level>,
}

/// Whether the parts of a merged directory below the upper are those that the lowers have by themselves.
fn same_lowers(merged: &Node, base: &Node) -> bool {
    let lower = merged.places().filter(|place| place.layer > 0);
    let same = |a: &Place, b: &Place| {
        let entry = match (&a.object, &b.object) {
            (Object::Entry(a), Object::Entry(b)) => a == b,
            _ => true,
        };
        a.layer == b.layer + 1 && a.found.real == b.found.real && entry
    };
    lower.clone().count() == base.places().count() && lower.zip(base.places()).all(|(a, b)| same(a, b))
}

impl<'t, 'w> Plan<'t, 'w> {
    pub(super) fn new(
        merged: &'t Tree<'t>,
        base: &'t Tree<'t>,
        indexed: Indexed,
        out: ObjectWriter<'t, 'w>,
    ) -> Self {
        Plan { merged, base, indexed, out, levels: Vec::new() }
    }

    pub(super) fn run(mut self, root: bool) -> Result<TarReport> {
        let merged = self.merged.root()?;
        let base = if self.base.depth() > 0 { Some(self.base.root()?) } else { None };
        if root {
            self.out.write(&merged, b"/", b".")?;
        }
        self.enter(b"/".to_vec(), merged, base)?;
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let path = join(&level.path, &name);
            let merged = self.merged.child(&level.merged, &level.path, &name)?;
            let base = match &level.base {
                Some(dir) => self.base.child(dir, &level.path, &name)?,
                None => None,
            };
            self.object(path, merged, base)?;
        }
        self.out.finish()
    }

    /// Writes what stands at a path.
    fn object(&mut self, path: Vec<u8>, merged: Option<Child>, base: Option<Child>) -> Result<()> {
        let node = match (merged, base.is_some()) {
            (Some(Child::Object(node)), _) => node,
            (_, true) => return self.out.marker(&marker(&path), false),
            (_, false) => return Ok(()),
        };
        match self.indexed.copy(&path) {
            Some((copy, id)) => self.out.write_linked(copy, Some(id), &path, entry_path(&path))?,
            None => self.out.write(&node, &path, entry_path(&path))?,
        }
        if !node.is_dir() {
            return Ok(());
        }
        let base = match base {
            Some(Child::Object(base)) if base.is_dir() => Some(base),
            _ => None,
        };
        self.enter(path, node, base)
    }

    /// Goes into a directory: into all of it, or only into what the upper has in it.
    fn enter(&mut self, path: Vec<u8>, merged: Node, base: Option<Node>) -> Result<()> {
        let own = match &base {
            Some(base) if same_lowers(&merged, base) => self.names_of_upper(&path, &merged, base)?,
            _ => None,
        };
        let level = match own {
            Some(names) => Level { path, merged, base, names: names.into_iter() },
            None => {
                if base.is_some() {
                    let marker = [entry_path(&path), b"/", OPAQUE_FILE].concat();
                    let marker = if path == b"/" { OPAQUE_FILE } else { &marker };
                    self.out.marker(marker, true)?;
                }
                let names = self.merged.list(&merged, &path)?.into_iter().map(|name| name.name);
                Level { path, merged, base: None, names: names.collect::<Vec<_>>().into_iter() }
            }
        };
        self.levels.push(level);
        Ok(())
    }

    /// The names that the upper itself has in a directory, sorted; `None` if one of its whiteouts has a
    /// name too long for a marker, so that the directory must be written whole.
    fn names_of_upper(&self, path: &[u8], merged: &Node, base: &Node) -> Result<Option<Vec<Box<[u8]>>>> {
        let top = merged.top();
        let more = self.indexed.names_in(path);
        if top.layer != 0 {
            return Ok(Some(more.cloned().collect()));
        }
        let mut names = BTreeMap::<Box<[u8]>, bool>::new();
        let listed = self.merged.layer(0).list(&top.object, &mut |entry| {
            // An object beside its own whiteout is an object.
            let only_whiteout = names.entry(entry.name.into()).or_insert(true);
            *only_whiteout &= entry.whiteout;
        });
        listed.map_err(InsideError::layer(path))?;
        for (name, _) in names.iter().filter(|(_, whiteout)| **whiteout) {
            if name.len() + WHITEOUT_PREFIX.len() > NAME_MAX && self.base.child(base, path, name)?.is_some() {
                return Ok(None);
            }
        }
        names.extend(more.map(|name| (name.clone(), false)));
        Ok(Some(names.into_keys().collect()))
    }
}

/// The path of an entry: without the slash of the root.
fn entry_path(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path)
}

/// The path of the marker that hides a path.
fn marker(path: &[u8]) -> Vec<u8> {
    let path = entry_path(path);
    let at = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    [&path[..at], WHITEOUT_PREFIX, &path[at..]].concat()
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match dir {
        b"/" => [dir, name].concat(),
        _ => [dir, b"/", name].concat(),
    }
}
