//! What later layers hid: one pass over all that every layer has.
//!
//! Each directory is taken with its parts in all layers, hidden ones too, so that each entry of each layer
//! is met once, together with the layer that hides it. Redirects are not followed: layers of images
//! have none.

use super::error::{InsideError, Result};
use super::names::has_opaque_file;
use super::tree::{Tree, join};
use crate::layer::{Finding, Found, Object};
use crate::types::{Attr, FileName};
use std::collections::BTreeMap;

/// An entry of one layer, as the pass meets it.
#[derive(Debug)]
pub(super) struct Met<'m> {
    pub(super) path: &'m [u8],
    /// The layer that has it, 0 the topmost.
    pub(super) layer: usize,
    pub(super) what: MetWhat<'m>,
    /// The topmost layer that hides it.
    pub(super) hidden_by: Option<usize>,
    /// Something is shown at its path.
    pub(super) path_shown: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum MetWhat<'m> {
    Object(&'m Found),
    Whiteout,
}

/// A directory in one layer.
struct Part {
    layer: usize,
    object: Object,
    hidden_by: Option<usize>,
}

/// What one layer has at a name.
struct Here {
    part: usize,
    found: Option<Box<Found>>,
    whiteout: bool,
}

/// Calls `each` for every entry of every layer but the roots, a layer's entries of one name from the
/// top down.
pub(super) fn every_entry(tree: &Tree<'_>, each: &mut dyn FnMut(&Met<'_>) -> Result<()>) -> Result<()> {
    let mut roots = Vec::new();
    for layer in 0..tree.depth() {
        roots.push(Part { layer, object: tree.layer(layer).root(), hidden_by: None });
    }
    let root_opaque = |part: &Part| {
        let found = tree.layer(part.layer).look(&part.object).map_err(InsideError::layer(b"/"))?;
        opaque(tree, part, &found, b"/")
    };
    let mut hider = None;
    for part in &mut roots {
        part.hidden_by = hider;
        if hider.is_none() && root_opaque(part)? {
            hider = Some(part.layer);
        }
    }
    let mut left = vec![(b"/".to_vec(), roots)];
    while let Some((path, parts)) = left.pop() {
        for (name, here) in names_in(tree, &path, &parts)? {
            let path = join(&path, &name);
            let dirs = one_name(tree, &path, &name, &parts, here, each)?;
            if !dirs.is_empty() {
                left.push((path, dirs));
            }
        }
    }
    Ok(())
}

fn opaque(tree: &Tree<'_>, part: &Part, found: &Found, path: &[u8]) -> Result<bool> {
    let by_file = || has_opaque_file(tree.layer(part.layer), &part.object).map_err(InsideError::layer(path));
    Ok(found.marks.opaque || by_file()?)
}

/// All names of all parts, with what each part has, from the top down.
fn names_in(tree: &Tree<'_>, path: &[u8], parts: &[Part]) -> Result<BTreeMap<Box<[u8]>, Vec<Here>>> {
    let mut names = BTreeMap::<Box<[u8]>, Vec<Here>>::new();
    for (at, part) in parts.iter().enumerate() {
        let layer = tree.layer(part.layer);
        let mut listed: BTreeMap<Box<[u8]>, (bool, bool)> = BTreeMap::new();
        let list = layer.list(&part.object, &mut |entry| {
            let (object, whiteout) = listed.entry(entry.name.into()).or_default();
            *(if entry.whiteout { whiteout } else { object }) = true;
        });
        list.map_err(InsideError::layer(path))?;
        for (name, (object, whiteout)) in listed {
            let finding = match object {
                true => layer.find(&part.object, &name).map_err(InsideError::layer(path))?,
                false => Finding::Absent,
            };
            let found = if let Finding::Found(found) = finding { Some(found) } else { None };
            names.entry(name).or_default().push(Here { part: at, found, whiteout });
        }
    }
    Ok(names)
}

/// Tells what each layer has at a name; answers the parts of the directory there.
fn one_name(
    tree: &Tree<'_>,
    path: &[u8],
    name: &[u8],
    parts: &[Part],
    here: Vec<Here>,
    each: &mut dyn FnMut(&Met<'_>) -> Result<()>,
) -> Result<Vec<Part>> {
    let mut dirs = Vec::new();
    // The layer that hides all of this name below it, and the topmost that has a directory here.
    let (mut hider, mut dir_at) = (None, None);
    // Of a name what is shown is met first.
    let mut path_shown = false;
    let shared = FileName::from(name);
    for Here { part, found, whiteout } in here {
        let Part { layer, object, hidden_by } = &parts[part];
        let over = topmost(*hidden_by, hider);
        if let Some(found) = found {
            let is_dir = found.attr.kind.is_dir();
            // A directory hides what is no directory below it.
            let hidden_by = if is_dir { over } else { topmost(over, dir_at) };
            path_shown |= hidden_by.is_none();
            let what = MetWhat::Object(&found);
            each(&Met { path, layer: *layer, what, hidden_by, path_shown })?;
            if is_dir {
                let object = tree.layer(*layer).object(object, &shared, &found);
                let dir = Part { layer: *layer, object, hidden_by };
                if opaque(tree, &dir, &found, path)? {
                    hider = hider.or(Some(*layer));
                }
                dir_at = dir_at.or(Some(*layer));
                dirs.push(dir);
            } else {
                hider = hider.or(Some(*layer));
            }
        }
        if whiteout {
            let (what, hidden_by) = (MetWhat::Whiteout, over);
            each(&Met { path, layer: *layer, what, hidden_by, path_shown })?;
            hider = hider.or(Some(*layer));
        }
    }
    Ok(dirs)
}

/// The upper one of two layers, if there are any.
pub(super) fn topmost(one: Option<usize>, other: Option<usize>) -> Option<usize> {
    one.into_iter().chain(other).min()
}

/// An entry that a later layer hides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Its path.
    pub path: Vec<u8>,
    /// The layer that has it, 0 the topmost.
    pub layer: usize,
    /// Its attributes there.
    pub attr: Attr,
    /// The layer that hides it: the topmost if several do.
    pub hidden_by: usize,
    /// The path is still shown: it was overwritten, not deleted.
    pub overwritten: bool,
}

/// All that later layers hid, sorted by path, then from the top down. Directories that only go on in a
/// later layer are not hidden.
pub fn hidden(tree: &Tree<'_>) -> Result<Vec<Hidden>> {
    let mut all = Vec::new();
    every_entry(tree, &mut |met| {
        if let (MetWhat::Object(found), Some(hidden_by)) = (met.what, met.hidden_by) {
            all.push(Hidden {
                path: met.path.to_vec(),
                layer: met.layer,
                attr: found.attr,
                hidden_by,
                overwritten: met.path_shown,
            });
        }
        Ok(())
    })?;
    all.sort_by(|a, b| (&a.path, a.layer).cmp(&(&b.path, b.layer)));
    Ok(all)
}
