//! The merged view of a stack of layers, without a mount (rules U1 to U12).

use super::error::{InsideError, Result};
use super::names::{find_marked, has_opaque_file};
use super::node::{Child, Node, Place};
use crate::layer::{Contents, Finding, Layer, Object};
use crate::semantics::listing::{Listed, MergedName};
use crate::semantics::lookup::{Class, Scope, Search, Step};
use crate::semantics::names::{NAME_MAX, NameClass, XattrClass, classify_name, classify_xattr};
use crate::types::{FileKind, FileName};
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};

/// As many as Linux follows in one path.
const MOST_LINKS: usize = 40;

/// A stack of layers as one tree.
pub struct Tree<'a> {
    layers: Vec<Slot<'a>>,
    /// How many of them are stacked; what is after them is only reached by a place that names it.
    depth: usize,
    /// Whiteouts are shown too.
    alone: bool,
}

struct Slot<'a> {
    layer: Held<'a>,
    key: Option<Box<[u8]>>,
}

enum Held<'a> {
    Owned(Box<dyn Layer + 'a>),
    Borrowed(&'a dyn Layer),
}

/// What to do with a symlink at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLink {
    /// Go on to what it leads to.
    Follow,
    /// Stay at the link.
    Keep,
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub struct Located {
    /// Its path from the root, without symlinks on the way; begins with `/`.
    pub path: Vec<u8>,
    /// The object.
    pub node: Node,
}

/// A name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: Box<[u8]>,
    /// It is a whiteout: only in trees of one layer alone.
    pub whiteout: bool,
}

impl std::fmt::Debug for Tree<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("depth", &self.depth).field("alone", &self.alone).finish()
    }
}

