//! Layer tars: one pass that finds what is in them, and where.
//!
//! 1. *Tars are written by everybody, in dialects.* `walk` joins headers with what continues them
//!    (GNU long names, pax records, maps of sparse files) into entries; `header`, `pax`, `sparse`,
//!    `number` and `encoding` each read one form.
//! 2. *The archive is not to be believed.* Sizes, offsets and names are checked before they are
//!    used; what is wrong is said of the entry by its name ([`TarError`]).
//! 3. *Entries are no tree:* they repeat, come before their parents, link to later ones, and hide
//!    what is in other layers. `tree` and `links` make of them the one tree that the layer means.
//! 4. *A layer may be larger than memory.* Contents are passed over; only where they are is kept.
//!
//! Where the forms leave room, the archive means here what extractors of images make of it.
//!
//! Deliberately elsewhere: the bytes of the index (`index`), compression and digests.

#[cfg(any(test, fuzzing))]
pub(in crate::store) mod builder;
mod encoding;
mod error;
mod header;
mod links;
mod number;
mod path;
mod pax;
mod source;
mod sparse;
#[cfg(test)]
pub(in crate::store) mod testing;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

pub use error::{Problem, TarError};
pub(in crate::store) use tree::{Body, IMPLIED, Inode, NO_XATTRS, ROOT, Tree, WHITEOUT};

use crate::semantics::names::NAME_MAX;
use crate::store::index::{IndexImage, build};
use std::io::Read;

/// The longest path that the kernel takes, its ending NUL included.
const PATH_MAX: usize = 4096;

/// Reads an uncompressed layer tar to its end and makes the index of it.
///
/// All that `tar` gives is read, the padding that follows the archive included, so that a reader
/// that hashes has then seen everything.
pub fn index_tar(tar: &mut dyn Read) -> Result<IndexImage, TarError> {
    let mut walk = walk::Walk::new(tar);
    let mut tree = Tree::new();
    while let Some(entry) = walk.next()? {
        let at = walk.header_at();
        tree.add(entry, at).map_err(|problem| walk.error(problem))?;
    }
    tree.settle_links()?;
    build(tree).map_err(|what| TarError {
        entry: None,
        at: walk.header_at(),
        problem: Problem::TooMany(what),
    })
}
