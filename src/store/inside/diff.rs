//! What differs between two trees: `docker diff`, and why.

use super::compare::{In, differences};
use super::content_diff::{Texts, unified};
use super::error::Result;
use super::node::{Child, Node};
use super::text::{NameStyle, kind_word};
use super::tree::{Name, Tree, join};
use crate::types::{Attr, FileKind};
use std::cmp::Ordering;
use std::io::Write;

pub use super::compare::Field;

/// One side of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// An object with its attributes.
    Object(Attr),
    /// A whiteout, of a layer alone.
    Whiteout,
}

/// What happened to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Only the second tree has it.
    Added(Side),
    /// Only the first tree has it.
    Deleted(Side),
    /// Both have it; `fields` is not empty, and is just `Kind` where one of them is a whiteout.
    Changed {
        /// In the first tree.
        old: Side,
        /// In the second tree.
        new: Side,
        /// In which respects.
        fields: Vec<Field>,
    },
}

/// A path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From the root, begins with `/`.
    pub path: Vec<u8>,
    /// What happened to it.
    pub what: What,
    /// The change of the text in the unified form, or a line saying that it is binary; only where it
    /// was asked for and there is one.
    pub text: Option<Vec<u8>>,
}

/// What `diff` was asked for.
#[derive(Clone, Debug)]
pub struct DiffOptions {
    /// Show how texts changed.
    pub content: bool,
    /// Times of modification that differ alone are a change.
    pub mtimes: bool,
    /// The names of the two trees in unified diffs: `a` and `b` if empty.
    pub labels: (Vec<u8>, Vec<u8>),
    /// How names are printed.
    pub names: NameStyle,
}

impl Default for DiffOptions {
    fn default() -> Self {
        let labels = (b"a".to_vec(), b"b".to_vec());
        DiffOptions { content: false, mtimes: true, labels, names: NameStyle::Raw }
    }
}

/// The names of a directory that one tree or both have and that are still to be compared.
struct Level {
    path: Vec<u8>,
    old: Option<Node>,
    new: Option<Node>,
    names: std::vec::IntoIter<Box<[u8]>>,
}

/// Calls `each` for every path that differs: each directory before what is in it, in the order of the
/// names. What only one tree has is told path by path.
pub fn diff(
    old: &Tree<'_>,
    new: &Tree<'_>,
    options: &DiffOptions,
    each: &mut dyn FnMut(Change) -> Result<()>,
) -> Result<()> {
    let roots = (Child::Object(old.root()?), Child::Object(new.root()?));
    let mut levels = Vec::new();
    let both = Both { old, new, options };
    both.pair(b"/".to_vec(), Some(roots.0), Some(roots.1), &mut levels, each)?;
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.next() else {
            levels.pop();
            continue;
        };
        let of = |tree: &Tree<'_>, dir: &Option<Node>| match dir {
            Some(dir) => tree.child(dir, &level.path, &name),
            None => Ok(None),
        };
        let (was, is) = (of(old, &level.old)?, of(new, &level.new)?);
        let path = join(&level.path, &name);
        both.pair(path, was, is, &mut levels, each)?;
    }
    Ok(())
}

struct Both<'t> {
    old: &'t Tree<'t>,
    new: &'t Tree<'t>,
    options: &'t DiffOptions,
}