impl<'a> Tree<'a> {
    /// The tree that a stack shows, topmost first.
    pub fn new(layers: Vec<Box<dyn Layer + 'a>>) -> Tree<'a> {
        let slot = |layer| Slot { layer: Held::Owned(layer), key: None };
        Tree { depth: layers.len(), layers: layers.into_iter().map(slot).collect(), alone: false }
    }

    /// The same over layers that somebody else keeps.
    pub fn of(layers: &[&'a dyn Layer]) -> Tree<'a> {
        let slot = |layer: &&'a dyn Layer| Slot { layer: Held::Borrowed(*layer), key: None };
        Tree { depth: layers.len(), layers: layers.iter().map(slot).collect(), alone: false }
    }

    /// One layer as it is, its whiteouts shown as entries of their own kind.
    pub fn alone(layer: Box<dyn Layer + 'a>) -> Tree<'a> {
        Tree { alone: true, ..Tree::new(vec![layer]) }
    }

    /// Names the layers, topmost first, for instance by their diff ids. Objects of equally named layers
    /// are known to be equal without reading them.
    #[must_use]
    pub fn named(mut self, keys: impl IntoIterator<Item = Vec<u8>>) -> Tree<'a> {
        for (slot, key) in self.layers.iter_mut().zip(keys) {
            slot.key = Some(key.into());
        }
        self
    }

    /// How many layers it has.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Keeps a layer at hand that is not in the stack; answers its number in places.
    pub(in crate::store) fn beside(&mut self, layer: &'a dyn Layer) -> usize {
        self.layers.push(Slot { layer: Held::Borrowed(layer), key: None });
        self.layers.len() - 1
    }

    /// Whether it shows one layer as it is.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// A layer, 0 the topmost.
    pub fn layer(&self, at: usize) -> &dyn Layer {
        match &self.layers[at].layer {
            Held::Owned(layer) => &**layer,
            Held::Borrowed(layer) => *layer,
        }
    }

    /// What a layer was named.
    pub(super) fn key(&self, at: usize) -> Option<&[u8]> {
        self.layers[at].key.as_deref()
    }

    pub(super) fn of_place(&self, place: &Place) -> &dyn Layer {
        self.layer(place.layer)
    }

    /// The root directory.
    pub fn root(&self) -> Result<Node> {
        let mut places = SmallVec::<[Place; 1]>::new();
        for layer in 0..self.depth() {
            let object = self.layer(layer).root();
            let found = self.layer(layer).look(&object).map_err(InsideError::layer(b"/"))?;
            places.push(Place { layer, object, found: Box::new(found) });
        }
        self.cut_opaque(&mut places, b"/")?;
        Node::new(places).ok_or_else(|| InsideError::NotFound(b"/".into()))
    }

    /// What stands at a name of a directory; `path` is the directory's, for messages.
    pub fn child(&self, dir: &Node, path: &[u8], name: &[u8]) -> Result<Option<Child>> {
        if name.len() > NAME_MAX || classify_name(name) != NameClass::Plain {
            return Ok(None);
        }
        let whole = join(path, name);
        let mut search = Search::new(name);
        let mut places = SmallVec::<[Place; 1]>::new();
        let mut own = dir.places().peekable();
        for layer in 0..self.depth() {
            if search.ended() {
                break;
            }
            let part = own.next_if(|place| place.layer == layer);
            let start = match (search.scope(), part) {
                (Scope::Root, _) => self.layer(layer).root(),
                (Scope::Parent, None) => continue,
                (Scope::Parent, Some(place)) => place.object.clone(),
            };
            places.extend(self.ask(&mut search, layer, start, &whole)?);
        }
        if self.alone && places.is_empty() && search.ended() {
            return Ok(Some(Child::Whiteout));
        }
        if places.first().is_some_and(|place| place.found.attr.kind.is_dir()) {
            self.cut_opaque(&mut places, &whole)?;
        }
        Ok(Node::new(places).map(Child::Object))
    }

    /// Asks one layer for the search's path.
    fn ask(&self, search: &mut Search, layer: usize, start: Object, whole: &[u8]) -> Result<Option<Place>> {
        let path: SmallVec<[Box<[u8]>; 1]> = search.path().iter().cloned().collect();
        let mut at = start;
        for (n, component) in path.iter().enumerate() {
            let finding =
                find_marked(self.layer(layer), &at, component).map_err(InsideError::layer(whole))?;
            let step = search.component(path.len() - 1 - n, class_of(&finding));
            if search.misled() {
                return Err(InsideError::BadRedirect(whole.into()));
            }
            let (Finding::Found(found), true) = (finding, step != Step::Skip) else {
                return Ok(None);
            };
            at = self.layer(layer).object(&at, &FileName::from(&**component), &found);
            if step == Step::Keep {
                return Ok(Some(Place { layer, object: at, found }));
            }
        }
        Ok(None)
    }

    /// Lets go of the parts of a directory below one that a mark or a file makes opaque.
    fn cut_opaque(&self, places: &mut SmallVec<[Place; 1]>, path: &[u8]) -> Result<()> {
        for at in 0..places.len() {
            let place = &mut places[at];
            let by_file = || has_opaque_file(self.layer(place.layer), &place.object);
            if place.found.marks.opaque || by_file().map_err(InsideError::layer(path))? {
                place.found.marks.opaque = true;
                places.truncate(at + 1);
                break;
            }
        }
        Ok(())
    }

    /// The names of a directory, sorted; `path` is its path, for messages.
    pub fn list(&self, dir: &Node, path: &[u8]) -> Result<Vec<Name>> {
        if !dir.is_dir() {
            return Err(InsideError::NotDirectory(path.into()));
        }
        let mut names = BTreeMap::<Box<[u8]>, MergedName>::new();
        for place in dir.places() {
            // They hide the parts below only, whatever their order.
            let mut whiteouts = Vec::<Box<[u8]>>::new();
            let listed = self.of_place(place).list(&place.object, &mut |entry| match entry.whiteout {
                true => whiteouts.push(entry.name.into()),
                false => {
                    let listed = if entry.kind.is_dir() { Listed::Directory } else { Listed::Other };
                    add(&mut names, entry.name.into(), listed);
                }
            });
            let opaque = listed.map_err(InsideError::layer(path))?;
            whiteouts.into_iter().for_each(|name| add(&mut names, name, Listed::Whiteout));
            if opaque {
                break;
            }
        }
        let shown = names.into_iter().filter(|(_, merged)| merged.visible() || self.alone);
        Ok(shown.map(|(name, merged)| Name { name, whiteout: !merged.visible() }).collect())
    }

    /// What a path leads to: symlinks stay inside the root, and `..` of the root is the root.
    pub fn resolve(&self, path: &[u8], last: LastLink) -> Result<Located> {
        let mut at: Vec<(Vec<u8>, Node)> = vec![(b"/".to_vec(), self.root()?)];
        let mut left: VecDeque<Vec<u8>> = components(path).collect();
        // A trailing slash or dot asks for a directory.
        let wants_dir = path.ends_with(b"/") || path.ends_with(b"/.");
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            let Some((here, dir)) = at.last() else { break };
            if !dir.is_dir() {
                return Err(InsideError::NotDirectory(here.as_slice().into()));
            }
            if name == b".." {
                at.truncate((at.len() - 1).max(1));
                continue;
            }
            let whole = join(here, &name);
            let node = match self.child(dir, here, &name)? {
                Some(Child::Object(node)) => node,
                Some(Child::Whiteout) => return Err(InsideError::Whiteout(whole.into())),
                None => return Err(InsideError::NotFound(whole.into())),
            };
            let follow = !left.is_empty() || wants_dir || last == LastLink::Follow;
            if node.kind() != FileKind::Symlink || !follow {
                at.push((whole, node));
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(InsideError::TooManyLinks(path.into()));
            }
            let target = self.read_link(&node, &whole)?;
            if target.starts_with(b"/") {
                at.truncate(1);
            }
            components(&target).rev().for_each(|part| left.push_front(part));
        }
        let (path, node) = at.pop().ok_or_else(|| InsideError::NotFound(path.into()))?;
        if wants_dir && !node.is_dir() {
            return Err(InsideError::NotDirectory(path.into()));
        }
        Ok(Located { path, node })
    }

    /// The target of a symlink; `path` is its own, for messages.
    pub fn read_link(&self, node: &Node, path: &[u8]) -> Result<Vec<u8>> {
        self.of_place(node.top()).read_link(&node.top().object).map_err(InsideError::layer(path))
    }

    /// The data of a regular file, in whichever layer it is; `path` is its own, for messages.
    pub fn open(&self, node: &Node, path: &[u8]) -> Result<Contents> {
        if node.kind() != FileKind::Regular {
            return Err(match node.is_dir() {
                true => InsideError::IsDirectory(path.into()),
                false => InsideError::NotRegular(path.into()),
            });
        }
        let whole = node.places().find(|place| !place.found.marks.metacopy);
        let place = whole.filter(|place| place.found.attr.kind == FileKind::Regular);
        let place = place.ok_or_else(|| InsideError::DataMissing(path.into()))?;
        self.of_place(place).open(&place.object).map_err(InsideError::layer(path))
    }

    /// The xattrs that are shown, sorted by name; `path` is the object's, for messages.
    pub fn xattrs(&self, node: &Node, path: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let place = node.shown();
        let layer = self.of_place(place);
        let stored = layer.list_xattrs(&place.object).map_err(InsideError::layer(path))?;
        let mut shown = Vec::new();
        for name in stored.split(|b| *b == 0).filter(|name| !name.is_empty()) {
            if let XattrClass::Shown(own) = classify_xattr(name) {
                let value = layer.get_xattr(&place.object, name).map_err(InsideError::layer(path))?;
                shown.push((own, value.unwrap_or_default()));
            }
        }
        shown.sort_unstable();
        Ok(shown)
    }
}

fn add(names: &mut BTreeMap<Box<[u8]>, MergedName>, name: Box<[u8]>, listed: Listed) {
    names
        .entry(name)
        .and_modify(|merged| {
            merged.add(listed);
        })
        .or_insert(MergedName::new(listed));
}

fn class_of(finding: &Finding) -> Class<'_> {
    match finding {
        Finding::Absent => Class::Absent,
        Finding::Whiteout => Class::Whiteout,
        Finding::Found(found) => {
            let (marks, redirect) = (&found.marks, found.marks.redirect.as_deref());
            match found.attr.kind {
                FileKind::Directory => Class::Directory { opaque: marks.opaque, redirect },
                FileKind::Regular => Class::Other { metacopy: marks.metacopy, redirect },
                _ => Class::Other { metacopy: false, redirect: None },
            }
        }
    }
}

/// The components of a path that mean something.
pub(super) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}

/// The path of a name in a directory.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match dir.ends_with(b"/") {
        true => [dir, name].concat(),
        false => [dir, b"/", name].concat(),
    }
}
