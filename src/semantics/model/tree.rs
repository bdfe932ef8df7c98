//! The naive model: one plain tree.

use super::view::{Layer, Object};
use super::{Kind, Op, View, is_below, split};
use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Clone, Debug)]
enum Thing {
    Directory(u32),
    File(u32, String),
}

/// All objects by their path.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    things: BTreeMap<String, Thing>,
}

impl Tree {
    /// Unpacks layers one over another, as an image's layers are unpacked.
    pub(super) fn from_layers(layers: &[Layer]) -> Self {
        let mut tree = Tree::default();
        for layer in layers.iter().rev() {
            for (path, object) in layer {
                match object {
                    Object::Whiteout => tree.clear(path),
                    Object::Directory { mode, opaque, .. } => {
                        if *opaque || !matches!(tree.things.get(path), Some(Thing::Directory(_))) {
                            tree.clear(path);
                        }
                        tree.things.insert(path.clone(), Thing::Directory(*mode));
                    }
                    Object::File { mode, data, .. } => {
                        tree.clear(path);
                        let data = data.clone().unwrap_or_default();
                        tree.things.insert(path.clone(), Thing::File(*mode, data));
                    }
                }
            }
        }
        tree
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.things.keys().cloned().collect()
    }

    fn clear(&mut self, path: &str) {
        self.things.retain(|at, _| at != path && !is_below(at, path));
    }

    /// Takes what is at a path and below it; the paths of the result are relative.
    fn take(&mut self, path: &str) -> Vec<(String, Thing)> {
        let taken: Vec<_> =
            self.things.keys().filter(|at| *at == path || is_below(at, path)).cloned().collect();
        let thing = |at: String| self.things.remove(&at).map(|thing| (at[path.len()..].to_owned(), thing));
        taken.into_iter().filter_map(thing).collect()
    }

    fn put(&mut self, path: &str, things: Vec<(String, Thing)>) {
        self.things.extend(things.into_iter().map(|(rest, thing)| (format!("{path}{rest}"), thing)));
    }

    /// Does an operation that is not refused.
    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { path, data } => {
                self.things.insert(path.clone(), Thing::File(0o644, data.clone()));
            }
            Op::Mkdir { path, mode } => {
                self.things.insert(path.clone(), Thing::Directory(*mode));
            }
            Op::Unlink { path } | Op::Rmdir { path } => self.clear(path),
            Op::Rename { from, to } if from != to => {
                let moved = self.take(from);
                self.clear(to);
                self.put(to, moved);
            }
            Op::Exchange { from, to } if from != to => {
                let (first, second) = (self.take(from), self.take(to));
                self.put(to, first);
                self.put(from, second);
            }
            Op::Write { path, data } => {
                if let Some(Thing::File(_, old)) = self.things.get_mut(path) {
                    old.push_str(data);
                }
            }
            Op::Chmod { path, mode } => {
                if let Some(Thing::File(old, _) | Thing::Directory(old)) = self.things.get_mut(path) {
                    *old = *mode;
                }
            }
            Op::Rename { .. } | Op::Exchange { .. } | Op::Stack => {}
        }
    }

    pub(super) fn dump(&self) -> String {
        let mut text = String::new();
        for (path, thing) in &self.things {
            match thing {
                Thing::Directory(mode) => writeln!(text, "{path}/ {mode:o}"),
                Thing::File(mode, data) => writeln!(text, "{path} {mode:o} {data:?}"),
            }
            .unwrap();
        }
        text
    }
}

impl View for Tree {
    fn kind(&self, path: &str) -> Option<Kind> {
        match self.things.get(path) {
            _ if path.is_empty() => Some(Kind::Directory),
            None => None,
            Some(Thing::Directory(_)) => Some(Kind::Directory),
            Some(Thing::File(..)) => Some(Kind::File),
        }
    }

    fn is_empty(&self, path: &str) -> bool {
        !self.things.keys().any(|at| split(at).0 == path)
    }
}
