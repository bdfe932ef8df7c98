//! An upper directory as a layer tar in the form of OCI.
//!
//! 1. *A tar has no marks.* What the upper says by redirects and metacopies is told in full: the tar over
//!    the same lowers shows the tree that the upper over them shows.
//! 2. *Nothing is written twice that the lowers say already.* Where a directory of the merged view has
//!    the very parts that the lowers have at that path, only what the upper has in it is written; where
//!    it has others (renamed, opaque, new) it is written whole, behind an opaque marker if the lowers
//!    have a directory there.
//! 3. *The same upper gives the same bytes.* Names are sorted, owners are numbers, and times may be
//!    clamped.
//!
//! 4. *A file with several names changed through one of them.* Where the mount keeps an index, the other
//!    names show the change too though the upper has none of them: `indexed` finds them.
//!
//! Hard links between what the tar has and what it leaves to the lowers cannot be told; both sides keep
//! their contents.

mod indexed;
mod owned;
mod plan;

#[cfg(test)]
mod tests;

pub use owned::RootOwned;

use super::inside::{InsideError, Tree};
use super::object_writer::{ObjectWriter, TarReport};
use crate::layer::Layer;
use indexed::Indexed;
use plan::Plan;
use std::io::Write;

/// How a layer tar is written.
#[derive(Clone, Copy)]
pub struct CommitOptions<'i> {
    /// Times of modification after this one become this one: SOURCE_DATE_EPOCH.
    pub clamp_mtime: Option<i64>,
    /// Write an entry for the root directory, with the attributes of the upper's root.
    pub root: bool,
    /// The index of the upper, `WORKDIR/index`, if there is one: which files of lowers with several names
    /// have a copy (rule O3).
    pub index: Option<&'i dyn Layer>,
}

impl Default for CommitOptions<'_> {
    fn default() -> Self {
        CommitOptions { clamp_mtime: None, root: true, index: None }
    }
}

/// Writes the upper as a layer tar over its lowers, topmost first. A directory without lowers is written
/// as it is.
pub fn write_upper_tar(
    upper: &dyn Layer,
    lowers: &[&dyn Layer],
    out: &mut dyn Write,
    options: &CommitOptions<'_>,
) -> Result<TarReport, InsideError> {
    let all: Vec<&dyn Layer> = std::iter::once(upper).chain(lowers.iter().copied()).collect();
    let (mut merged, base) = (Tree::of(&all), Tree::of(lowers));
    let beside = options.index.map(|index| merged.beside(index));
    let indexed = match beside {
        Some(index) => Indexed::find(&merged, index)?,
        None => Indexed::default(),
    };
    let writer = ObjectWriter::new(&merged, out, options.clamp_mtime);
    Plan::new(&merged, &base, indexed, writer).run(options.root)
}
