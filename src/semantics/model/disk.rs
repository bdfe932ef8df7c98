//! Layers as plain maps, changed by carrying out plans.
//!
//! Each step is one that a filesystem would do, and is refused where a filesystem would refuse it:
//! a plan that does not fit what is there fails even if the result would look right.

use super::view::{self, Layer, Node, Object, UPPER};
use super::{Kind, NAMES, Op, Random, View, is_below, join, split};
use crate::semantics::change::{
    CreationPlan, Means, MoveMark, Moved, NameInfo, RemovalPlan, RenamePlan, mark_to_move, plan_creation,
    plan_removal, plan_rename,
};
use crate::semantics::copy_up::{CopyUpPlan, Need, plan_copy_up};
use crate::types::FileKind;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a filesystem would refuse.
type Done = Result<(), String>;

/// The layers, the upper first.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    layers: Vec<Layer>,
}

impl Disk {
    /// One to three random lowers below an empty upper.
    pub(super) fn random(random: &mut Random) -> Self {
        let mut layers = vec![Layer::new()];
        for layer in 0..=random.below(3) {
            let mut objects = Layer::new();
            fill(random, layer, "", 0, &mut objects);
            layers.push(objects);
        }
        Disk { layers }
    }

    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(super) fn dump(&self) -> String {
        view::dump(&self.layers)
    }

    /// The layers themselves as text.
    pub(super) fn raw(&self) -> String {
        let mut text = String::new();
        for (layer, objects) in self.layers.iter().enumerate() {
            for (path, object) in objects {
                writeln!(text, "  {layer}:{path} {object:?}").unwrap();
            }
        }
        text
    }

    fn upper(&mut self) -> &mut Layer {
        &mut self.layers[UPPER]
    }

    fn node(&self, path: &str) -> Result<Node, String> {
        view::resolve(&self.layers, path).ok_or(format!("{path}: not found"))
    }

    fn info(&self, path: &str) -> Result<NameInfo, String> {
        let (dir, name) = split(path);
        Ok(view::name_info(&self.layers, &self.node(dir)?, name))
    }

    /// Does an operation that is not refused.
    pub(super) fn apply(&mut self, op: &Op) -> Done {
        match op {
            Op::Create { path, data } => {
                self.create(path, Object::File { mode: 0o644, data: Some(data.clone()), redirect: None })
            }
            Op::Mkdir { path, mode } => {
                self.create(path, Object::Directory { mode: *mode, opaque: false, redirect: None })
            }
            Op::Unlink { path } | Op::Rmdir { path } => self.remove(path),
            Op::Rename { from, to } if from != to => self.rename(from, to),
            Op::Exchange { from, to } if from != to => self.exchange(from, to),
            Op::Write { path, data } => {
                self.copy_up(path, Need::Data)?;
                match self.upper().get_mut(path) {
                    Some(Object::File { data: Some(old), .. }) => old.push_str(data),
                    other => return Err(format!("write to {other:?}")),
                }
                Ok(())
            }
            Op::Chmod { path, mode } => {
                self.copy_up(path, Need::Attributes)?;
                match self.upper().get_mut(path) {
                    Some(Object::Directory { mode: old, .. } | Object::File { mode: old, .. }) => {
                        *old = *mode
                    }
                    other => return Err(format!("chmod of {other:?}")),
                }
                Ok(())
            }
            Op::Stack => {
                self.layers.insert(UPPER, Layer::new());
                Ok(())
            }
            Op::Rename { .. } | Op::Exchange { .. } => Ok(()),
        }
    }

    /// Copies an object and what is above it.
    fn copy_up(&mut self, path: &str, need: Need) -> Done {
        if path.is_empty() {
            return Ok(());
        }
        self.copy_up(split(path).0, Need::Attributes)?;
        let node = self.node(path)?;
        let object = |part: &view::Place| self.layers[part.layer][&part.path].clone();
        let last = node.parts.last().map(object);
        let copy = match (object(&node.parts[0]), last) {
            (Object::Directory { mode, .. }, _) if !node.in_upper() => {
                Object::Directory { mode, opaque: false, redirect: None }
            }
            (Object::File { mode, redirect, .. }, Some(Object::File { data: Some(data), .. })) => {
                let redirect = redirect.filter(|_| node.in_upper());
                let plan = plan_copy_up(FileKind::Regular, data.len() as u64, need, true);
                match plan {
                    CopyUpPlan::Metacopy if node.in_upper() => return Ok(()),
                    CopyUpPlan::Metacopy => Object::File { mode, data: None, redirect },
                    CopyUpPlan::Data(len) if len == data.len() as u64 => {
                        Object::File { mode, data: Some(data), redirect }
                    }
                    CopyUpPlan::Data(_) | CopyUpPlan::Node => return Err(format!("{path}: {plan:?}")),
                }
            }
            (Object::Directory { .. }, _) => return Ok(()),
            (top, data) => return Err(format!("copy-up of {top:?} with the data of {data:?}")),
        };
        self.upper().insert(path.to_owned(), copy);
        Ok(())
    }

