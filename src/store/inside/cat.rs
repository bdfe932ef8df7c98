//! The data of files.

use super::error::{InsideError, Result};
use super::node::Node;
use super::tree::{LastLink, Tree};
use crate::layer::Contents;
use std::io::Write;

/// 256 KiB: past it the cost of the calls no longer shows.
pub(crate) const CHUNK: usize = 1 << 18;

/// Writes the data of several files, one after the other.
pub fn cat(tree: &Tree<'_>, paths: &[&[u8]], out: &mut dyn Write) -> Result<()> {
    for path in paths {
        let found = tree.resolve(path, LastLink::Follow)?;
        copy(tree, &found.node, &found.path, out)?;
    }
    Ok(())
}

/// Writes the data of one file.
pub fn copy(tree: &Tree<'_>, node: &Node, path: &[u8], out: &mut dyn Write) -> Result<u64> {
    each_chunk(&tree.open(node, path)?, path, &mut |chunk| Ok(out.write_all(chunk)?))
}

/// Calls `each` with all data of a file, in order; answers how much it was.
pub(super) fn each_chunk(
    contents: &Contents,
    path: &[u8],
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let mut buf = vec![0u8; CHUNK];
    let mut at = 0;
    loop {
        let got = contents.read_at(&mut buf, at).map_err(InsideError::layer(path))?;
        if got == 0 {
            return Ok(at);
        }
        each(&buf[..got])?;
        at += got as u64;
    }
}

/// Whether two files have the same data.
pub(super) fn same_data(one: &Contents, other: &Contents, path: &[u8]) -> Result<bool> {
    let (mut a, mut b) = (vec![0u8; CHUNK], vec![0u8; CHUNK]);
    let mut at = 0;
    loop {
        let got = one.read_at(&mut a, at).map_err(InsideError::layer(path))?;
        let same = other.read_at(&mut b, at).map_err(InsideError::layer(path))?;
        if a[..got] != b[..same] {
            return Ok(false);
        }
        if got == 0 {
            return Ok(true);
        }
        at += got as u64;
    }
}
