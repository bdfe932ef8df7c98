//! One layer: what it says of a name, and how its objects are read.
//!
//! 1. *Layers differ in kind.* [`Layer`] is what the union asks of a read-only one; a plain
//!    directory is [`DirLayer`]. The writable one is [`Upper`], and its objects are reached through
//!    the live tree, since they move.
//! 2. *Marks come in dialects.* [`marks`] reads all and gives one [`Marks`].
//! 3. *A half-made object must never show.* [`Staged`] is built in workdir, published by one atomic
//!    step, and removed on drop otherwise.
//! 4. *Descriptors are few.* [`FdPool`] keeps a bounded number open.
//! 5. *Data is not always a file of its own.* [`Contents`] reads it wherever it is.
//!
//! Deliberately elsewhere: how layers stack up (`overlay`), what marks mean (`semantics`).

mod apart;
mod contents;
mod dir;
mod marks;
mod origin;
mod owners;
mod pool;
mod probe;
mod staged;
mod upper;
mod whiteout;
mod workdir;

use dir::list_directory;

pub use contents::{Contents, Extent, Ranges};
pub use dir::{DirLayer, LowerDir};
pub use marks::{Marks, NlinkMark, Reading, find, probe_name, read_marks, write_mark};
pub use origin::Origin;
pub use owners::NewOwners;
pub use pool::{FdKey, FdPool};
pub use probe::Features;
pub use staged::{Staged, StagedCopy};
pub use upper::{Upper, UpperError, UpperUse};

use crate::semantics::owners::OwnerXattr;
use crate::sys::Result;
use crate::types::{Attr, FileKind, FileName, FsStats, RealId};
use std::sync::Arc;

/// An object that a layer has, with its marks.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its identity in the backing filesystem.
    pub real: RealId,
    /// Its attributes; of a device kept as an empty file, those of the device.
    pub attr: Attr,
    /// Its marks.
    pub marks: Marks,
    /// A directory that the layer has only because of what is in it: the attributes and xattrs of the
    /// directories below it count instead, where there are any.
    pub implied: bool,
}

/// What one layer says of one name.
#[derive(Clone, Debug)]
pub enum Finding {
    /// Nothing.
    Absent,
    /// It is hidden in the layers below.
    Whiteout,
    /// It has an object.
    Found(Box<Found>),
}

/// A layer's own reference to one of its objects.
#[derive(Clone, Debug)]
pub enum Object {
    /// A directory.
    Dir(Arc<LowerDir>),
    /// Anything else: a name in a directory.
    Leaf(Arc<LowerDir>, FileName),
    /// An entry of a layer that numbers its entries.
    Entry(u32),
}

/// One entry of a layer's listing.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its kind.
    pub kind: FileKind,
    /// Its inode in the backing filesystem.
    pub real: RealId,
    /// It hides the name below; kind and inode then mean nothing.
    pub whiteout: bool,
}

/// A read-only layer. Its objects never change while it is mounted.
pub trait Layer: Send + Sync {
    /// The root directory.
    fn root(&self) -> Object;
    /// What the layer has at a name of one of its directories.
    fn find(&self, dir: &Object, name: &[u8]) -> Result<Finding>;
    /// What the layer has at one of its objects.
    fn look(&self, object: &Object) -> Result<Found>;
    /// Its attributes alone, which may cost less.
    fn attr(&self, object: &Object) -> Result<Attr> {
        self.look(object).map(|found| found.attr)
    }
    /// A reference to what [`Layer::find`] found.
    fn object(&self, dir: &Object, name: &FileName, found: &Found) -> Object;
    /// Calls `each` for every entry of a directory, whiteouts included; answers whether a file in it
    /// makes it opaque.
    fn list(&self, dir: &Object, each: &mut dyn FnMut(Entry<'_>)) -> Result<bool>;
    /// The target of a symlink.
    fn read_link(&self, object: &Object) -> Result<Vec<u8>>;
    /// The data of a regular file; of a directory what its inode flags can be read from, if it has any.
    fn open(&self, object: &Object) -> Result<Contents>;
    /// The names of all xattrs, marks included, each ended by NUL.
    fn list_xattrs(&self, object: &Object) -> Result<Vec<u8>>;
    /// The value of one xattr, by its stored name.
    fn get_xattr(&self, object: &Object, name: &[u8]) -> Result<Option<Vec<u8>>>;
    /// The name of the object that outlives renames, where there is one.
    fn origin(&self, object: &Object) -> Result<Option<Origin>>;
    /// Whether what is mounted in it, now or later, shows.
    fn shows_mounts(&self) -> bool;
    /// The device number of the filesystem that the root is on.
    fn device(&self) -> u64;
    /// The UUID of the filesystem that the root is on; zeros where it has none.
    fn uuid(&self) -> [u8; 16];
    /// The xattr in which the layer keeps owners and modes, if not in its inodes.
    fn owners(&self) -> Option<OwnerXattr> {
        None
    }
    /// Figures of the filesystem that the root is on.
    fn statistics(&self) -> Result<FsStats>;
}
