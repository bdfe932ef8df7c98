//! The tree that the entries make, the last one of a name winning.
//!
//! 1. *Names come and go:* a file over a directory drops what was in it. Nodes are never reused, so
//!    that the children of a dropped directory need not be looked for: no path leads to them.
//! 2. *Whiteouts apply to the layers below only*, whether they come before or after a name of their
//!    own layer. They are nodes in a space of names of their own.
//! 3. *Millions of names must fit in memory.* A node has 20 bytes and a slot in one hash table; its
//!    attributes are kept once for all names of a file, and not at all for directories that no
//!    entry describes.
//!
//! Links to later entries are settled in `links`.

use super::path::clean;
use super::walk::{Entry, EntryKind};
use super::{PATH_MAX, Problem};
use crate::layer::Extent;
use crate::semantics::names::{NAME_MAX, NameClass, WHITEOUT_PREFIX, classify_name};
use crate::types::{DeviceNumber, FileKind, Timestamp};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::hash::BuildHasher;
use std::sync::Arc;

/// The number of the root.
pub(in crate::store) const ROOT: u32 = 0;
/// The inode of directories that no entry describes.
pub(in crate::store) const IMPLIED: u32 = u32::MAX;
/// The inode of hard links whose target is not known yet.
pub(super) const PENDING: u32 = u32::MAX - 1;
/// The set of what has no xattrs.
pub(in crate::store) const NO_XATTRS: u32 = u32::MAX;
/// The inode of whiteouts.
pub(in crate::store) const WHITEOUT: u32 = u32::MAX - 2;
/// More nodes than any layer has; keeps what a small hostile archive can make of memory in bounds.
const MOST_NODES: usize = 1 << 26;
/// As many as the kernel follows.
const MOST_SYMLINKS: u32 = 40;
/// Begins the names of what AUFS keeps beside the files.
const AUFS: &[u8] = b".wh..wh.";

/// One name.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Node {
    pub(in crate::store) parent: u32,
    pub(in crate::store) inode: u32,
    name_at: u32,
    name_len: u8,
    /// It hides the directory in the layers below.
    pub(in crate::store) opaque: bool,
    /// Another node has its name now.
    pub(in crate::store) replaced: bool,
}

/// What all names of a file share.
#[derive(Clone, Debug)]
pub(in crate::store) struct Inode {
    pub(in crate::store) body: Body,
    pub(in crate::store) mode: u16,
    pub(in crate::store) uid: u32,
    pub(in crate::store) gid: u32,
    pub(in crate::store) mtime: Timestamp,
    pub(in crate::store) atime: Timestamp,
    /// Their number in the tree's sets; [`NO_XATTRS`] for none.
    pub(in crate::store) xattrs: u32,
}

/// xattrs by name, sorted. Most files of a layer have none or the same, so they are kept once.
pub(in crate::store) type XattrSet = [(Vec<u8>, Vec<u8>)];

/// What an inode is.
#[derive(Clone, Debug)]
pub(in crate::store) enum Body {
    /// A regular file whose data is in one piece.
    Plain { size: u64, stored: u64 },
    /// A regular file with holes; its pieces are in `extents` of the tree.
    Sparse { size: u64, first: u32, count: u32 },
    /// A directory.
    Directory,
    /// A symlink.
    Symlink { target: Box<[u8]> },
    /// A device.
    Device(FileKind, DeviceNumber),
    /// A named pipe.
    Fifo,
}

/// A hard link to something that no earlier entry has.
pub(super) struct PendingLink {
    pub(super) node: u32,
    pub(super) target: Vec<u8>,
    /// The entry, for messages.
    pub(super) entry: Vec<u8>,
    pub(super) at: u64,
}