impl Both<'_> {
    /// Tells of one path, and goes on to what is in it.
    fn pair(
        &self,
        path: Vec<u8>,
        was: Option<Child>,
        is: Option<Child>,
        levels: &mut Vec<Level>,
        each: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<()> {
        let what = match (&was, &is) {
            (None, None) => None,
            (None, Some(child)) => Some(What::Added(side(child))),
            (Some(child), None) => Some(What::Deleted(side(child))),
            (Some(old), Some(new)) => self.changed(&path, old, new)?,
        };
        let (was, is) = (was.as_ref().and_then(Child::node), is.as_ref().and_then(Child::node));
        if let Some(what) = what {
            let text = if self.options.content { self.text(&path, was, is, &what)? } else { None };
            each(Change { path: path.clone(), what, text })?;
        }
        let (was, is) = (was.filter(|node| node.is_dir()), is.filter(|node| node.is_dir()));
        if was.is_some() || is.is_some() {
            let list = |tree: &Tree<'_>, dir: Option<&Node>| match dir {
                Some(dir) => tree.list(dir, &path),
                None => Ok(Vec::new()),
            };
            let names = merge(list(self.old, was)?, list(self.new, is)?);
            let (old, new, names) = (was.cloned(), is.cloned(), names.into_iter());
            levels.push(Level { path, old, new, names });
        }
        Ok(())
    }

    fn changed(&self, path: &[u8], old: &Child, new: &Child) -> Result<Option<What>> {
        let mut fields = match (old, new) {
            (Child::Whiteout, Child::Whiteout) => Vec::new(),
            (Child::Object(was), Child::Object(is)) => {
                let (was, is) =
                    (In { tree: self.old, node: was, path }, In { tree: self.new, node: is, path });
                differences(was, is)?
            }
            _ => vec![Field::Kind],
        };
        if !self.options.mtimes && fields == [Field::Mtime] {
            fields.clear();
        }
        let (old, new) = (side(old), side(new));
        Ok((!fields.is_empty()).then_some(What::Changed { old, new, fields }))
    }

    fn text(
        &self,
        path: &[u8],
        was: Option<&Node>,
        is: Option<&Node>,
        what: &What,
    ) -> Result<Option<Vec<u8>>> {
        if let What::Changed { fields, .. } = what
            && !fields.contains(&Field::Content)
            && !fields.contains(&Field::Kind)
        {
            return Ok(None);
        }
        let file = |node: &&Node| node.kind() == FileKind::Regular;
        let (was, is) = (was.filter(file), is.filter(file));
        if was.is_none() && is.is_none() {
            return Ok(None);
        }
        let texts =
            Texts { old: was.map(|node| (self.old, node)), new: is.map(|node| (self.new, node)), path };
        unified(&texts, self.options).map(Some)
    }
}

fn side(child: &Child) -> Side {
    match child {
        Child::Object(node) => Side::Object(node.attr()),
        Child::Whiteout => Side::Whiteout,
    }
}

/// The names of two sorted listings, each once.
fn merge(old: Vec<Name>, new: Vec<Name>) -> Vec<Box<[u8]>> {
    let mut names = Vec::with_capacity(old.len().max(new.len()));
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return names,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.name.cmp(&b.name),
        };
        let a = if order.is_le() { old.next() } else { None };
        let b = if order.is_ge() { new.next() } else { None };
        names.extend(a.or(b).map(|name| name.name));
    }
}

/// Writes one change: `A`, `D` or `C`, the path, and in which respects it changed.
pub fn write_change(change: &Change, options: &DiffOptions, out: &mut dyn Write) -> Result<()> {
    let (letter, note) = match &change.what {
        What::Added(side) => ('A', note_of(side)),
        What::Deleted(side) => ('D', note_of(side)),
        What::Changed { old, new, fields } => ('C', Some(fields_text(old, new, fields))),
    };
    write!(out, "{letter} ")?;
    out.write_all(&options.names.apply(&change.path))?;
    if let Some(note) = note {
        write!(out, " ({note})")?;
    }
    out.write_all(b"\n")?;
    Ok(out.write_all(change.text.as_deref().unwrap_or_default())?)
}

fn note_of(side: &Side) -> Option<String> {
    (*side == Side::Whiteout).then(|| "whiteout".to_owned())
}

/// The respects of a change in words, with both values where they are short.
pub fn fields_text(old: &Side, new: &Side, fields: &[Field]) -> String {
    let word = |side: &Side| match side {
        Side::Object(attr) => kind_word(attr.kind),
        Side::Whiteout => "whiteout",
    };
    let one = |field: &Field| match (field, old, new) {
        (Field::Kind, _, _) => format!("type {} -> {}", word(old), word(new)),
        (Field::Mode, Side::Object(a), Side::Object(b)) => format!("mode {:04o} -> {:04o}", a.mode, b.mode),
        (Field::Owner, Side::Object(a), Side::Object(b)) => {
            format!("owner {}:{} -> {}:{}", a.uid, a.gid, b.uid, b.gid)
        }
        (Field::Size, Side::Object(a), Side::Object(b)) => format!("size {} -> {}", a.size, b.size),
        (Field::Xattrs(names), _, _) => {
            let names: Vec<String> =
                names.iter().map(|n| super::text::PathText::from(n.as_slice()).to_string()).collect();
            format!("xattrs {}", names.join(" "))
        }
        _ => field.word().to_owned(),
    };
    fields.iter().map(one).collect::<Vec<_>>().join(", ")
}
