//! The node table: which nodes live, and until when.
//!
//! A node lives while something refers to it: a lookup that the kernel holds, a link of a child,
//! or a [`NodeRef`]. The count is raised only under the node's shard lock, and a node is taken out
//! of the table only there, when the count is zero; so a node that was found cannot vanish.

use super::ino::InoMap;
use super::node::{Link, Node, NodeState};
use crate::layer::FdPool;
use crate::types::{FileKind, FileName, Ino, RealId};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// A trim walks the heap, some milliseconds: worth it for a few MiB.
const FORGOTTEN_BEFORE_TRIM: u64 = 16_384;

type DirectoryAndName = (Ino, Box<[u8]>);

/// All nodes by number.
#[derive(Debug)]
pub(super) struct NodeTable {
    nodes: DashMap<Ino, Arc<Node>>,
    /// Numbers of objects whose own number is another's, by directory and name.
    aliases: Mutex<HashMap<DirectoryAndName, Ino>>,
    next_alias: AtomicU64,
    /// Numbers of copies on which no mark records whose they are: by their inode, which cannot be
    /// another's while the node lives.
    kept: DashMap<RealId, Ino>,
    /// Nodes forgotten since memory was last given back to the system.
    forgotten: AtomicU64,
    pool: Arc<FdPool>,
}

/// One reference to a node: given back on drop, or handed to the kernel as a lookup.
#[derive(Debug)]
pub struct NodeRef<'a> {
    table: &'a NodeTable,
    node: Arc<Node>,
    /// The kernel has it now.
    given: bool,
}

impl NodeTable {
    pub(super) fn new(pool: Arc<FdPool>) -> Self {
        NodeTable {
            nodes: DashMap::new(),
            aliases: Mutex::default(),
            next_alias: AtomicU64::new(0),
            kept: DashMap::new(),
            forgotten: AtomicU64::new(0),
            pool,
        }
    }

    /// Finds a node, without counting.
    pub(super) fn get(&self, ino: Ino) -> Option<Arc<Node>> {
        self.nodes.get(&ino).map(|node| node.clone())
    }

    /// All nodes of this moment.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        self.nodes.iter().map(|node| node.clone()).collect()
    }

    /// The number of nodes.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Finds a node, counting.
    pub(super) fn find(&self, ino: Ino) -> Option<NodeRef<'_>> {
        let node = self.nodes.get(&ino)?;
        node.refs.fetch_add(1, Ordering::AcqRel);
        Some(NodeRef { table: self, node: node.clone(), given: false })
    }

    /// Finds the node of a number, or makes it from `state`; gives `state` back if it was not needed.
    pub(super) fn intern(
        &self,
        ino: Ino,
        kind: FileKind,
        generation: u32,
        state: NodeState,
    ) -> (NodeRef<'_>, Option<NodeState>) {
        match self.nodes.entry(ino) {
            Entry::Occupied(entry) => {
                let node = entry.get().clone();
                node.refs.fetch_add(1, Ordering::AcqRel);
                (NodeRef { table: self, node, given: false }, Some(state))
            }
            Entry::Vacant(entry) => {
                for link in &state.links {
                    link.parent.refs.fetch_add(1, Ordering::AcqRel);
                }
                let node = Arc::new(Node {
                    ino,
                    kind,
                    refs: AtomicU64::new(1),
                    generation: AtomicU32::new(generation),
                    copy_up: Mutex::new(()),
                    outdated: AtomicBool::new(false),
                    state: RwLock::new(state),
                });
                entry.insert(node.clone());
                (NodeRef { table: self, node, given: false }, None)
            }
        }
    }

    /// The number for an object at a name whose own number is another object's.
    pub(super) fn alias(&self, parent: Ino, name: &[u8]) -> Ino {
        *self
            .aliases
            .lock()
            .entry((parent, name.into()))
            .or_insert_with(|| InoMap::alias(self.next_alias.fetch_add(1, Ordering::Relaxed)))
    }

    /// A copy of this node's object shows the node's number while the node lives.
    pub(super) fn keep_number(&self, copy: RealId, node: &Node) {
        self.kept.insert(copy, node.ino);
    }

    /// The number of a copy, if it was kept.
    pub(super) fn kept_number(&self, copy: RealId) -> Option<Ino> {
        self.kept.get(&copy).map(|ino| *ino)
    }

    /// Adds a name to a node.
    pub(super) fn add_link(&self, state: &mut NodeState, parent: &Arc<Node>, name: &FileName) {
        if !state.links.iter().any(|link| link.is(parent, name)) {
            parent.refs.fetch_add(1, Ordering::AcqRel);
            state.removed = false;
            state.links.push(Link { parent: parent.clone(), name: name.clone() });
        }
    }

    /// Takes a name from a node; answers the parent, whose count is to be given back by
    /// [`NodeTable::release`] once no lock is held.
    #[must_use]
    pub(super) fn take_link(
        &self,
        state: &mut NodeState,
        parent: &Arc<Node>,
        name: &[u8],
    ) -> Option<Arc<Node>> {
        let at = state.links.iter().position(|link| link.is(parent, name))?;
        Some(state.links.remove(at).parent)
    }

    /// Gives back references, and forgets what nothing refers to any more.
    pub(super) fn release(&self, node: &Arc<Node>, count: u64) {
        let mut trim = false;
        let mut pending = vec![(node.clone(), count)];
        while let Some((node, count)) = pending.pop() {
            if node.refs.fetch_sub(count, Ordering::AcqRel) != count {
                continue;
            }
            let unused =
                |_: &Ino, n: &Arc<Node>| Arc::ptr_eq(n, &node) && n.refs.load(Ordering::Acquire) == 0;
            if self.nodes.remove_if(&node.ino, unused).is_none() {
                continue;
            }
            self.pool.forget(node.ino, node.kind.is_dir());
            if self.forgotten.fetch_add(1, Ordering::Relaxed) + 1 == FORGOTTEN_BEFORE_TRIM {
                self.forgotten.store(0, Ordering::Relaxed);
                trim = true;
            }
            let links: SmallVec<[Link; 1]> = {
                let mut state = node.state.write();
                if let Some(upper) = &state.upper {
                    self.kept.remove_if(&upper.real, |_, ino| *ino == node.ino);
                }
                std::mem::take(&mut state.links)
            };
            for link in links {
                if InoMap::is_alias(node.ino) {
                    self.aliases.lock().remove(&(link.parent.ino, (*link.name).into()));
                }
                pending.push((link.parent, 1));
            }
        }
        if trim {
            self.nodes.shrink_to_fit();
            crate::sys::trim_heap();
        }
    }
}

impl NodeRef<'_> {
    /// The node.
    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Hands the reference to the kernel, which gives it back by a forget.
    pub fn into_kernel(mut self) {
        self.given = true;
    }
}

impl Drop for NodeRef<'_> {
    fn drop(&mut self) {
        if !self.given {
            self.table.release(&self.node, 1);
        }
    }
}
