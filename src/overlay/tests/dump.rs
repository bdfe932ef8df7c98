//! The merged tree as text.

use super::super::{Entry, Overlay, Result};
use crate::types::{Attr, Caller, FileKind, Ino};
use std::collections::HashMap;
use std::fmt::Write;

/// The one who asks in tests.
pub(super) const ROOT: Caller = Caller { uid: 0, gid: 0, pid: 0, umask: 0o022 };

/// The objects of a tree by their number, under the path each was first seen at.
pub(super) type Ids = HashMap<Ino, String>;

/// What a path leads to; the answer keeps its node alive.
pub(super) fn at<'a>(overlay: &'a Overlay, path: &str) -> Result<Entry<'a>> {
    let mut dir = Ino::ROOT;
    // Each keeps its ancestors.
    let mut last = None;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let entry = overlay.lookup(dir, name.as_bytes())?.ok_or(super::super::Error::NotFound)?;
        dir = entry.ino;
        last = Some(entry);
    }
    last.ok_or(super::super::Error::NotFound)
}

/// What a directory lists but itself and its parent, by name.
fn names(overlay: &Overlay, dir: Ino) -> Result<Vec<(Vec<u8>, Ino, FileKind)>> {
    let mut names = Vec::new();
    overlay.read_dir(dir, 0, |entry| {
        if entry.name != b"." && entry.name != b".." {
            names.push((entry.name.to_vec(), entry.ino, entry.kind));
        }
        Ok(())
    })?;
    names.sort_by(|a: &(Vec<u8>, Ino, FileKind), b| a.0.cmp(&b.0));
    Ok(names)
}

/// All objects below the root, each name asked for.
pub(super) fn objects(overlay: &Overlay) -> (Ids, Vec<Entry<'_>>) {
    let mut ids = Ids::from([(Ino::ROOT, String::new())]);
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut directories = vec![Ino::ROOT];
    while let Some(dir) = directories.pop() {
        for (name, ino, kind) in names(overlay, dir).unwrap() {
            let path = format!("{}/{}", ids[&dir], String::from_utf8_lossy(&name));
            entries.push(overlay.lookup(dir, &name).unwrap().unwrap());
            ids.entry(ino).or_insert(path);
            directories.extend(kind.is_dir().then_some(ino));
        }
    }
    (ids, entries)
}

/// One shown object, as a dump tells of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    path: String,
    directory: bool,
    text: String,
    mtime: String,
}

/// The merged tree, one line an object.
#[derive(Debug, Default)]
pub(super) struct Dump {
    lines: Vec<Line>,
}

impl Dump {
    /// The whole tree as the mount shows it. Objects that are not in `ids` are new.
    pub(super) fn of(overlay: &Overlay, ids: &Ids) -> Dump {
        let mut dump = Dump::default();
        let attr = overlay.get_attr(Ino::ROOT).unwrap();
        dump.add(overlay, "", Ino::ROOT, &attr, ids);
        dump.directory(overlay, "", Ino::ROOT, ids);
        dump
    }

    fn directory(&mut self, overlay: &Overlay, path: &str, ino: Ino, ids: &Ids) {
        let names = names(overlay, ino).unwrap_or_else(|e| {
            self.complain(path, format!("read_dir: {e}"));
            Vec::new()
        });
        for (name, listed, kind) in names {
            let path = format!("{path}/{}", String::from_utf8_lossy(&name));
            match overlay.lookup(ino, &name) {
                Ok(Some(found)) => {
                    if (listed, kind) != (found.ino, found.attr.kind) {
                        self.complain(&path, format!("listed as {listed:?} {kind:?}, is {:?}", found.ino));
                    }
                    self.add(overlay, &path, found.ino, &found.attr, ids);
                    if kind.is_dir() {
                        self.directory(overlay, &path, found.ino, ids);
                    }
                }
                other => self.complain(&path, format!("listed, but lookup: {:?}", other.map(|_| "absent"))),
            }
        }
    }

