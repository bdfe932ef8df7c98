//! What fuzzers call: `fuzz/`, and the mutations in `cargo test`.

use super::digest::DiffId;
use super::index::{Index, RowKind, seal};
use super::tar::builder::TarBuilder;
use super::tar::index_tar;
use std::collections::HashSet;

const NO_DIGEST: [u8; 32] = [0; 32];

/// Small tars that have one of everything, to begin from.
pub fn tar_seeds() -> Vec<Vec<u8>> {
    let sparse_map: &[(&str, &[u8])] = &[("GNU.sparse.size", b"90000"), ("GNU.sparse.map", b"10,4,70000,4")];
    let sparse_1_0: &[(&str, &[u8])] =
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.name", b"s"), ("GNU.sparse.realsize", b"9")];
    let mut mapped = b"2\n0\n2\n5\n2\n".to_vec();
    mapped.resize(512, 0);
    mapped.extend_from_slice(b"data");
    let new = TarBuilder::new;
    vec![
        new().dir("./").dir("./d").file("./d/f", "data").symlink("d/s", "f").hard("h", "d/f").end(),
        new().file("d/.wh.x", "").file("o/.wh..wh..opq", "").file("o/f", "").file(".wh.o", "").end(),
        new().hard("c", "b").hard("b", "d/a").symlink("l", "d").file("l/a", "1").file("l", "").end(),
        new().kind(b'L', "L", b"long/name\0").kind(b'K', "K", b"target\0").symlink("n", "t").end(),
        new()
            .pax(b'g', &[("uid", b"9")])
            .pax(b'x', &[("path", b"a/b"), ("mtime", b"-1.5")])
            .file("f", "x")
            .end(),
        new()
            .pax(b'x', &[("SCHILY.xattr.user.a", b"1"), ("LIBARCHIVE.xattr.user.b", b"Zm9v")])
            .dir("d")
            .end(),
        new().pax(b'x', sparse_map).file("s", "headtail").end(),
        new().pax(b'x', sparse_1_0).kind(b'0', "f", &mapped).end(),
        new()
            .old_sparse("s", 10_000, &[(0, 3), (512, 5), (700, 1), (9_000, 2), (9_999, 1)], b"abcdefghijkl")
            .end(),
        new().kind(b'3', "c", b"").kind(b'6', "p", b"").kind(b'7', "y", b"z").kind(0, "v/", b"").end(),
        new()
            .file(".wh..wh.plnk/1", "q")
            .hard("x", ".wh..wh.plnk/1")
            .file("a/../b", "")
            .file("/abs", "")
            .end(),
    ]
}

/// The indexes of [`tar_seeds`], and of a directory that is big enough for a hash table.
pub fn index_seeds() -> Vec<Vec<u8>> {
    let index = |tar: Vec<u8>| {
        let mut bytes = Vec::new();
        let image = index_tar(&mut &tar[..]).ok()?;
        image.write_to(&mut bytes, DiffId::from_bytes(NO_DIGEST), tar.len() as u64).ok()?;
        Some(bytes)
    };
    let big = (0..70).fold(TarBuilder::new(), |tar, n| tar.file(&format!("big/{n}"), ""));
    tar_seeds().into_iter().chain([big.end()]).filter_map(index).collect()
}

/// Takes any bytes as a tar, as they are and with the checksums that headers would need: it is
/// refused, or its index opens, every row reads, and no data lies outside of the tar. The error
/// says what is wrong with the index.
pub fn fuzz_tar(data: &[u8]) -> Result<(), String> {
    check_tar(data)?;
    let mut mended = data.to_vec();
    for block in mended.as_chunks_mut::<512>().0 {
        if block.iter().any(|b| *b != 0) {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        }
    }
    check_tar(&mended)
}

fn check_tar(data: &[u8]) -> Result<(), String> {
    let Ok(image) = index_tar(&mut &data[..]) else {
        return Ok(());
    };
    let (diff_id, len) = (DiffId::from_bytes(NO_DIGEST), data.len() as u64);
    let mut bytes = Vec::new();
    image.write_to(&mut bytes, diff_id, len).map_err(|e| e.to_string())?;
    let index = Index::from_bytes(bytes.into(), diff_id, len).map_err(|e| e.to_string())?;
    index.check().map_err(|e| e.to_string())?;
    for number in 0..index.rows() {
        check_row(&index, number, len)?;
    }
    Ok(())
}

fn check_row(index: &Index, number: u32, tar_len: u64) -> Result<(), String> {
    let row = index.row(number).map_err(|e| e.to_string())?;
    let name = index.name(&row).map_err(|e| e.to_string())?;
    let extents = index.extents(&row).map_err(|e| e.to_string())?;
    let wrong = |what| Err(format!("row {number}, {}: {what}", name.escape_ascii()));
    if extents.iter().any(|extent| extent.stored + extent.len > tar_len) {
        return wrong("its data lies outside of the tar");
    }
    let no_name = matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0);
    if no_name != (number == 0) || name.starts_with(b".wh.") && row.kind != RowKind::Whiteout {
        return wrong("it has no right name");
    }
    if number > 0 && index.find(row.parent, name).map_err(|e| e.to_string())? != Some(number) {
        return wrong("it is not found by its name");
    }
    Ok(())
}

/// Takes any bytes as an index whose checksums are right, so that what is behind them is reached,
/// and reads all of it. It may be found damaged; it must not panic or go on for ever.
pub fn fuzz_index(data: &[u8]) {
    let mut bytes = data.to_vec();
    let Some((diff_id, tar_len)) = seal(&mut bytes) else {
        return;
    };
    let Ok(index) = Index::from_bytes(bytes.into(), diff_id, tar_len) else {
        return;
    };
    // What each says does not matter here: only that it says something.
    let _sound = index.check().is_ok();
    let mut todo = vec![0];
    let mut seen = HashSet::new();
    while let Some(number) = todo.pop() {
        let Ok(row) = index.row(number) else {
            continue;
        };
        let (_data, _xattrs) = (index.extents(&row).is_ok(), index.xattrs(&row).is_ok());
        let (_target, _rdev) = (index.target(&row).is_ok(), index.device_number(&row));
        let name = index.name(&row).unwrap_or_default();
        let _found = index.find(row.parent, name).is_ok();
        // Damaged directories may share children: each row once, or the walk would take for ever.
        todo.extend(index.children(number).unwrap_or(0..0).filter(|child| seen.insert(*child)));
    }
}

#[cfg(test)]
mod tests;
