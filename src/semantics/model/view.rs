//! What layers show, by `lookup::Search` and `listing::MergedName` alone.

use super::{Kind, NAMES, join, split};
use crate::semantics::change::{NameInfo, UpperName};
use crate::semantics::listing::{Listed, MergedName};
use crate::semantics::lookup::{Class, Scope, Search, Step};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The upper's number among the layers.
pub(super) const UPPER: usize = 0;

/// An object of a layer.
#[derive(Clone, Debug)]
pub(super) enum Object {
    Directory {
        mode: u32,
        opaque: bool,
        redirect: Option<Vec<u8>>,
    },
    /// `data: None` is a metacopy.
    File {
        mode: u32,
        data: Option<String>,
        redirect: Option<Vec<u8>>,
    },
    Whiteout,
}

/// The objects of a layer by their path.
pub(super) type Layer = BTreeMap<String, Object>;

/// An object's place: its layer and its path there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) layer: usize,
    pub(super) path: String,
}

/// What a path leads to: its parts, topmost first; those of a file end with the one that has its data.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) parts: Vec<Place>,
}

impl Node {
    pub(super) fn in_upper(&self) -> bool {
        self.parts.first().is_some_and(|part| part.layer == UPPER)
    }

    pub(super) fn has_lower(&self) -> bool {
        self.parts.iter().any(|part| part.layer != UPPER)
    }
}

fn classify(object: Option<&Object>) -> Class<'_> {
    match object {
        None => Class::Absent,
        Some(Object::Whiteout) => Class::Whiteout,
        Some(Object::Directory { opaque, redirect, .. }) => {
            Class::Directory { opaque: *opaque, redirect: redirect.as_deref() }
        }
        Some(Object::File { data, redirect, .. }) => {
            Class::Other { metacopy: data.is_none(), redirect: redirect.as_deref() }
        }
    }
}

/// The root directory of the union.
pub(super) fn root(layers: &[Layer]) -> Node {
    let parts = (0..layers.len()).map(|layer| Place { layer, path: String::new() }).collect();
    Node { kind: Kind::Directory, parts }
}

/// Looks a name up in a directory.
pub(super) fn lookup(layers: &[Layer], dir: &Node, name: &str) -> Option<Node> {
    let mut search = Search::new(name.as_bytes());
    let mut node: Option<Node> = None;
    for (layer, objects) in layers.iter().enumerate() {
        if search.ended() {
            break;
        }
        let mut at = match (search.scope(), dir.parts.iter().find(|part| part.layer == layer)) {
            (Scope::Root, _) => String::new(),
            (Scope::Parent, Some(part)) => part.path.clone(),
            (Scope::Parent, None) => continue,
        };
        // A redirect on the way changes the path for the layers below only.
        let path = search.path().to_vec();
        for (n, component) in path.iter().enumerate() {
            at = join(&at, std::str::from_utf8(component).unwrap());
            let object = objects.get(&at);
            match search.component(path.len() - 1 - n, classify(object)) {
                Step::Descend => {}
                Step::Skip => break,
                Step::Keep => {
                    let directory = matches!(object, Some(Object::Directory { .. }));
                    let kind = if directory { Kind::Directory } else { Kind::File };
                    let found = node.get_or_insert(Node { kind, parts: Vec::new() });
                    found.parts.push(Place { layer, path: at.clone() });
                }
            }
        }
    }
    node
}

/// What a path leads to.
pub(super) fn resolve(layers: &[Layer], path: &str) -> Option<Node> {
    let mut node = root(layers);
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if node.kind != Kind::Directory {
            return None;
        }
        node = lookup(layers, &node, name)?;
    }
    Some(node)
}

/// One name of a directory, with the layer that decides what it is.
pub(super) type Row = (usize, MergedName);

/// The names of a directory, whiteouts included.
pub(super) fn list(layers: &[Layer], dir: &Node) -> BTreeMap<String, Row> {
    let mut names: BTreeMap<String, Row> = BTreeMap::new();
    for part in &dir.parts {
        for (path, object) in layers[part.layer].iter().filter(|(path, _)| split(path).0 == part.path) {
            let listed = match object {
                Object::Whiteout => Listed::Whiteout,
                Object::Directory { .. } => Listed::Directory,
                Object::File { .. } => Listed::Other,
            };
            match names.get_mut(split(path).1) {
                Some((_, merged)) => {
                    merged.add(listed);
                }
                None => {
                    names.insert(split(path).1.to_owned(), (part.layer, MergedName::new(listed)));
                }
            }
        }
    }
    names
}

/// What stands at a name, as the plans want to know it. What listings say of the lowers must be
/// what a lookup would find without the upper.
pub(super) fn name_info(layers: &[Layer], dir: &Node, name: &str) -> NameInfo {
    let info = listed_info(layers, dir, name);
    let parts = dir.parts.iter().filter(|part| part.layer != UPPER).cloned().collect();
    let below = lookup(layers, &Node { kind: Kind::Directory, parts }, name);
    assert_eq!(info.lower, below.is_some(), "{name} in {dir:?}: {info:?}, the lowers have {below:?}");
    info
}

fn listed_info(layers: &[Layer], dir: &Node, name: &str) -> NameInfo {
    match list(layers, dir).get(name) {
        None => NameInfo { upper: UpperName::Absent, lower: false },
        Some((UPPER, merged)) => {
            let upper = match merged.top {
                Listed::Whiteout => UpperName::Whiteout,
                Listed::Directory => UpperName::Directory,
                Listed::Other => UpperName::Other,
            };
            NameInfo { upper, lower: merged.below }
        }
        Some((_, merged)) => NameInfo { upper: UpperName::Absent, lower: merged.visible() },
    }
}

/// The merged tree as text, found by listings; a lookup that says otherwise is a line of its own.
pub(super) fn dump(layers: &[Layer]) -> String {
    let mut text = String::new();
    dump_directory(layers, &root(layers), "", &mut text);
    text
}

fn dump_directory(layers: &[Layer], dir: &Node, dir_path: &str, text: &mut String) {
    let names = list(layers, dir);
    for name in NAMES {
        let path = join(dir_path, name);
        let listed = names.get(name).map(|(_, merged)| *merged).filter(MergedName::visible);
        match (lookup(layers, dir, name), listed) {
            (None, None) => {}
            (Some(node), Some(listed))
                if (node.kind == Kind::Directory) == (listed.top == Listed::Directory) =>
            {
                dump_node(layers, &node, &path, text);
            }
            (node, listed) => writeln!(text, "{path}: lookup {node:?}, listing {listed:?}").unwrap(),
        }
    }
}

fn dump_node(layers: &[Layer], node: &Node, path: &str, text: &mut String) {
    let object = |part: &Place| &layers[part.layer][&part.path];
    match (object(&node.parts[0]), object(node.parts.last().unwrap())) {
        (Object::Directory { mode, .. }, _) => {
            writeln!(text, "{path}/ {mode:o}").unwrap();
            dump_directory(layers, node, path, text);
        }
        (Object::File { mode, .. }, Object::File { data: Some(data), .. }) => {
            writeln!(text, "{path} {mode:o} {data:?}").unwrap();
        }
        (top, data) => writeln!(text, "{path}: {top:?} with the data of {data:?}").unwrap(),
    }
}
