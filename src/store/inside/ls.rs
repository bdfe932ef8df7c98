//! Listing as `ls` does it.

use super::error::{InsideError, Result};
use super::node::{Child, Node};
use super::owners::Owners;
use super::text::{
    NameStyle, OPAQUE_NAME, TimeText, WHITEOUT_LETTER, has_acl, human_size, mode_text, shown_name,
};
use super::tree::{LastLink, Located, Tree, join};
use super::walk::children;
use crate::types::FileKind;
use std::collections::VecDeque;
use std::io::Write;

/// What `ls` was asked for.
#[derive(Clone, Debug)]
pub struct LsOptions {
    /// `-l`: one line of columns an entry.
    pub long: bool,
    /// `-a`: names that begin with a dot too, with `.` and `..`.
    pub all: bool,
    /// `-A`: the same without `.` and `..`.
    pub almost_all: bool,
    /// `-R`: what is below directories too.
    pub recursive: bool,
    /// `-d`: directories themselves instead of what is in them.
    pub directory: bool,
    /// `-h`: sizes in powers of 1024.
    pub human: bool,
    /// The layer that gives each entry before it, counted from the base as 1.
    pub layers: bool,
    /// Whose names are shown; [`Owners::numeric`] for `-n`.
    pub owners: Owners,
    /// How times are written.
    pub times: TimeText,
    /// How names are printed.
    pub names: NameStyle,
}

impl Default for LsOptions {
    fn default() -> Self {
        LsOptions {
            long: false,
            all: false,
            almost_all: false,
            recursive: false,
            directory: false,
            human: false,
            layers: false,
            owners: Owners::numeric(),
            times: TimeText::system(),
            names: NameStyle::Raw,
        }
    }
}

/// One line to be written.
struct Row {
    /// As it is to be printed, target included.
    name: Vec<u8>,
    /// By which it is sorted.
    key: Vec<u8>,
    cells: Cells,
}

/// The columns before the name; empty ones are not padded.
#[derive(Default)]
struct Cells {
    mode: String,
    acl: bool,
    links: String,
    user: Owner,
    group: Owner,
    size: String,
    device: Option<(String, String)>,
    time: String,
    layer: String,
    blocks: u64,
}

/// A user or group. Names stand at the left of their column, numbers at the right.
#[derive(Default)]
struct Owner {
    text: Vec<u8>,
    is_number: bool,
}

impl Owner {
    fn new(name: Option<&[u8]>, number: u32) -> Owner {
        let text = name.map_or_else(|| number.to_string().into_bytes(), <[u8]>::to_vec);
        Owner { text, is_number: name.is_none() }
    }

    fn write(&self, width: usize, names: NameStyle, out: &mut dyn Write) -> Result<()> {
        let pad = width - self.text.len();
        let (left, right) = if self.is_number { (pad, 0) } else { (0, pad) };
        write!(out, "{:left$}", "")?;
        out.write_all(&names.apply(&self.text))?;
        Ok(write!(out, "{:right$} ", "")?)
    }
}

/// Lists paths: first what is no directory, then each directory under its name.
pub fn ls(tree: &Tree<'_>, paths: &[&[u8]], options: &LsOptions, out: &mut dyn Write) -> Result<()> {
    let (mut plain, mut dirs) = (Vec::new(), VecDeque::new());
    for path in paths {
        let found = operand(tree, path, options)?;
        match found.node.is_dir() && !options.directory {
            true => dirs.push_back((path.to_vec(), found)),
            false => plain.push((path.to_vec(), found)),
        }
    }
    let mut rows = Vec::new();
    for (shown, found) in &plain {
        rows.push(row(tree, shown, &found.path, &Child::Object(found.node.clone()), options)?);
    }
    write_rows(&rows, options, out)?;
    let headings = options.recursive || paths.len() > 1;
    let mut first = plain.is_empty();
    while let Some((shown, dir)) = dirs.pop_front() {
        if !std::mem::take(&mut first) {
            out.write_all(b"\n")?;
        }
        if headings {
            out.write_all(&options.names.apply(&shown))?;
            out.write_all(b":\n")?;
        }
        let inner = directory(tree, &shown, &dir, options, out)?;
        // What is in a directory comes before its siblings.
        inner.into_iter().rev().for_each(|found| dirs.push_front(found));
    }
    Ok(())
}

/// What a path that was named leads to: of a symlink the link itself in the long form, and wherever it
/// leads to no directory.
fn operand(tree: &Tree<'_>, path: &[u8], options: &LsOptions) -> Result<Located> {
    let found = tree.resolve(path, LastLink::Keep)?;
    if found.node.kind() != FileKind::Symlink || options.long || options.directory {
        return Ok(found);
    }
    match tree.resolve(path, LastLink::Follow) {
        Ok(target) if target.node.is_dir() => Ok(target),
        Err(e @ InsideError::Layer { .. }) => Err(e),
        _ => Ok(found),
    }
}

