//! Archives as layers and indexes, and trees as text, for tests.

use crate::layer::{Contents, Finding, Layer, Object};
use crate::semantics::names::{XattrClass, classify_xattr};
use crate::store::digest::Hasher;
use crate::store::index::{Index, RowKind};
use crate::store::layer::CachedLayer;
pub(in crate::store) use crate::store::tar::builder::TarBuilder;
use crate::store::tar::{TarError, index_tar};
use crate::types::{FileKind, FileName};
use std::fmt::Write as _;
use tempfile::TempDir;

/// Indexes an archive: its bytes as an index.
pub(in crate::store) fn index_bytes(tar: &[u8]) -> Result<Vec<u8>, TarError> {
    let image = index_tar(&mut &tar[..])?;
    let mut hasher = Hasher::new();
    hasher.update(tar);
    let mut bytes = Vec::new();
    image.write_to(&mut bytes, hasher.finish_diff(), tar.len() as u64).unwrap();
    Ok(bytes)
}

/// Indexes an archive.
pub(in crate::store) fn index_of(tar: &[u8]) -> Result<Index, TarError> {
    let mut hasher = Hasher::new();
    hasher.update(tar);
    Ok(Index::from_bytes(index_bytes(tar)?.into(), hasher.finish_diff(), tar.len() as u64).unwrap())
}

/// An archive as a cached layer, in a directory of its own.
pub(in crate::store) fn layer_of(tar: &[u8]) -> (CachedLayer, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (index, blob) = (dir.path().join("index"), dir.path().join("blob"));
    std::fs::write(&blob, tar).unwrap();
    let mut hasher = Hasher::new();
    hasher.update(tar);
    (CachedLayer::open(&index, &blob, hasher.finish_diff()).unwrap(), dir)
}

/// The rows of an index, one a line, with paths, in their order.
pub(in crate::store) fn rows_as_text(index: &Index) -> String {
    index.check().unwrap();
    let mut paths: Vec<String> = Vec::new();
    let mut text = String::new();
    for number in 0..index.rows() {
        let row = index.row(number).unwrap();
        let name = String::from_utf8_lossy(index.name(&row).unwrap()).into_owned();
        let path = if number == 0 { String::new() } else { format!("{}/{name}", paths[row.parent as usize]) };
        let shown = if path.is_empty() { "/" } else { &path };
        write!(text, "{shown} ").unwrap();
        match row.kind {
            RowKind::Whiteout => text.push_str("whiteout"),
            RowKind::File(kind) => write!(text, "{kind:?} {:o}", row.mode).unwrap(),
        }
        for (set, word) in [(row.opaque, " opaque"), (row.implied, " implied")] {
            text.push_str(if set { word } else { "" });
        }
        if row.inode != number {
            write!(text, " = {}", paths[row.inode as usize]).unwrap();
        }
        if row.nlink != 1 {
            write!(text, " nlink {}", row.nlink).unwrap();
        }
        if row.kind == RowKind::File(FileKind::Symlink) {
            write!(text, " -> {}", String::from_utf8_lossy(index.target(&row).unwrap())).unwrap();
        }
        text.push('\n');
        paths.push(path);
    }
    text
}

/// What a layer shows, one object a line, sorted by path: everything but the access time.
pub(in crate::store) fn layer_as_text(layer: &dyn Layer) -> String {
    let mut lines = Vec::new();
    let mut groups: Vec<(u64, String)> = Vec::new();
    dump(layer, &layer.root(), "", &mut groups, &mut lines);
    lines.join("\n") + "\n"
}

fn dump(
    layer: &dyn Layer,
    object: &Object,
    path: &str,
    groups: &mut Vec<(u64, String)>,
    lines: &mut Vec<String>,
) {
    let found = layer.look(object).unwrap();
    let attr = found.attr;
    let mut line = format!("/{path} {:?} {:o} {}:{}", attr.kind, attr.mode, attr.uid, attr.gid);
    write!(line, " {}.{:09}", attr.mtime.secs, attr.mtime.nanos).unwrap();
    match attr.kind {
        FileKind::Regular => {
            let data = read_all(&layer.open(object).unwrap(), attr.size);
            let mut hasher = Hasher::new();
            hasher.update(&data);
            write!(line, " {} {}", attr.size, &hasher.finish_diff().hex()[..16]).unwrap();
        }
        FileKind::Symlink => {
            let target = layer.read_link(object).unwrap();
            write!(line, " -> {}", target.escape_ascii()).unwrap();
        }
        FileKind::CharDevice | FileKind::BlockDevice => {
            write!(line, " {}:{}", attr.rdev.major, attr.rdev.minor).unwrap();
        }
        FileKind::Directory | FileKind::Fifo | FileKind::Socket => {}
    }
    let mut xattrs = Vec::new();
    for name in layer.list_xattrs(object).unwrap().split(|b| *b == 0).filter(|n| !n.is_empty()) {
        if let XattrClass::Shown(shown) = classify_xattr(name) {
            let value = layer.get_xattr(object, name).unwrap().unwrap();
            xattrs.push(format!(" {}={}", shown.escape_ascii(), value.escape_ascii()));
        }
    }
    xattrs.sort();
    line.push_str(&xattrs.concat());
    if !attr.kind.is_dir() && attr.nlink > 1 {
        let first = groups.iter().find(|(ino, _)| *ino == found.real.ino).map(|(_, first)| first.clone());
        match first {
            Some(first) => write!(line, " = {first}").unwrap(),
            None => groups.push((found.real.ino, path.to_owned())),
        }
        write!(line, " nlink {}", attr.nlink).unwrap();
    }
    lines.push(line);
    if attr.kind.is_dir() {
        let mut names: Vec<FileName> = Vec::new();
        layer.list(object, &mut |entry| names.push(entry.name.into())).unwrap();
        names.sort_by(|a: &FileName, b| a.cmp(b));
        for name in names {
            let shown = name.escape_ascii().to_string();
            let below = if path.is_empty() { shown } else { format!("{path}/{shown}") };
            match layer.find(object, &name).unwrap() {
                Finding::Absent => panic!("{below} is listed and not found"),
                Finding::Whiteout => lines.push(format!("/{below} whiteout")),
                Finding::Found(found) => {
                    dump(layer, &layer.object(object, &name, &found), &below, groups, lines);
                }
            }
        }
    }
}

/// All data of a file.
pub(in crate::store) fn read_all(contents: &Contents, size: u64) -> Vec<u8> {
    let mut data = vec![0; size as usize];
    let got = contents.read_at(&mut data, 0).unwrap();
    assert_eq!(got as u64, size);
    data
}
