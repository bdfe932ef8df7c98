//! How the text of a file changed, in the unified form.

use super::cat;
use super::diff::DiffOptions;
use super::error::Result;
use super::node::Node;
use super::tree::Tree;
use similar::TextDiff;
use std::time::Duration;

/// A file in two trees; in one of them it may be missing.
pub(super) struct Texts<'t> {
    pub(super) old: Option<(&'t Tree<'t>, &'t Node)>,
    pub(super) new: Option<(&'t Tree<'t>, &'t Node)>,
    pub(super) path: &'t [u8],
}

/// Larger files are said to differ: nobody reads such a diff, and it would be held in memory.
const LONGEST_TEXT: u64 = 16 << 20;
/// As far as git looks for a NUL before it takes a file for text.
const LOOKED_AT: usize = 8000;
/// After this long the shortest diff is no longer sought, and a longer one is given.
const PATIENCE: Duration = Duration::from_secs(2);

/// The change, or a line saying that the file is no text.
pub(super) fn unified(texts: &Texts<'_>, options: &DiffOptions) -> Result<Vec<u8>> {
    let label = |side: &Option<_>, label: &[u8]| match side {
        Some(_) => options.names.apply(&[label, texts.path].concat()),
        None => b"/dev/null".to_vec(),
    };
    let (from, to) = (label(&texts.old, &options.labels.0), label(&texts.new, &options.labels.1));
    let (Some(old), Some(new)) = (text(&texts.old, texts.path)?, text(&texts.new, texts.path)?) else {
        return Ok([b"Binary files ", &from[..], b" and ", &to, b" differ\n"].concat());
    };
    if old == new {
        return Ok(Vec::new());
    }
    let mut out = [b"--- ", &from[..], b"\n+++ ", &to, b"\n"].concat();
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(&old[..], &new[..]);
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        hunk.to_writer(&mut out)?;
    }
    Ok(out)
}

/// The data if it is text of a length that can be read; of a missing file nothing.
fn text(side: &Option<(&Tree<'_>, &Node)>, path: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some((tree, node)) = side else { return Ok(Some(Vec::new())) };
    if node.attr().size > LONGEST_TEXT {
        return Ok(None);
    }
    let mut data = Vec::new();
    cat::copy(tree, node, path, &mut data)?;
    let binary = data[..data.len().min(LOOKED_AT)].contains(&0);
    Ok((!binary).then_some(data))
}