    fn complain(&mut self, path: &str, text: String) {
        self.lines.push(Line { path: path.to_owned(), directory: false, text, mtime: String::new() });
    }

    fn add(&mut self, overlay: &Overlay, path: &str, ino: Ino, attr: &Attr, ids: &Ids) {
        let mut text = format!("{:?} {:o} {}:{}", attr.kind, attr.mode, attr.uid, attr.gid);
        write!(text, " id={}", ids.get(&ino).map_or("new", String::as_str)).unwrap();
        if !attr.kind.is_dir() {
            // What a directory shows of these depends on its parts (rule I4).
            write!(
                text,
                " size={} nlink={} rdev={}:{}",
                attr.size, attr.nlink, attr.rdev.major, attr.rdev.minor
            )
            .unwrap();
        }
        match attr.kind {
            FileKind::Regular => write!(text, " data={}", contents(overlay, ino, attr.size)).unwrap(),
            FileKind::Symlink => {
                let target = overlay.read_link(ino).map(|target| String::from_utf8(target).unwrap());
                write!(text, " to={target:?}").unwrap();
            }
            _ => {}
        }
        write!(text, " {}", xattrs(overlay, ino)).unwrap();
        // Reading moves the access time on.
        let asked = overlay.get_attr(ino).map(|asked| Attr { atime: attr.atime, ..asked });
        if asked.as_ref() != Ok(attr) {
            write!(text, " getattr: {asked:?} instead of {attr:?}").unwrap();
        }
        let mtime = format!("mtime={}.{:09}", attr.mtime.secs, attr.mtime.nanos);
        self.lines.push(Line { path: path.to_owned(), directory: attr.kind.is_dir(), text, mtime });
    }

    /// As text; without the modification times of `touched`, and without those of all directories
    /// if so asked.
    pub(super) fn text(&self, touched: &[&str], directories: bool) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let silent = touched.contains(&line.path.as_str()) || line.directory && !directories;
            let mtime = if silent { "" } else { &line.mtime };
            writeln!(text, "{} {} {mtime}", line.path, line.text).unwrap();
        }
        text
    }
}

/// The data as runs of equal bytes, as far as the kernel would read it.
fn contents(overlay: &Overlay, ino: Ino, size: u64) -> String {
    let mut buf = vec![0u8; usize::try_from(size).unwrap()];
    match overlay.read(ino, 0, &mut buf) {
        Err(e) => format!("{e}"),
        Ok(len) => {
            let data = &buf[..len];
            let run = |run: &[u8]| match run {
                [one] => (*one as char).to_string(),
                [first, ..] => format!("({}*{})", *first as char, run.len()),
                [] => String::new(),
            };
            // Byte by byte only where there is something to see.
            let all = len > 0 && data[1..] == data[..len - 1];
            let text = if all { run(data) } else { data.chunk_by(|a, b| a == b).map(run).collect() };
            text.escape_default().to_string()
        }
    }
}

fn xattrs(overlay: &Overlay, ino: Ino) -> String {
    let names = match overlay.list_xattrs(ino, ROOT) {
        Ok(names) => names,
        Err(e) => return format!("list_xattrs: {e}"),
    };
    let mut names: Vec<_> = names.split(|b| *b == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let one = |name: &&[u8]| format!("{}={:?}", String::from_utf8_lossy(name), overlay.get_xattr(ino, name));
    names.iter().map(one).collect::<Vec<_>>().join(",")
}

/// The lines in which two texts differ.
pub(super) fn diff(wanted: &str, got: &str) -> String {
    if wanted == got {
        return String::new();
    }
    let missing = wanted.lines().filter(|line| !got.lines().any(|other| other == *line));
    let added = got.lines().filter(|line| !wanted.lines().any(|other| other == *line));
    missing.map(|l| format!("    - {l}\n")).chain(added.map(|l| format!("    + {l}\n"))).collect()
}
