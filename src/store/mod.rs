//! The layer cache: images that are mounted without being unpacked.
//!
//! The cache is an OCI image layout, and beside it what layerfs adds:
//!
//! ```text
//! ROOT/oci-layout, ROOT/index.json     the images and their names
//! ROOT/blobs/sha256/HEX                layers (uncompressed tars), configs, manifests; mode 0444
//! ROOT/layerfs/index/HEX               the index of the layer blob HEX; mode 0444
//! ROOT/layerfs/tmp/NAME/               work of one running command; flocked by it
//! ROOT/layerfs/mounts/NAME             one file a live mount; flocked by it
//! ROOT/layerfs/lock                    flock: exclusive while index.json or blobs change
//! ```
//!
//! 1. *A layer must be mounted without being unpacked.* [`CachedLayer`] reads a tar in place, led by
//!    an [`index`] of it.
//! 2. *Tars are written by everybody.* [`tar`] reads all forms in one pass and refuses what lies.
//! 3. *Two digests are easily mixed up.* [`BlobDigest`] and [`DiffId`] are types of their own.
//! 4. *A command may die, or the disk fill up, at any point.* All is prepared in a directory of the
//!    command's own, and published by a few renames under the lock, that of index.json last (`batch`,
//!    `work`).
//! 5. *Others may remove what a command relies on.* What was skipped because the cache had it is looked at
//!    again under the lock.
//! 6. *Decompressing, hashing and writing each take their time.* They overlap (`stage`).
//! 7. *A person wants to see what is in a layer.* [`inside`] looks into a stack without a mount, and
//!    [`commit`] writes an upper as one more layer.
//!
//! Deliberately elsewhere: what commands print (`bin`), and what layers mean together (`overlay`).

mod add;
mod batch;
mod change;
pub mod commit;
pub mod digest;
mod disk;
mod documents;
mod error;
mod export;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod history;
mod image;
mod import;
pub mod index;
pub mod inside;
pub mod layer;
mod layers;
mod lock;
mod mounts;
mod name;
mod object_writer;
mod open;
mod platform;
mod progress;
mod refs;
mod remove;
mod root;
mod stage;
pub mod tar;
mod tar_writer;
#[cfg(test)]
mod tests;
mod verify;
mod words;
mod work;

pub use add::{Added, ConfigEdit};
pub use change::{Change, ChangeError};
pub use digest::{BlobDigest, DiffId, Hasher};
pub use documents::ImageConfig;
pub use error::{Result, StoreError};
pub use export::SaveFormat;
pub use history::HistoryEntry;
pub use image::{Image, ImageRef};
pub use import::{LoadSource, Loaded};
pub use layer::{CachedLayer, LayerError};
pub use mounts::{MountGuard, MountRecord};
pub use name::{Name, NameError, Reference};
pub use object_writer::TarReport;
pub use progress::{Progress, Silent};
pub use remove::{Garbage, Removed};
pub use root::default_root;
pub use stage::{LayerWriter, StagedLayer};
pub use verify::Finding;

use root::Paths;

/// The cache at one root.
#[derive(Clone, Debug)]
pub struct Store {
    paths: Paths,
    writable: bool,
}
