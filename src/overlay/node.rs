//! The live tree: one [`Node`] for each object that the kernel knows.
//!
//! Lock order, outermost first:
//!
//! 1. a node's `copy_up` lock, and then those of its ancestors, upwards;
//! 2. the rename lock of the overlay;
//! 3. `state`: of a parent before that of its child; of two directories of which neither is above
//!    the other, the lower [`Ino`] first;
//! 4. a shard of the node table.
//!
//! The list of what waits for its attributes ([`super::outdated`]) comes before all of these.
//!
//! No lock is held across a copy of data but that node's `copy_up` lock, and none across a reply.

use super::error::{Error, Result};
use super::listing::Listing;
use crate::layer::Object;
use crate::sys::OwnedFd;
use crate::types::{DeviceNumber, FileKind, FileName, Ino, LayerIdx, RealId};
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Instant;

/// An object of the mount.
#[derive(Debug)]
pub(super) struct Node {
    /// Its shown number.
    pub(super) ino: Ino,
    /// Its kind; never changes.
    pub(super) kind: FileKind,
    /// Lookups that the kernel holds, plus links of children, plus [`super::table::NodeRef`]s.
    pub(super) refs: AtomicU64,
    /// When its lower parts were found, by the overlay's count.
    pub(super) generation: AtomicU32,
    /// Held while the object is copied up; two threads must not copy it at once.
    pub(super) copy_up: Mutex<()>,
    /// It waits for its attributes to be given to the kernel anew.
    pub(super) outdated: AtomicBool,
    /// The rest.
    pub(super) state: RwLock<NodeState>,
}

/// A name of an object.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) parent: Arc<Node>,
    pub(super) name: FileName,
}

impl Link {
    pub(super) fn is(&self, parent: &Arc<Node>, name: &[u8]) -> bool {
        Arc::ptr_eq(&self.parent, parent) && *self.name == *name
    }
}

/// An object in a lower layer.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) layer: LayerIdx,
    pub(super) object: Object,
}

/// What may change of a node.
#[derive(Debug)]
pub(super) struct NodeState {
    /// The names that are known; a file may have more. Empty for the root and after removal.
    pub(super) links: SmallVec<[Link; 1]>,
    /// Its part in the upper.
    pub(super) upper: Option<UpperPart>,
    /// Keeps an upper object that lost its name.
    pub(super) anchor: Option<Arc<OwnedFd>>,
    /// Whether all known names were removed.
    pub(super) removed: bool,
    /// What directories have, and what others have.
    pub(super) body: Body,
}

/// A node's object in the upper.
#[derive(Clone, Debug)]
pub(super) struct UpperPart {
    /// Its identity.
    pub(super) real: RealId,
    /// Its data is still in a lower.
    pub(super) metacopy: bool,
    /// Its index entry, if it is a copy of a lower file with several names.
    pub(super) index: Option<Box<IndexEntry>>,
}

/// A file that has an entry in the index.
#[derive(Clone, Debug)]
pub(super) struct IndexEntry {
    /// The entry's name.
    pub(super) name: Vec<u8>,
    /// To be added to the real number of names to get the shown one.
    pub(super) nlink_delta: i64,
    /// The mark on disk says just that; else it counts from the lower, as a link on the way needs it.
    pub(super) settled: bool,
}

/// What depends on the kind.
#[derive(Debug)]
pub(super) enum Body {
    /// Not a directory.
    Leaf(LeafBody),
    /// A directory.
    Dir(Box<DirBody>),
}

/// What a node has that is not a directory.
#[derive(Debug, Default)]
pub(super) struct LeafBody {
    /// What is shown if there is no upper part.
    pub(super) lower: Option<(Place, RealId)>,
    /// The lower object has several names.
    pub(super) several_names: bool,
    /// What few have.
    pub(super) rare: Option<Box<RareBody>>,
}

/// What few nodes have that are no directories.
#[derive(Debug)]
pub(super) struct RareBody {
    /// Where the data is, if not in the upper part nor in the lower object.
    pub(super) data: Option<Place>,
    /// The redirect mark of its upper part, if that is a metacopy.
    pub(super) redirect: Option<Box<[u8]>>,
    /// Names of a lower object that whiteouts hide, where no index keeps count.
    pub(super) hidden_names: u32,
    /// It is a metacopy for which no layer has the data.
    pub(super) data_missing: bool,
    /// The device that it stands for, being an empty file.
    pub(super) device: Option<(FileKind, DeviceNumber)>,
}

