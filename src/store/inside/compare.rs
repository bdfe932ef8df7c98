//! What differs between two objects.

use super::cat::same_data;
use super::error::Result;
use super::node::{Node, Place};
use super::tree::Tree;
use crate::layer::Object;
use crate::types::{Attr, FileKind};
use std::collections::BTreeSet;

/// One respect in which an object changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// It is of another kind.
    Kind,
    /// Data of a regular file.
    Content,
    /// Size of a regular file.
    Size,
    /// Permission bits.
    Mode,
    /// User or group.
    Owner,
    /// Time of modification.
    Mtime,
    /// Target of a symlink.
    Target,
    /// Device number.
    Device,
    /// These xattrs, sorted.
    Xattrs(Vec<Vec<u8>>),
}

impl Field {
    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Field::Kind => "type",
            Field::Content => "content",
            Field::Size => "size",
            Field::Mode => "mode",
            Field::Owner => "owner",
            Field::Mtime => "mtime",
            Field::Target => "target",
            Field::Device => "device",
            Field::Xattrs(_) => "xattrs",
        }
    }
}

/// An object of a tree.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct In<'t> {
    pub(in crate::store) tree: &'t Tree<'t>,
    pub(in crate::store) node: &'t Node,
    pub(in crate::store) path: &'t [u8],
}

/// Whether two places are one object of one layer: then nothing can differ.
fn same_place(one: &Tree<'_>, a: &Place, other: &Tree<'_>, b: &Place) -> bool {
    if a.found.real != b.found.real || a.found.marks.metacopy || b.found.marks.metacopy {
        return false;
    }
    match (one.key(a.layer), other.key(b.layer)) {
        (Some(x), Some(y)) => x == y,
        // The inode of a plain directory says it as well; the number of an entry alone does not.
        _ => !matches!((&a.object, &b.object), (Object::Entry(_), _) | (_, Object::Entry(_))),
    }
}

/// What differs, in the order of [`Field`].
pub(in crate::store) fn differences(old: In<'_>, new: In<'_>) -> Result<Vec<Field>> {
    let (a, b) = (old.node.attr(), new.node.attr());
    if same_place(old.tree, old.node.shown(), new.tree, new.node.shown()) {
        return Ok(Vec::new());
    }
    let mut fields = Vec::new();
    if a.kind != b.kind {
        fields.push(Field::Kind);
    } else {
        of_kind(old, new, &mut fields)?;
    }
    attributes(&a, &b, &mut fields);
    let names = differing_xattrs(old, new)?;
    if !names.is_empty() {
        fields.push(Field::Xattrs(names));
    }
    Ok(fields)
}

/// What only objects of one kind have.
fn of_kind(old: In<'_>, new: In<'_>, fields: &mut Vec<Field>) -> Result<()> {
    let (a, b) = (old.node.attr(), new.node.attr());
    match a.kind {
        FileKind::Regular if a.size != b.size => fields.extend([Field::Content, Field::Size]),
        FileKind::Regular if a.size > 0 => {
            let (data, other) = (old.tree.open(old.node, old.path)?, new.tree.open(new.node, new.path)?);
            if !same_data(&data, &other, new.path)? {
                fields.push(Field::Content);
            }
        }
        FileKind::Symlink
            if old.tree.read_link(old.node, old.path)? != new.tree.read_link(new.node, new.path)? =>
        {
            fields.push(Field::Target);
        }
        FileKind::CharDevice | FileKind::BlockDevice if a.rdev != b.rdev => fields.push(Field::Device),
        _ => {}
    }
    Ok(())
}

fn attributes(a: &Attr, b: &Attr, fields: &mut Vec<Field>) {
    // Links have no mode of their own.
    if a.mode != b.mode && (a.kind, b.kind) != (FileKind::Symlink, FileKind::Symlink) {
        fields.push(Field::Mode);
    }
    if (a.uid, a.gid) != (b.uid, b.gid) {
        fields.push(Field::Owner);
    }
    if a.mtime != b.mtime {
        fields.push(Field::Mtime);
    }
}

fn differing_xattrs(old: In<'_>, new: In<'_>) -> Result<Vec<Vec<u8>>> {
    let a: BTreeSet<_> = old.tree.xattrs(old.node, old.path)?.into_iter().collect();
    let b: BTreeSet<_> = new.tree.xattrs(new.node, new.path)?.into_iter().collect();
    let names: BTreeSet<_> = a.symmetric_difference(&b).map(|(name, _)| name.clone()).collect();
    Ok(names.into_iter().collect())
}