/// Lists one directory; answers the directories in it that are to be listed too.
fn directory(
    tree: &Tree<'_>,
    shown: &[u8],
    dir: &Located,
    options: &LsOptions,
    out: &mut dyn Write,
) -> Result<Vec<(Vec<u8>, Located)>> {
    let mut rows = Vec::new();
    let mut inner = Vec::new();
    if options.all {
        let above = tree.resolve(&join(&dir.path, b".."), LastLink::Keep)?;
        for (name, found) in [(&b"."[..], dir), (b"..", &above)] {
            rows.push(row(tree, name, &found.path, &Child::Object(found.node.clone()), options)?);
        }
    }
    let hidden = |name: &[u8]| name.starts_with(b".") && !options.all && !options.almost_all;
    if tree.is_alone() && dir.node.is_opaque() {
        rows.push(Row {
            name: OPAQUE_NAME.to_vec(),
            key: OPAQUE_NAME.to_vec(),
            cells: whiteout_cells(tree, options),
        });
    }
    for (name, child) in children(tree, &dir.node, &dir.path)? {
        if hidden(&name) {
            continue;
        }
        let path = join(&dir.path, &name);
        rows.push(row(tree, &name, &path, &child, options)?);
        if let Child::Object(node) = child
            && options.recursive
            && node.is_dir()
        {
            inner.push((join(shown, &name), Located { path, node }));
        }
    }
    // Names before the dot come before it too.
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    if options.long {
        // ls counts in blocks of 1024 bytes.
        let total: u64 = rows.iter().map(|row| row.cells.blocks).sum::<u64>() / 2;
        let total = if options.human { human_size(total * 1024) } else { total.to_string() };
        writeln!(out, "total {total}")?;
    }
    write_rows(&rows, options, out)?;
    Ok(inner)
}

fn row(tree: &Tree<'_>, name: &[u8], path: &[u8], child: &Child, options: &LsOptions) -> Result<Row> {
    let mut shown = options.names.apply(&shown_name(name, child));
    let Child::Object(node) = child else {
        return Ok(Row { name: shown, key: name.to_vec(), cells: whiteout_cells(tree, options) });
    };
    if options.long && node.kind() == FileKind::Symlink {
        shown.extend_from_slice(b" -> ");
        shown.extend(options.names.apply(&tree.read_link(node, path)?));
    }
    let mut cells = if options.long { long_cells(tree, path, node, options)? } else { Cells::default() };
    if options.layers {
        cells.layer = (tree.depth() - node.shown().layer).to_string();
    }
    Ok(Row { name: shown, key: name.to_vec(), cells })
}

fn long_cells(tree: &Tree<'_>, path: &[u8], node: &Node, options: &LsOptions) -> Result<Cells> {
    let (attr, place) = (node.attr(), node.shown());
    let acl = has_acl(tree.of_place(place), &place.object).map_err(InsideError::layer(path))?;
    let size = if options.human { human_size(attr.size) } else { attr.size.to_string() };
    let is_device = matches!(attr.kind, FileKind::CharDevice | FileKind::BlockDevice);
    let device = is_device.then(|| (attr.rdev.major.to_string(), attr.rdev.minor.to_string()));
    Ok(Cells {
        mode: mode_text(attr.kind, attr.mode),
        acl,
        links: attr.nlink.to_string(),
        user: Owner::new(options.owners.user(attr.uid), attr.uid),
        group: Owner::new(options.owners.group(attr.gid), attr.gid),
        size: if is_device { String::new() } else { size },
        device,
        time: options.times.text(attr.mtime),
        layer: String::new(),
        blocks: attr.blocks,
    })
}

/// A whiteout has no attributes.
fn whiteout_cells(tree: &Tree<'_>, options: &LsOptions) -> Cells {
    let dash = || if options.long { "-".to_owned() } else { String::new() };
    Cells {
        mode: if options.long { format!("{WHITEOUT_LETTER}---------") } else { String::new() },
        links: dash(),
        user: Owner { text: dash().into_bytes(), is_number: false },
        group: Owner { text: dash().into_bytes(), is_number: false },
        size: dash(),
        time: dash(),
        layer: if options.layers { tree.depth().to_string() } else { String::new() },
        ..Cells::default()
    }
}

fn write_rows(rows: &[Row], options: &LsOptions, out: &mut dyn Write) -> Result<()> {
    let width = |of: &dyn Fn(&Cells) -> usize| rows.iter().map(|row| of(&row.cells)).max().unwrap_or(0);
    let layer = width(&|c| c.layer.len());
    let major = width(&|c| c.device.as_ref().map_or(0, |(major, _)| major.len()));
    let minor = width(&|c| c.device.as_ref().map_or(0, |(_, minor)| minor.len()));
    let devices = if major > 0 { major + 2 + minor } else { 0 };
    let (links, size) = (width(&|c| c.links.len()), width(&|c| c.size.len()).max(devices));
    let (user, group) = (width(&|c| c.user.text.len()), width(&|c| c.group.text.len()));
    let acls = rows.iter().any(|row| row.cells.acl);
    for Row { name, cells, .. } in rows {
        if options.layers {
            write!(out, "{:>layer$} ", cells.layer)?;
        }
        if options.long {
            let acl = match (acls, cells.acl) {
                (false, _) => "",
                (true, true) => "+",
                (true, false) => " ",
            };
            write!(out, "{}{acl} {:>links$} ", cells.mode, cells.links)?;
            cells.user.write(user, options.names, out)?;
            cells.group.write(group, options.names, out)?;
            let number = match &cells.device {
                Some((major, at)) => format!("{major}, {at:>minor$}"),
                None => cells.size.clone(),
            };
            write!(out, "{number:>size$} {:>12} ", cells.time)?;
        }
        out.write_all(name)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
