//! The live union: carries out with syscalls what `semantics` decides.
//!
//! 1. *The kernel names inodes, layers hold paths.* A [`node::Node`] for each object the kernel
//!    knows, in a sharded [`table::NodeTable`]; the lock order is written there.
//! 2. *Upper objects move.* They are reached through a descriptor of their directory and their
//!    name in it ([`Overlay::with_upper`]), never by a path kept over a rename.
//! 3. *Every change must be all or nothing.* Each family of operations is one file, and each
//!    operation one atomic step in the upper, prepared out of sight.
//! 4. *Objects without a name live on.* A descriptor (`anchor`) keeps them.
//!
//! Deliberately elsewhere: the rules (`semantics`), the protocol (`fuse`), the layers (`layer`).

mod ahead;
mod attr;
mod copy_up;
mod create;
mod data;
mod error;
mod index;
mod ino;
mod link;
mod listing;
mod lookup;
mod node;
mod outdated;
mod readdir;
mod redirect;
mod reload;
mod remove;
mod rename;
mod stack;
mod table;
#[cfg(test)]
mod tests;
mod upper_access;
mod xattr;

pub use ahead::Ahead;
pub use create::NewObject;
pub use data::{SeekTo, WriteHow};
pub use error::{Error, OpenError, Result};
pub use lookup::Entry;
pub use outdated::{Outdated, OutdatedIn};
pub use readdir::{DirEntry, Full};
pub use reload::Known;
pub use rename::RenameMode;
pub use table::NodeRef;

use crate::config::{RedirectDir, Settings};
use crate::layer::{FdPool, Layer, Upper};
use crate::sys::selinux_is_enabled;
use crate::types::{Caller, FsStats, IdMap, Ino};
use node::{Body, DirBody, Node, NodeState, Place};
use parking_lot::RwLock;
use smallvec::SmallVec;
use stack::Stack;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;
use table::NodeTable;

/// A union of layers, ready for requests from any thread.
#[derive(Debug)]
pub struct Overlay {
    stack: Stack,
    nodes: NodeTable,
    /// What waits for its attributes to be given to the kernel anew.
    waiting: outdated::Waiting,
    pool: Arc<FdPool>,
    /// Held shared while the path of an upper directory is walked, and alone while a directory moves.
    renaming: RwLock<()>,
    redirect_dir: RedirectDir,
    metacopy: bool,
    durable: bool,
    read_only: bool,
    /// The kernel owns size and modification time of files it writes.
    writeback: bool,
    /// Counts how often the lowers were forgotten.
    generation: AtomicU32,
    /// How long what was read of the lowers is trusted; `None`: for ever.
    trust: Option<Duration>,
    /// What is shown for stored owners and groups.
    users: IdMap,
    groups: IdMap,
    /// Objects have labels of SELinux here.
    selinux: bool,
}

/// Says what the upper's filesystem lacks: in one line what is worked round, in another what is lost.
fn report(upper: &Upper) {
    let features = upper.features();
    match features.lacks().join(", ") {
        lacks if lacks.is_empty() => log::info!("upperdir: its filesystem has all that is used"),
        lacks => log::info!("upperdir: {lacks}"),
    }
    if upper.marks().is_none() {
        log::warn!(
            "upperdir takes no xattrs: directories of lowers cannot be renamed, chmod and chown copy data, \
             hard links are not kept"
        );
    }
}

