//! What one layer says of a name, marker files of the form `.wh.` taken into account.
//!
//! A layer's `find` answers for the name alone. A plain directory may hide it by a file beside it
//! (rules U6 and U7), which only its listing tells, or a second question.

use crate::layer::{Finding, Layer, Object};
use crate::semantics::names::{NAME_MAX, OPAQUE_FILE, WHITEOUT_PREFIX};
use crate::sys::Result;

/// What the layer has at a plain name. An object beside its own whiteout hides what is below it.
pub(super) fn find_marked(layer: &dyn Layer, dir: &Object, name: &[u8]) -> Result<Finding> {
    let mut finding = layer.find(dir, name)?;
    let marker = [WHITEOUT_PREFIX, name].concat();
    if marker.len() <= NAME_MAX && has(layer, dir, &marker)? {
        match &mut finding {
            Finding::Absent => return Ok(Finding::Whiteout),
            Finding::Found(found) => found.marks.opaque = true,
            Finding::Whiteout => {}
        }
    }
    Ok(finding)
}

/// Whether a directory has the file that makes it opaque.
pub(super) fn has_opaque_file(layer: &dyn Layer, dir: &Object) -> Result<bool> {
    has(layer, dir, OPAQUE_FILE)
}

fn has(layer: &dyn Layer, dir: &Object, name: &[u8]) -> Result<bool> {
    Ok(matches!(layer.find(dir, name)?, Finding::Found(_)))
}