    fn create(&mut self, path: &str, mut object: Object) -> Done {
        self.copy_up(split(path).0, Need::Attributes)?;
        let info = self.info(path)?;
        let there = self.upper().get(path).cloned();
        let plan = plan_creation(info, matches!(object, Object::Directory { .. }), Means::ALL);
        match (plan, &there, &mut object) {
            (CreationPlan::Direct, None, _)
            | (CreationPlan::ReplaceWhiteout, Some(Object::Whiteout), Object::File { .. }) => {}
            (CreationPlan::ExchangeWhiteout, Some(Object::Whiteout), Object::Directory { opaque, .. }) => {
                *opaque = true;
            }
            (plan, ..) => return Err(format!("{plan:?} over {there:?}")),
        }
        self.upper().insert(path.to_owned(), object);
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Done {
        let info = self.info(path)?;
        let plan = plan_removal(info, Means::ALL);
        if !matches!(plan, RemovalPlan::Remove | RemovalPlan::RemoveDirectory) {
            self.copy_up(split(path).0, Need::Attributes)?;
        }
        let there = self.upper().get(path).cloned();
        match (plan, &there) {
            (RemovalPlan::Remove, Some(Object::File { .. })) => {
                self.upper().remove(path);
            }
            (RemovalPlan::Whiteout, None) | (RemovalPlan::ReplaceFile, Some(Object::File { .. })) => {
                self.upper().insert(path.to_owned(), Object::Whiteout);
            }
            (RemovalPlan::ExchangeDirectory, Some(Object::Directory { .. })) => {
                self.take(path);
                self.upper().insert(path.to_owned(), Object::Whiteout);
            }
            (RemovalPlan::RemoveDirectory, Some(Object::Directory { .. })) => {
                self.take(path);
            }
            _ => return Err(format!("{plan:?} of {there:?}")),
        }
        Ok(())
    }

    /// Where the lowers have what stands at a path: each ancestor's redirect where it has one, else
    /// its name.
    fn lower_path(&self, path: &str) -> String {
        if path.is_empty() {
            return String::new();
        }
        let redirect = match self.layers[UPPER].get(path) {
            Some(Object::Directory { redirect, .. } | Object::File { redirect, .. }) => redirect.clone(),
            _ => None,
        };
        match redirect {
            Some(redirect) => String::from_utf8(redirect).unwrap(),
            None => format!("{}/{}", self.lower_path(split(path).0), split(path).1),
        }
    }

    /// The mark that an upper object needs to stand at a name which the lowers have or have not.
    fn mark(&mut self, path: &str, lower_there: bool) -> Done {
        let node = self.node(path)?;
        let moved = match &self.layers[UPPER][path] {
            Object::Directory { .. } if node.has_lower() => Moved::MergedDirectory,
            Object::Directory { .. } => Moved::PureDirectory,
            Object::File { data: None, .. } => Moved::Metacopy,
            Object::File { .. } => Moved::Other,
            Object::Whiteout => return Err(format!("{path}: a whiteout moves")),
        };
        let target = self.lower_path(path);
        match (mark_to_move(moved, lower_there), self.upper().get_mut(path)) {
            (MoveMark::None, _) => {}
            (MoveMark::Opaque, Some(Object::Directory { opaque, .. })) => *opaque = true,
            (
                MoveMark::Redirect,
                Some(Object::Directory { redirect, .. } | Object::File { redirect, .. }),
            ) => *redirect = Some(target.into_bytes()),
            (mark, object) => return Err(format!("{mark:?} on {object:?}")),
        }
        Ok(())
    }

    /// Takes an upper object and what is below it; the paths of the result are relative.
    fn take(&mut self, path: &str) -> Vec<(String, Object)> {
        let upper = self.upper();
        let taken: Vec<_> = upper.keys().filter(|at| *at == path || is_below(at, path)).cloned().collect();
        let object = |at: String| upper.remove(&at).map(|object| (at[path.len()..].to_owned(), object));
        taken.into_iter().filter_map(object).collect()
    }

    fn put(&mut self, path: &str, objects: Vec<(String, Object)>) {
        let placed = objects.into_iter().map(|(rest, object)| (format!("{path}{rest}"), object));
        self.layers[UPPER].extend(placed);
    }

    /// renameat2 in the upper, refused as a filesystem refuses it.
    fn rename_upper(&mut self, from: &str, to: &str, whiteout: bool) -> Done {
        let directory = |object: &Object| matches!(object, Object::Directory { .. });
        let source = self.upper().get(from).cloned().ok_or("ENOENT")?;
        let full = self.upper().keys().any(|at| is_below(at, to));
        match self.upper().get(to) {
            Some(target) if directory(&source) != directory(target) => return Err("ENOTDIR".into()),
            Some(_) if full => return Err("ENOTEMPTY".into()),
            _ => {}
        }
        let moved = self.take(from);
        self.take(to);
        self.put(to, moved);
        if whiteout {
            self.upper().insert(from.to_owned(), Object::Whiteout);
        }
        Ok(())
    }

    fn exchange_upper(&mut self, from: &str, to: &str) -> Done {
        if !self.upper().contains_key(from) || !self.upper().contains_key(to) {
            return Err("ENOENT".into());
        }
        let (first, second) = (self.take(from), self.take(to));
        self.put(to, first);
        self.put(from, second);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Done {
        self.copy_up(from, Need::Attributes)?;
        self.copy_up(split(to).0, Need::Attributes)?;
        let (from_info, to_info) = (self.info(from)?, self.info(to)?);
        self.mark(from, to_info.lower)?;
        let directory = matches!(self.upper().get(from), Some(Object::Directory { .. }));
        match plan_rename(from_info, directory, to_info, Means::ALL) {
            RenamePlan::Replace => self.rename_upper(from, to, false),
            RenamePlan::ReplaceLeavingWhiteout => self.rename_upper(from, to, true),
            RenamePlan::SwapWhiteout => self.exchange_upper(from, to),
            RenamePlan::SwapAndDropWhiteout => {
                self.exchange_upper(from, to)?;
                match self.upper().remove(from) {
                    Some(Object::Whiteout) => Ok(()),
                    other => Err(format!("unlink of {other:?}")),
                }
            }
            RenamePlan::ClearThenReplace => {
                self.clear(to)?;
                self.rename_upper(from, to, false)
            }
            RenamePlan::ClearThenLeaveWhiteout => {
                self.clear(to)?;
                self.rename_upper(from, to, true)
            }
            RenamePlan::Guarded => Err("this filesystem can all".into()),
        }
    }

    /// Empties an upper directory of its whiteouts.
    fn clear(&mut self, path: &str) -> Done {
        let inside = |at: &String| is_below(at, path);
        if self.upper().iter().any(|(at, object)| inside(at) && !matches!(object, Object::Whiteout)) {
            return Err(format!("{path}: more than whiteouts inside"));
        }
        self.upper().retain(|at, _| !inside(at));
        Ok(())
    }

    fn exchange(&mut self, from: &str, to: &str) -> Done {
        self.copy_up(from, Need::Attributes)?;
        self.copy_up(to, Need::Attributes)?;
        let (from_info, to_info) = (self.info(from)?, self.info(to)?);
        self.mark(from, to_info.lower)?;
        self.mark(to, from_info.lower)?;
        self.exchange_upper(from, to)
    }
}

/// Fills a directory of a lower with random objects.
fn fill(random: &mut Random, layer: usize, dir: &str, depth: usize, objects: &mut BTreeMap<String, Object>) {
    for name in NAMES {
        let path = join(dir, name);
        match random.below(8) {
            0..3 if depth + 1 < super::DEPTH => {
                let opaque = random.one_in(5);
                objects.insert(path.clone(), Object::Directory { mode: 0o755, opaque, redirect: None });
                fill(random, layer, &path, depth + 1, objects);
            }
            3..5 => {
                let data = Some(format!("lower{layer}:{path}"));
                objects.insert(path, Object::File { mode: 0o600, data, redirect: None });
            }
            5 => {
                objects.insert(path, Object::Whiteout);
            }
            _ => {}
        }
    }
}

impl View for Disk {
    fn kind(&self, path: &str) -> Option<Kind> {
        view::resolve(&self.layers, path).map(|node| node.kind)
    }

    fn is_empty(&self, path: &str) -> bool {
        view::resolve(&self.layers, path)
            .is_some_and(|node| !view::list(&self.layers, &node).values().any(|(_, merged)| merged.visible()))
    }
}