impl Overlay {
    /// Opens the layers of a mount that will be at `mount_point`. `cached` has the layers that the
    /// settings name by their digest, in that order; `file_limit` is the number of files the process
    /// may have open.
    pub fn open(
        settings: &Settings,
        cached: Vec<Box<dyn Layer>>,
        mount_point: &Path,
        file_limit: u64,
    ) -> std::result::Result<Self, OpenError> {
        let pool = Arc::new(FdPool::new(file_limit));
        let stack = Stack::open(settings, cached, mount_point, &pool)?;
        let marks = stack.upper.as_ref().is_some_and(|u| u.marks().is_some());
        if let Some(upper) = &stack.upper {
            report(upper);
        }
        let overlay = Overlay {
            nodes: NodeTable::new(pool.clone()),
            waiting: outdated::Waiting::default(),
            pool,
            renaming: RwLock::new(()),
            redirect_dir: settings.redirect_dir,
            // A metacopied file needs a redirect mark when it is renamed.
            metacopy: settings.metacopy && marks && settings.redirect_dir == RedirectDir::On,
            durable: settings.durable,
            writeback: settings.writeback,
            generation: AtomicU32::new(0),
            trust: settings.cache,
            users: settings.users.clone(),
            groups: settings.groups.clone(),
            selinux: selinux_is_enabled(),
            read_only: settings.read_only || settings.upper.is_none(),
            stack,
        };
        overlay.make_root();
        Ok(overlay)
    }

    /// The root is never forgotten: its reference is given to the kernel at once.
    fn make_root(&self) {
        let (lowers, described_by) = self.root_places();
        let mut dir = DirBody { lowers: lowers.into(), described_by, ..DirBody::default() };
        let upper = self.stack.upper.as_ref().and_then(|upper| self.root_upper_part(upper, &mut dir));
        let state = NodeState {
            links: SmallVec::new(),
            upper,
            anchor: None,
            removed: false,
            body: Body::Dir(Box::new(dir)),
        };
        let (root, _) = self.nodes.intern(Ino::ROOT, crate::types::FileKind::Directory, 0, state);
        root.into_kernel();
    }

    /// The roots of the lowers, down to the first opaque one, and which of them has the attributes.
    fn root_places(&self) -> (Vec<Place>, u16) {
        let mut places = Vec::new();
        let mut described_by = None;
        for layer in self.stack.indices() {
            let object = self.stack.layer(layer).root();
            let found = self.stack.layer(layer).look(&object);
            places.push(Place { layer, object });
            if !found.as_ref().is_ok_and(|found| found.implied) {
                described_by = described_by.or(Some(layer.0));
            }
            if found.is_ok_and(|found| found.marks.opaque) {
                break;
            }
        }
        (places, described_by.unwrap_or(0))
    }

    /// Whether changes are refused.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether owners and modes are in xattrs, so that ACLs, which belong to the modes of inodes, are not
    /// offered.
    pub fn keeps_owners(&self) -> bool {
        self.stack.keeps_owners()
    }

    /// EROFS where changes are refused.
    fn writable(&self) -> Result<()> {
        if self.read_only { Err(Error::ReadOnly) } else { Ok(()) }
    }

    /// A caller with the ids that its files are stored with.
    fn stored_as(&self, caller: Caller) -> Caller {
        Caller { uid: self.users.stored(caller.uid), gid: self.groups.stored(caller.gid), ..caller }
    }

    /// The node of an inode that the kernel knows.
    fn node(&self, ino: Ino) -> Result<Arc<Node>> {
        self.nodes.get(ino).ok_or(Error::UnknownInode)
    }

    /// The node of a directory that the kernel knows.
    fn directory(&self, ino: Ino) -> Result<Arc<Node>> {
        let node = self.node(ino)?;
        if node.kind.is_dir() { Ok(node) } else { Err(Error::NotDirectory) }
    }

    /// The kernel gives back lookups.
    pub fn forget(&self, ino: Ino, lookups: u64) {
        if ino != Ino::ROOT
            && let Some(node) = self.nodes.get(ino)
        {
            self.nodes.release(&node, lookups);
        }
    }

    /// Figures of the filesystem (rule A9).
    pub fn statistics(&self) -> Result<FsStats> {
        self.stack.statistics()
    }

    /// Leaves nothing in workdir when the mount has ended.
    pub fn close(&self) {
        if let Some(upper) = &self.stack.upper {
            upper.close();
        }
    }

    /// The number of objects that are remembered.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }
}
