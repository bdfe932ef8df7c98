//! Trees as text, one line an object, so that a failure reads as a diff.

use crate::store::inside::{Child, Flow, InsideError, LastLink, Tree, Visit, cat, walk};
use crate::sys::{AsFd, Ref, get_xattr, list_xattrs, open_directory, read_link, stat};
use crate::types::{Attr, FileKind};
use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a dump tells.
#[derive(Clone, Copy)]
pub(crate) struct Tell {
    /// Which names are one object.
    pub(crate) links: bool,
    /// Times of modification of directories.
    pub(crate) dir_mtimes: bool,
    /// Fractions of seconds.
    pub(crate) nanos: bool,
    /// The root's own line.
    pub(crate) root: bool,
}

pub(crate) const ALL: Tell = Tell { links: true, dir_mtimes: true, nanos: true, root: true };

fn hash(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

/// A path as dumps write it: without spaces.
pub(crate) fn path_text(path: &[u8]) -> String {
    path.escape_ascii().to_string().replace(' ', "\\x20")
}

/// An object, apart from its path.
struct Seen<'s> {
    path: &'s str,
    attr: Attr,
    target: Option<Vec<u8>>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    data: Option<Result<Vec<u8>, String>>,
    /// The first path of the same object.
    same: Option<String>,
}

fn line(seen: Seen<'_>, tell: Tell) -> String {
    let attr = seen.attr;
    let mode = if attr.kind == FileKind::Symlink { 0 } else { attr.mode };
    let mut text = format!("{} {:?} {:04o} {}:{}", seen.path, attr.kind, mode, attr.uid, attr.gid);
    if !attr.kind.is_dir() {
        write!(text, " size={}", attr.size).unwrap();
    }
    if !attr.kind.is_dir() || tell.dir_mtimes {
        let nanos = if tell.nanos { attr.mtime.nanos } else { 0 };
        write!(text, " mtime={}.{nanos:09}", attr.mtime.secs).unwrap();
    }
    if matches!(attr.kind, FileKind::CharDevice | FileKind::BlockDevice) {
        write!(text, " rdev={}:{}", attr.rdev.major, attr.rdev.minor).unwrap();
    }
    if let Some(target) = seen.target {
        write!(text, " -> {}", target.escape_ascii()).unwrap();
    }
    for (name, value) in seen.xattrs {
        write!(text, " {}={}", name.escape_ascii(), value.escape_ascii()).unwrap();
    }
    match seen.data {
        Some(Ok(data)) => write!(text, " data={:016x}", hash(&data)).unwrap(),
        Some(Err(error)) => write!(text, " data: {error}").unwrap(),
        None => {}
    }
    if let Some(same) = seen.same.filter(|_| tell.links) {
        write!(text, " same={same}").unwrap();
    }
    text + "\n"
}

/// A tree as `Tree` shows it.
pub(crate) fn of_tree(tree: &Tree<'_>, tell: Tell) -> String {
    let mut lines = Vec::new();
    let mut first = HashMap::new();
    let start = tree.resolve(b"/", LastLink::Keep).unwrap();
    walk::<InsideError>(tree, &start, &mut |visit: &Visit<'_>| {
        if visit.leaving || visit.depth == 0 && !tell.root {
            return Ok(Flow::Enter);
        }
        let path = path_text(visit.path);
        let Child::Object(node) = visit.child else {
            lines.push(format!("{path} whiteout\n"));
            return Ok(Flow::Pass);
        };
        let kind = node.kind();
        let data = (kind == FileKind::Regular).then(|| {
            let mut data = Vec::new();
            cat::copy(tree, node, visit.path, &mut data).map(|_| data).map_err(|_| "cannot be read".into())
        });
        let target = (kind == FileKind::Symlink).then(|| tree.read_link(node, visit.path).unwrap());
        let same = (!kind.is_dir())
            .then(|| first.entry(node.link_id()).or_insert(path.clone()).clone())
            .filter(|same| *same != path);
        let mut seen = Seen {
            path: &path,
            attr: node.attr(),
            target,
            xattrs: tree.xattrs(node, visit.path)?,
            data,
            same,
        };
        if node.is_opaque() && tree.is_alone() {
            seen.xattrs.push((b"OPAQUE".to_vec(), Vec::new()));
        }
        lines.push(line(seen, tell));
        Ok(Flow::Enter)
    })
    .unwrap();
    lines.sort();
    lines.concat()
}

/// A directory of the host.
pub(crate) fn of_host(root: &Path, tell: Tell) -> String {
    let mut lines = Vec::new();
    let mut first = HashMap::new();
    if tell.root {
        host_line(root, "/", &mut first, tell, &mut lines);
    }
    host_dir(root, "/", &mut first, tell, &mut lines);
    lines.sort();
    lines.concat()
}

fn host_dir(
    dir: &Path,
    path: &str,
    first: &mut HashMap<(u64, u64), String>,
    tell: Tell,
    lines: &mut Vec<String>,
) {
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap()).collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let name = path_text(entry.file_name().as_bytes());
        let path = format!("{}/{name}", path.trim_end_matches('/'));
        host_line(&entry.path(), &path, first, tell, lines);
        if entry.file_type().unwrap().is_dir() {
            host_dir(&entry.path(), &path, first, tell, lines);
        }
    }
}

fn host_line(
    at: &Path,
    path: &str,
    first: &mut HashMap<(u64, u64), String>,
    tell: Tell,
    lines: &mut Vec<String>,
) {
    let (dir, name) = match path {
        "/" => (open_directory(at).unwrap(), b".".to_vec()),
        _ => {
            let name = at.file_name().unwrap().as_bytes().to_vec();
            (open_directory(at.parent().unwrap()).unwrap(), name)
        }
    };
    let object = Ref::At(dir.as_fd(), &name);
    let (real, attr) = stat(object).unwrap();
    let mut xattrs: Vec<_> = list_xattrs(object)
        .unwrap()
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty() && !n.starts_with(b"trusted.overlay.") && !n.starts_with(b"user.overlay."))
        .map(|n| (n.to_vec(), get_xattr(object, n).unwrap().unwrap_or_default()))
        .collect();
    xattrs.sort();
    let target = (attr.kind == FileKind::Symlink).then(|| read_link(dir.as_fd(), &name).unwrap());
    let data =
        (attr.kind == FileKind::Regular).then(|| std::fs::read(at).map_err(|_| "cannot be read".to_owned()));
    let same = (!attr.kind.is_dir())
        .then(|| first.entry((real.dev, real.ino)).or_insert(path.to_owned()).clone())
        .filter(|same| same != path);
    lines.push(line(Seen { path, attr, target, xattrs, data, same }, tell));
}

/// Asserts that two dumps are the same; the message shows the lines only one of them has.
pub(crate) fn assert_same(left: &str, right: &str, title: &str) {
    if left == right {
        return;
    }
    let only = |sign: char, one: &str, other: &str| {
        let others: Vec<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !others.contains(line));
        lines.fold(String::new(), |text, line| text + &format!("{sign} {line}\n"))
    };
    panic!("{title} differ:\n{}{}", only('-', left, right), only('+', right, left));
}
