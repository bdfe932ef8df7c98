//! A tree drawn as `tree` does it.

use super::error::Result;
use super::node::{Child, Node};
use super::text::{NameStyle, shown_name};
use super::tree::{LastLink, Tree, join};
use super::walk::children;
use crate::types::FileKind;
use std::io::Write;

/// What `tree` was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct TreeOptions {
    /// `-L`: how many levels; all if `None`.
    pub depth: Option<usize>,
    /// `-a`: names that begin with a dot too.
    pub all: bool,
    /// `-d`: directories only.
    pub directories: bool,
    /// How names are printed.
    pub names: NameStyle,
}

/// The names of one directory that are still to be drawn.
struct Level {
    path: Vec<u8>,
    left: std::vec::IntoIter<(Box<[u8]>, Child)>,
}

/// Draws the tree below a path, with the counts of directories and of all else at the end.
pub fn tree(tree: &Tree<'_>, path: &[u8], options: &TreeOptions, out: &mut dyn Write) -> Result<()> {
    let start = tree.resolve(path, LastLink::Follow)?;
    out.write_all(&options.names.apply(path))?;
    out.write_all(b"\n")?;
    let (mut dirs, mut files) = (0u64, 0u64);
    let mut levels = Vec::new();
    if start.node.is_dir() && options.depth != Some(0) {
        levels.push(level(tree, &start.node, start.path, options)?);
    }
    while let Some(current) = levels.last_mut() {
        let Some((name, child)) = current.left.next() else {
            levels.pop();
            continue;
        };
        let path = join(&current.path, &name);
        let dir = child.node().filter(|node| node.is_dir());
        *(if dir.is_some() { &mut dirs } else { &mut files }) += 1;
        let label = label(tree, &path, &name, &child, options)?;
        draw(&levels, &label, out)?;
        let deeper = options.depth.is_none_or(|most| levels.len() < most);
        if let Some(dir) = dir.filter(|_| deeper) {
            levels.push(level(tree, dir, path, options)?);
        }
    }
    let plural = |n: u64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    write!(out, "\n{}", plural(dirs, "directory", "directories"))?;
    if !options.directories {
        write!(out, ", {}", plural(files, "file", "files"))?;
    }
    Ok(writeln!(out)?)
}

/// The names of a directory that are drawn: which is the last of them decides how each is.
fn level(tree: &Tree<'_>, dir: &Node, path: Vec<u8>, options: &TreeOptions) -> Result<Level> {
    let mut shown = children(tree, dir, &path)?;
    shown.retain(|(name, child)| {
        let is_dir = child.node().is_some_and(Node::is_dir);
        (options.all || !name.starts_with(b".")) && (is_dir || !options.directories)
    });
    Ok(Level { path, left: shown.into_iter() })
}

fn label(tree: &Tree<'_>, path: &[u8], name: &[u8], child: &Child, options: &TreeOptions) -> Result<Vec<u8>> {
    let mut label = options.names.apply(&shown_name(name, child));
    if let Some(node) = child.node()
        && node.kind() == FileKind::Symlink
    {
        label.extend_from_slice(b" -> ");
        label.extend(options.names.apply(&tree.read_link(node, path)?));
    }
    Ok(label)
}

fn draw(levels: &[Level], label: &[u8], out: &mut dyn Write) -> Result<()> {
    let (last, above) = match levels.split_last() {
        Some(split) => split,
        None => return Ok(()),
    };
    for level in above {
        let more = !level.left.as_slice().is_empty();
        // Spaces that do not break, as tree has them.
        out.write_all(if more { "│\u{a0}\u{a0} " } else { "    " }.as_bytes())?;
    }
    let more = !last.left.as_slice().is_empty();
    out.write_all(if more { "├── " } else { "└── " }.as_bytes())?;
    out.write_all(label)?;
    Ok(out.write_all(b"\n")?)
}
