//! One object of the merged view: the places in the layers that make it up.

use crate::layer::{Found, Object};
use crate::types::{Attr, FileKind, RealId};
use smallvec::SmallVec;

/// What one layer gives of an object.
#[derive(Clone, Debug)]
pub struct Place {
    /// The layer, 0 the topmost.
    pub layer: usize,
    /// Its object there.
    pub object: Object,
    /// What the layer says of it.
    pub found: Box<Found>,
}

/// An object of the merged view.
#[derive(Clone, Debug)]
pub struct Node {
    first: Place,
    /// Further places, topmost first: of a merged directory, or of a file whose data is further down.
    rest: SmallVec<[Place; 1]>,
}

/// What tells one object of a tree from another: names with the same are hard links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    /// The layer, 0 the topmost.
    pub layer: usize,
    /// Its inode in the layer.
    pub real: RealId,
}

/// What stands at a name.
#[derive(Clone, Debug)]
pub enum Child {
    /// An object.
    Object(Node),
    /// A whiteout: only trees of one layer alone show it.
    Whiteout,
}

impl Child {
    /// The object, if it is one.
    pub fn node(&self) -> Option<&Node> {
        match self {
            Child::Object(node) => Some(node),
            Child::Whiteout => None,
        }
    }
}

impl Node {
    /// The object at these places, topmost first; `None` if there are none.
    pub(in crate::store) fn new(places: impl IntoIterator<Item = Place>) -> Option<Node> {
        let mut places = places.into_iter();
        let first = places.next()?;
        Some(Node { first, rest: places.collect() })
    }

    /// All places, topmost first.
    pub fn places(&self) -> impl DoubleEndedIterator<Item = &Place> + Clone {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The topmost place.
    pub fn top(&self) -> &Place {
        &self.first
    }

    /// The place whose attributes and xattrs are shown: the topmost that has any of its own.
    pub fn shown(&self) -> &Place {
        self.places().find(|place| !place.found.implied).unwrap_or(&self.first)
    }

    /// Whether no layer says what its attributes are.
    pub fn is_implied(&self) -> bool {
        self.places().all(|place| place.found.implied)
    }

    /// The attributes shown.
    pub fn attr(&self) -> Attr {
        let attr = self.shown().found.attr;
        match attr.kind {
            // As the kernel shows it: names below are not counted over layers (rule I4).
            FileKind::Directory if !self.rest.is_empty() => Attr { nlink: 1, ..attr },
            _ => attr,
        }
    }

    /// Its kind.
    pub fn kind(&self) -> FileKind {
        self.first.found.attr.kind
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind().is_dir()
    }

    /// Whether its topmost part hides the layers below.
    pub fn is_opaque(&self) -> bool {
        self.is_dir() && self.first.found.marks.opaque
    }

    /// What its hard links share.
    pub fn link_id(&self) -> LinkId {
        LinkId { layer: self.first.layer, real: self.first.found.real }
    }

    /// The same, if it may have more than one name.
    pub fn shared_link_id(&self) -> Option<LinkId> {
        (!self.is_dir() && self.first.found.attr.nlink > 1).then(|| self.link_id())
    }
}
