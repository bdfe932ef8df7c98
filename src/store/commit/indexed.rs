//! Files of lowers with several names of which the upper has a copy under one of them.
//!
//! The mount shows the copy under all names: it finds it by the handle of the lower file in the index
//! (rules C7 and O3). Whoever has no index must be told of each name.

use crate::layer::Finding;
use crate::store::inside::compare::{In, differences};
use crate::store::inside::{Child, Flow, InsideError, LastLink, LinkId, Node, Place, Tree, Visit, walk};
use crate::types::FileName;
use std::collections::{BTreeMap, BTreeSet, HashMap};

type Result<T> = std::result::Result<T, InsideError>;

/// The names of lower files that show a copy.
#[derive(Default)]
pub(super) struct Indexed {
    copies: BTreeMap<Vec<u8>, (Node, LinkId)>,
    /// By directory, the names on the way to those files.
    names: BTreeMap<Vec<u8>, BTreeSet<Box<[u8]>>>,
}

impl Indexed {
    /// Looks for them in a merged tree beside which the index lies as a layer.
    pub(super) fn find(merged: &Tree<'_>, index: usize) -> Result<Indexed> {
        let mut found = Indexed::default();
        let copies = copies(merged, index)?;
        if copies.is_empty() {
            return Ok(found);
        }
        let start = merged.resolve(b"/", LastLink::Keep)?;
        walk(merged, &start, &mut |visit: &Visit<'_>| -> Result<Flow> {
            if let (Child::Object(node), false) = (visit.child, visit.leaving)
                && let Some((copy, id)) = copy_of(merged, node, visit.path, &copies)?
            {
                found.add(visit.path, copy, id);
            }
            Ok(Flow::Enter)
        })?;
        Ok(found)
    }

    fn add(&mut self, path: &[u8], copy: Node, id: LinkId) {
        self.copies.insert(path.to_vec(), (copy, id));
        let mut rest = path;
        while let Some(at) = rest.iter().rposition(|b| *b == b'/').filter(|_| rest.len() > 1) {
            let dir = if at == 0 { &b"/"[..] } else { &rest[..at] };
            self.names.entry(dir.to_vec()).or_default().insert(rest[at + 1..].into());
            rest = dir;
        }
    }

    /// The copy that a path shows, and what its names share.
    pub(super) fn copy(&self, path: &[u8]) -> Option<(&Node, LinkId)> {
        self.copies.get(path).map(|(node, id)| (node, *id))
    }

    /// The names in a directory that lead to such files.
    pub(super) fn names_in(&self, dir: &[u8]) -> impl Iterator<Item = &Box<[u8]>> {
        self.names.get(dir).into_iter().flatten()
    }
}

/// The entries of the index by their names.
fn copies(merged: &Tree<'_>, index: usize) -> Result<HashMap<Vec<u8>, Place>> {
    let layer = merged.layer(index);
    let root = layer.root();
    let mut names = Vec::<FileName>::new();
    let listed = layer.list(&root, &mut |entry| {
        if !entry.whiteout && !entry.kind.is_dir() {
            names.push(entry.name.into());
        }
    });
    listed.map_err(InsideError::layer(b"index"))?;
    let mut copies = HashMap::with_capacity(names.len());
    for name in names {
        if let Finding::Found(found) = layer.find(&root, &name).map_err(InsideError::layer(&name))? {
            let object = layer.object(&root, &name, &found);
            copies.insert(name.to_vec(), Place { layer: index, object, found });
        }
    }
    Ok(copies)
}

/// The copy of a lower object, if there is one that tells anything new.
fn copy_of(
    merged: &Tree<'_>,
    node: &Node,
    path: &[u8],
    copies: &HashMap<Vec<u8>, Place>,
) -> Result<Option<(Node, LinkId)>> {
    let top = node.top();
    if top.layer == 0 || node.shared_link_id().is_none() {
        return Ok(None);
    }
    let origin = merged.layer(top.layer).origin(&top.object).map_err(InsideError::layer(path))?;
    let Some(place) = origin.and_then(|origin| copies.get(&origin.index_name())) else {
        return Ok(None);
    };
    // The data of a metacopy is below it.
    let places = std::iter::once(place).chain(node.places().filter(|_| place.found.marks.metacopy));
    let Some(copy) = Node::new(places.cloned()) else { return Ok(None) };
    // The index itself is one of its names.
    let named = place.found.attr.nlink > 1;
    let changed = || differences(In { tree: merged, node, path }, In { tree: merged, node: &copy, path });
    // The upper's names of it have the same inode, in layer 0.
    let id = LinkId { layer: 0, real: place.found.real };
    Ok((named || !changed()?.is_empty()).then_some((copy, id)))
}
