//! Which layer gives a path, and what every other layer did to it.

use super::compare::{Field, In, differences};
use super::error::{InsideError, Result};
use super::hidden::topmost;
use super::names::{find_marked, has_opaque_file};
use super::node::{Node, Place};
use super::tree::{LastLink, Tree, components, join};
use crate::layer::Finding;
use crate::types::FileName;

/// How a layer hides a path in the layers below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// By a whiteout of the path itself.
    Whiteout,
    /// By a whiteout of a directory above it, at this path.
    AboveWhiteout(Vec<u8>),
    /// By a directory that hides all below it, at this path: the path itself or one above it.
    Opaque(Vec<u8>),
    /// By something that is no directory where one above it was, at this path.
    ReplacedAbove(Vec<u8>),
}

/// What one layer has to do with a path.
#[derive(Clone, Debug)]
pub struct LayerBlame {
    /// The layer, 0 the topmost.
    pub layer: usize,
    /// What it has there.
    pub has: Option<Node>,
    /// It is shown, or part of what is shown.
    pub shown: bool,
    /// The layer that hides what this one has: the topmost if several do.
    pub hidden_by: Option<usize>,
    /// In which respects it differs from what the next layer below had there; empty if none had or
    /// nothing differs.
    pub changed: Vec<Field>,
    /// There is a layer further down that has it, and from which this one takes or changes it.
    pub replaces: Option<usize>,
    /// How it hides what is below it there.
    pub deletes: Option<Deletion>,
}

/// What all layers have to do with a path.
#[derive(Clone, Debug)]
pub struct Blame {
    /// The path, symlinks on the way resolved as far as it is shown.
    pub path: Vec<u8>,
    /// The layer whose attributes and data are shown; `None` if nothing is.
    pub gives: Option<usize>,
    /// By layer, the topmost first; those that have nothing to do with it too.
    pub layers: Vec<LayerBlame>,
}

impl LayerBlame {
    /// Whether the layer has nothing to do with the path.
    pub fn is_nothing(&self) -> bool {
        self.has.is_none() && self.deletes.is_none()
    }
}

/// Asks every layer of a path. Nothing needs to be shown there now, but some layer must have it or
/// delete it.
pub fn blame(tree: &Tree<'_>, path: &[u8]) -> Result<Blame> {
    let path = real_path(tree, path)?;
    let parts: Vec<Vec<u8>> = components(&path).collect();
    let mut layers = Vec::with_capacity(tree.depth());
    for layer in 0..tree.depth() {
        layers.push(ask(tree, layer, &parts, &path)?);
    }
    if layers.iter().all(LayerBlame::is_nothing) {
        return Err(InsideError::NotFound(path.into()));
    }
    let gives = judge(&mut layers);
    compare(tree, &path, &mut layers)?;
    Ok(Blame { path, gives, layers })
}

/// The path without symlinks on the way, as far as the merged view shows it.
fn real_path(tree: &Tree<'_>, path: &[u8]) -> Result<Vec<u8>> {
    let mut real = b"/".to_vec();
    let mut left = components(path).peekable();
    while let Some(name) = left.next() {
        let next = join(&real, &name);
        let more = left.peek().is_some();
        match tree.resolve(&next, if more { LastLink::Follow } else { LastLink::Keep }) {
            Ok(found) => real = found.path,
            Err(InsideError::NotFound(_) | InsideError::NotDirectory(_) | InsideError::Whiteout(_)) => {
                // Not shown any more: the rest is taken by the word.
                return Ok(left.fold(next, |path, name| join(&path, &name)));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(real)
}

/// What one layer alone has on the way to the path and at its end.
fn ask(tree: &Tree<'_>, layer: usize, parts: &[Vec<u8>], path: &[u8]) -> Result<LayerBlame> {
    let mut blame = LayerBlame {
        layer,
        has: None,
        shown: false,
        hidden_by: None,
        changed: Vec::new(),
        replaces: None,
        deletes: None,
    };
    let own = tree.layer(layer);
    let root = own.root();
    let found = own.look(&root).map_err(InsideError::layer(path))?;
    let mut at = Place { layer, object: root, found: Box::new(found) };
    let mut here = b"/".to_vec();
    for name in parts {
        if !at.found.attr.kind.is_dir() {
            blame.deletes = blame.deletes.or(Some(Deletion::ReplacedAbove(here)));
            return Ok(blame);
        }
        note_opaque(tree, &at, &here, &mut blame)?;
        let finding = find_marked(own, &at.object, name).map_err(InsideError::layer(path))?;
        here = join(&here, name);
        match finding {
            Finding::Absent => return Ok(blame),
            Finding::Whiteout => {
                let itself = here == path;
                let deletion = if itself { Deletion::Whiteout } else { Deletion::AboveWhiteout(here) };
                blame.deletes = blame.deletes.or(Some(deletion));
                return Ok(blame);
            }
            Finding::Found(found) => {
                let object = own.object(&at.object, &FileName::from(name.as_slice()), &found);
                at = Place { layer, object, found };
            }
        }
    }
    if at.found.attr.kind.is_dir() {
        note_opaque(tree, &at, &here, &mut blame)?;
    }
    blame.has = Node::new([at]);
    Ok(blame)
}

fn note_opaque(tree: &Tree<'_>, at: &Place, path: &[u8], blame: &mut LayerBlame) -> Result<()> {
    if blame.deletes.is_none() {
        let by_file = has_opaque_file(tree.layer(at.layer), &at.object).map_err(InsideError::layer(path))?;
        if at.found.marks.opaque || by_file {
            blame.deletes = Some(Deletion::Opaque(path.to_vec()));
        }
    }
    Ok(())
}

/// Says of each layer whether it is shown, and what hides it; answers the layer that decides.
fn judge(layers: &mut [LayerBlame]) -> Option<usize> {
    let (mut hider, mut dir_at) = (None, None);
    let mut gives: Option<(usize, bool)> = None;
    for blame in layers.iter_mut() {
        if let Some(node) = &blame.has {
            let over = if node.is_dir() { hider } else { topmost(hider, dir_at) };
            blame.hidden_by = over;
            blame.shown = over.is_none();
            // Attributes of a directory that is only implied count if no other has any.
            if blame.shown && gives.is_none_or(|(_, implied)| implied && !node.is_implied()) {
                gives = Some((blame.layer, node.is_implied()));
            }
            match node.is_dir() {
                true => dir_at = dir_at.or(Some(blame.layer)),
                false => hider = hider.or(Some(blame.layer)),
            }
        }
        if blame.deletes.is_some() {
            hider = hider.or(Some(blame.layer));
        }
    }
    gives.map(|(layer, _)| layer)
}

/// Compares what each layer has with what the next below it had.
fn compare(tree: &Tree<'_>, path: &[u8], layers: &mut [LayerBlame]) -> Result<()> {
    let mut below: Option<(usize, Node)> = None;
    for blame in layers.iter_mut().rev() {
        let Some(node) = &blame.has else { continue };
        if let Some((layer, old)) = &below {
            let (old, new) = (In { tree, node: old, path }, In { tree, node, path });
            blame.changed = differences(old, new)?;
            blame.replaces = Some(*layer);
        }
        below = Some((blame.layer, node.clone()));
    }
    Ok(())
}