/// The tree of a layer.
pub(in crate::store) struct Tree {
    pub(in crate::store) nodes: Vec<Node>,
    pub(in crate::store) inodes: Vec<Inode>,
    pub(in crate::store) extents: Vec<Extent>,
    pub(super) pending: Vec<PendingLink>,
    names: Vec<u8>,
    /// Nodes by parent and name, whiteouts and others apart.
    lookup: HashTable<u32>,
    hasher: DefaultHashBuilder,
    pub(in crate::store) xattr_sets: Vec<Arc<XattrSet>>,
    xattr_numbers: HashMap<Arc<XattrSet>, u32>,
    /// Files that AUFS kept aside; only hard links lead to them.
    aside: HashMap<Vec<u8>, u32>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let root =
            Node { parent: ROOT, inode: IMPLIED, name_at: 0, name_len: 0, opaque: false, replaced: false };
        Tree {
            nodes: vec![root],
            inodes: Vec::new(),
            extents: Vec::new(),
            pending: Vec::new(),
            names: Vec::new(),
            lookup: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            xattr_sets: Vec::new(),
            xattr_numbers: HashMap::new(),
            aside: HashMap::new(),
        }
    }

    /// Takes in an entry whose header is at `at`.
    pub(super) fn add(&mut self, entry: Entry, at: u64) -> Result<(), Problem> {
        let path = entry.path.clone();
        let components = clean(&path, "name")?;
        let Some((name, parents)) = components.split_last() else {
            return self.add_root(&path, entry);
        };
        let name_class = classify_name(name);
        let aufs = |name: &&[u8]| name.starts_with(AUFS);
        if parents.iter().any(aufs) || (aufs(name) && name_class != NameClass::Opaque) {
            return self.set_aside(&components, entry);
        }
        if parents.iter().any(|parent| parent.starts_with(WHITEOUT_PREFIX)) {
            return Err(Problem::InsideWhiteout);
        }
        match name_class {
            NameClass::Plain => {
                let parent = self.make_parents(parents)?;
                self.put(parent, name, entry, at)
            }
            NameClass::Hides(b"." | b"..") | NameClass::Reserved => Err(Problem::WhiteoutOfNothing),
            // What is no directory hides all below it by itself.
            _ if self.is_in_file(parents)? => Ok(()),
            NameClass::Hides(hidden) => {
                let parent = self.make_parents(parents)?;
                match self.child(parent, hidden, true) {
                    Some(_) => Ok(()),
                    None => self.insert(parent, hidden, WHITEOUT).map(drop),
                }
            }
            NameClass::Opaque => {
                let parent = self.make_parents(parents)?;
                self.nodes[parent as usize].opaque = true;
                Ok(())
            }
        }
    }

    fn add_root(&mut self, path: &[u8], entry: Entry) -> Result<(), Problem> {
        match entry.kind {
            EntryKind::Directory if !path.is_empty() => {
                self.nodes[ROOT as usize].inode = self.add_inode(entry, Body::Directory)?;
                Ok(())
            }
            _ if path.is_empty() => Err(Problem::NoName),
            _ => Err(Problem::RootNotDirectory),
        }
    }

    /// Keeps a file of AUFS for the hard links to it; everything else of AUFS is of no use.
    fn set_aside(&mut self, components: &[&[u8]], entry: Entry) -> Result<(), Problem> {
        let path = components.join(&b'/');
        if matches!(entry.kind, EntryKind::Regular { .. }) {
            let body = self.body(&entry)?;
            let inode = self.add_inode(entry, body)?;
            self.aside.insert(path, inode);
        }
        Ok(())
    }

    /// Puts an entry at a name.
    fn put(&mut self, parent: u32, name: &[u8], mut entry: Entry, at: u64) -> Result<(), Problem> {
        let there = self.child(parent, name, false);
        if let EntryKind::HardLink { target } = &mut entry.kind {
            let target = std::mem::take(target);
            let inode = self.inode_of(&target)?;
            if there.is_some_and(|node| Some(self.nodes[node as usize].inode) == inode) {
                return Ok(());
            }
            let node = self.replace(there, parent, name, inode.unwrap_or(PENDING))?;
            if inode.is_none() {
                self.pending.push(PendingLink { node, target, entry: entry.path, at });
            }
            return Ok(());
        }
        let body = self.body(&entry)?;
        let directory = matches!(body, Body::Directory);
        let inode = self.add_inode(entry, body)?;
        match there {
            // A directory that is described again keeps what is in it.
            Some(node) if directory && self.is_dir(node) => self.nodes[node as usize].inode = inode,
            _ => {
                let node = self.replace(there, parent, name, inode)?;
                // What was there hid the directory below, and extracting it removed that.
                self.nodes[node as usize].opaque = directory && there.is_some();
            }
        }
        Ok(())
    }

    fn body(&mut self, entry: &Entry) -> Result<Body, Problem> {
        Ok(match &entry.kind {
            EntryKind::Regular { size, extents } if is_plain(*size, extents) => {
                Body::Plain { size: *size, stored: extents.first().map_or(0, |extent| extent.stored) }
            }
            EntryKind::Regular { size, extents } => {
                let first = u32::try_from(self.extents.len()).map_err(|_| Problem::TooMany("pieces"))?;
                let count = u32::try_from(extents.len()).map_err(|_| Problem::TooMany("pieces"))?;
                self.extents.extend_from_slice(extents);
                Body::Sparse { size: *size, first, count }
            }
            EntryKind::Symlink { target } if target.is_empty() => return Err(Problem::NoTarget),
            EntryKind::Symlink { target } if target.contains(&0) => return Err(Problem::Nul("link target")),
            // The kernel takes a path with its ending NUL.
            EntryKind::Symlink { target } if target.len() >= PATH_MAX => {
                let (len, most) = (target.len() as u64, PATH_MAX as u64 - 1);
                return Err(Problem::TooLong { what: "link target", len, most });
            }
            EntryKind::Symlink { target } => Body::Symlink { target: target.as_slice().into() },
            EntryKind::Directory | EntryKind::HardLink { .. } => Body::Directory,
            EntryKind::CharDevice(rdev) => Body::Device(FileKind::CharDevice, *rdev),
            EntryKind::BlockDevice(rdev) => Body::Device(FileKind::BlockDevice, *rdev),
            EntryKind::Fifo => Body::Fifo,
        })
    }

    fn add_inode(&mut self, entry: Entry, body: Body) -> Result<u32, Problem> {
        let xattrs = if entry.xattrs.is_empty() { NO_XATTRS } else { self.xattr_set(entry.xattrs)? };
        let number = u32::try_from(self.inodes.len()).ok().filter(|number| *number < WHITEOUT);
        let number = number.ok_or(Problem::TooMany("entries"))?;
        self.inodes.push(Inode {
            body,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            atime: entry.atime,
            xattrs,
        });
        Ok(number)
    }

    fn xattr_set(&mut self, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Result<u32, Problem> {
        let set: Arc<XattrSet> = xattrs.into();
        if let Some(number) = self.xattr_numbers.get(&set) {
            return Ok(*number);
        }
        let number = u32::try_from(self.xattr_sets.len()).map_err(|_| Problem::TooMany("xattrs"))?;
        self.xattr_sets.push(set.clone());
        self.xattr_numbers.insert(set, number);
        Ok(number)
    }

    /// Gives back what only finding names needs.
    pub(in crate::store) fn forget_lookups(&mut self) {
        self.lookup = HashTable::new();
        self.xattr_numbers = HashMap::new();
        self.aside = HashMap::new();
        self.pending = Vec::new();
    }

    /// The inode that the target of a hard link has now; `None` if no entry had it yet.
    fn inode_of(&mut self, target: &[u8]) -> Result<Option<u32>, Problem> {
        match self.node_of(target)? {
            Target::Inode(inode) => Ok(Some(inode)),
            Target::Node(node) if self.is_dir(node) => Err(Problem::LinkToDirectory(target.into())),
            Target::Node(node) => Ok(Some(self.nodes[node as usize].inode).filter(|inode| *inode != PENDING)),
            Target::Missing => Ok(None),
        }
    }

    /// Where the target of a hard link leads.
    pub(super) fn node_of(&mut self, target: &[u8]) -> Result<Target, Problem> {
        let components = clean(target, "link target")?;
        let Some((name, parents)) = components.split_last() else {
            return Ok(Target::Node(ROOT));
        };
        if components[0].starts_with(AUFS) {
            let inode = self.aside.get(&components.join(&b'/'));
            return Ok(inode.map_or(Target::Missing, |inode| Target::Inode(*inode)));
        }
        let found = match self.walk(ROOT, parents, MOST_SYMLINKS, Missing::Stays)? {
            Reached::Dir(parent) => self.child(parent, name, false),
            Reached::Nothing | Reached::File => None,
        };
        Ok(found.map_or(Target::Missing, Target::Node))
    }

    /// Whether a path leads through something that is no directory.
    fn is_in_file(&mut self, path: &[&[u8]]) -> Result<bool, Problem> {
        Ok(matches!(self.walk(ROOT, path, MOST_SYMLINKS, Missing::Stays)?, Reached::File))
    }

    /// The directory of a path; what is missing is made.
    fn make_parents(&mut self, path: &[&[u8]]) -> Result<u32, Problem> {
        match self.walk(ROOT, path, MOST_SYMLINKS, Missing::IsMade)? {
            Reached::Dir(dir) => Ok(dir),
            Reached::File | Reached::Nothing => Err(Problem::ParentNotDirectory),
        }
    }

    /// Follows a path, and the symlinks in it as if the layer's root were the root of all.
    fn walk(&mut self, from: u32, path: &[&[u8]], left: u32, missing: Missing) -> Result<Reached, Problem> {
        let mut at = from;
        for (done, component) in path.iter().enumerate() {
            match *component {
                b"" | b"." => continue,
                b".." => {
                    at = self.nodes[at as usize].parent;
                    continue;
                }
                name if name.len() > NAME_MAX => return Err(Problem::NameTooLong("parent")),
                _ => {}
            }
            let Some(node) = self.child(at, component, false) else {
                match missing {
                    Missing::Stays => return Ok(Reached::Nothing),
                    Missing::IsMade if component.starts_with(WHITEOUT_PREFIX) => {
                        return Err(Problem::InsideWhiteout);
                    }
                    Missing::IsMade => at = self.insert(at, component, IMPLIED)?,
                }
                continue;
            };
            match self.inode(node).map(|inode| &inode.body) {
                _ if self.is_dir(node) => at = node,
                Some(Body::Symlink { target }) => {
                    let left = left.checked_sub(1).ok_or(Problem::SymlinkLoop)?;
                    let target = target.clone();
                    let from = if target.starts_with(b"/") { ROOT } else { at };
                    let rest = path[done + 1..].iter().copied();
                    let path: Vec<&[u8]> = target.split(|b| *b == b'/').chain(rest).collect();
                    return self.walk(from, &path, left, missing);
                }
                _ => return Ok(Reached::File),
            }
        }
        Ok(Reached::Dir(at))
    }

    fn inode(&self, node: u32) -> Option<&Inode> {
        self.inodes.get(self.nodes[node as usize].inode as usize)
    }

    /// Whether a node is a directory.
    pub(in crate::store) fn is_dir(&self, node: u32) -> bool {
        self.nodes[node as usize].inode == IMPLIED
            || self.inode(node).is_some_and(|inode| matches!(inode.body, Body::Directory))
    }

    /// The name of a node.
    pub(in crate::store) fn name(&self, node: u32) -> &[u8] {
        let node = &self.nodes[node as usize];
        &self.names[node.name_at as usize..][..usize::from(node.name_len)]
    }

    fn hash(&self, parent: u32, name: &[u8], whiteout: bool) -> u64 {
        self.hasher.hash_one((parent, whiteout, name))
    }

    /// A child by its name, or the whiteout of that name.
    pub(in crate::store) fn child(&self, parent: u32, name: &[u8], whiteout: bool) -> Option<u32> {
        let same = |node: &u32| {
            let there = &self.nodes[*node as usize];
            there.parent == parent && (there.inode == WHITEOUT) == whiteout && self.name(*node) == name
        };
        self.lookup.find(self.hash(parent, name, whiteout), same).copied()
    }

    /// Makes a node at a name, in place of another one if there is one.
    fn replace(&mut self, there: Option<u32>, parent: u32, name: &[u8], inode: u32) -> Result<u32, Problem> {
        let Some(old) = there else {
            return self.insert(parent, name, inode);
        };
        let node = self.push(Node { inode, opaque: false, ..self.nodes[old as usize] })?;
        let hash = self.hash(parent, name, false);
        if let Some(slot) = self.lookup.find_mut(hash, |node| *node == old) {
            *slot = node;
        }
        self.nodes[old as usize].replaced = true;
        Ok(node)
    }

    fn insert(&mut self, parent: u32, name: &[u8], inode: u32) -> Result<u32, Problem> {
        let name_at = u32::try_from(self.names.len()).map_err(|_| Problem::TooMany("bytes of names"))?;
        let name_len = u8::try_from(name.len()).map_err(|_| Problem::NameTooLong("name"))?;
        self.names.extend_from_slice(name);
        let node = self.push(Node { parent, inode, name_at, name_len, opaque: false, replaced: false })?;
        let hash = self.hash(parent, name, inode == WHITEOUT);
        let Tree { nodes, names, hasher, lookup, .. } = self;
        lookup.insert_unique(hash, node, |node| {
            let there = &nodes[*node as usize];
            let name = &names[there.name_at as usize..][..usize::from(there.name_len)];
            hasher.hash_one((there.parent, there.inode == WHITEOUT, name))
        });
        Ok(node)
    }

    fn push(&mut self, node: Node) -> Result<u32, Problem> {
        let number = u32::try_from(self.nodes.len()).ok().filter(|_| self.nodes.len() < MOST_NODES);
        self.nodes.push(node);
        number.ok_or(Problem::TooMany("names"))
    }
}

fn is_plain(size: u64, extents: &[Extent]) -> bool {
    match extents {
        [] => size == 0,
        [all] => all.at == 0 && all.len == size,
        _ => false,
    }
}

/// Where a target of a hard link leads.
pub(super) enum Target {
    /// To a node.
    Node(u32),
    /// To an inode without a name.
    Inode(u32),
    /// Nowhere.
    Missing,
}

/// What happens to what a path names and nobody has made.
#[derive(Clone, Copy)]
enum Missing {
    Stays,
    IsMade,
}

/// Where a path leads.
enum Reached {
    /// To a directory.
    Dir(u32),
    /// To or through something that is no directory.
    File,
    /// To or through something that is missing.
    Nothing,
}