impl RareBody {
    /// Nothing of it.
    pub(super) const NONE: Self =
        RareBody { data: None, redirect: None, hidden_names: 0, data_missing: false, device: None };

    /// Kept only if it says something.
    pub(super) fn kept(self) -> Option<Box<Self>> {
        let RareBody { data, redirect, hidden_names, data_missing, device } = &self;
        let says =
            data.is_some() || redirect.is_some() || *hidden_names > 0 || *data_missing || device.is_some();
        says.then(|| Box::new(self))
    }
}

impl LeafBody {
    /// The rare part.
    pub(super) fn rare(&self) -> &RareBody {
        static NONE: RareBody = RareBody::NONE;
        self.rare.as_deref().unwrap_or(&NONE)
    }

    /// The rare part, to change it.
    pub(super) fn rare_mut(&mut self) -> &mut RareBody {
        self.rare.get_or_insert_with(|| Box::new(RareBody::NONE))
    }
}

/// What a directory has.
#[derive(Debug, Default)]
pub(super) struct DirBody {
    /// Its parts in the lowers, topmost first.
    pub(super) lowers: SmallVec<[Place; 1]>,
    /// Which of them has the attributes: the topmost whose layer does not merely imply it.
    pub(super) described_by: u16,
    /// The redirect mark of its upper part.
    pub(super) redirect: Option<Box<[u8]>>,
    /// A redirect mark of it is no path, so that what is in it is not known.
    pub(super) misled: bool,
    /// Its upper part is marked impure.
    pub(super) impure: bool,
    /// Its upper part is marked opaque.
    pub(super) opaque: bool,
    /// Empty files of its upper part that are marked so are whiteouts.
    pub(super) xattr_whiteouts: bool,
    /// All its names, once they were read.
    pub(super) listing: Option<Listing>,
    /// When it was read, if that matters (`timeout=`).
    pub(super) listed_at: Option<Instant>,
    /// The default ACL of its upper part, once it was read.
    pub(super) default_acl: Option<Option<Box<[u8]>>>,
}

impl NodeState {
    /// The directory's part, if what is in it can be known.
    pub(super) fn known_dir(&self) -> Result<&DirBody> {
        match self.dir() {
            None => Err(Error::NotDirectory),
            Some(dir) if dir.misled => Err(Error::BadRedirect),
            Some(dir) => Ok(dir),
        }
    }

    /// The directory's part; `None` for other kinds.
    pub(super) fn dir(&self) -> Option<&DirBody> {
        match &self.body {
            Body::Dir(dir) => Some(dir),
            Body::Leaf(_) => None,
        }
    }

    /// The directory's part, to change it.
    pub(super) fn dir_mut(&mut self) -> Option<&mut DirBody> {
        match &mut self.body {
            Body::Dir(dir) => Some(dir),
            Body::Leaf(_) => None,
        }
    }

    /// The leaf's part; `None` for directories.
    pub(super) fn leaf(&self) -> Option<&LeafBody> {
        match &self.body {
            Body::Leaf(leaf) => Some(leaf),
            Body::Dir(_) => None,
        }
    }

    /// The leaf's part, to change it.
    pub(super) fn leaf_mut(&mut self) -> Option<&mut LeafBody> {
        match &mut self.body {
            Body::Leaf(leaf) => Some(leaf),
            Body::Dir(_) => None,
        }
    }

    /// The device that an empty file stands for.
    pub(super) fn device(&self) -> Option<(FileKind, DeviceNumber)> {
        self.leaf().and_then(|leaf| leaf.rare().device)
    }

    /// The place whose attributes and xattrs are shown if there is no upper part.
    pub(super) fn lower(&self) -> Option<&Place> {
        match &self.body {
            Body::Leaf(leaf) => leaf.lower.as_ref().map(|(place, _)| place),
            Body::Dir(dir) => dir.lowers.get(usize::from(dir.described_by)).or(dir.lowers.first()),
        }
    }

    /// The place that has the data, if that is not the upper part.
    pub(super) fn lower_data(&self) -> Option<&Place> {
        let leaf = self.leaf()?;
        leaf.rare().data.as_ref().or(leaf.lower.as_ref().map(|(place, _)| place))
    }

    /// Whether the data, or for other kinds all, is in the upper.
    pub(super) fn is_whole_in_upper(&self) -> bool {
        self.upper.as_ref().is_some_and(|upper| !upper.metacopy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one for each object that the kernel knows.
    #[test]
    fn a_node_is_small() {
        assert_eq!((size_of::<Link>(), size_of::<LeafBody>(), size_of::<Node>()), (16, 64, 168));
    }
}
