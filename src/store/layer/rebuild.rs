//! An index made anew from the blob.

use super::LayerError;
use crate::store::digest::{DiffId, Hasher};
use crate::store::index::{Index, IndexImage};
use crate::store::tar::index_tar;
use crate::sys::{AsFd, OwnedFd, read_at};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Indexes never change once they are there.
const INDEX_MODE: u32 = 0o444;

/// Makes the index of a blob, and keeps it beside the others if that is possible: a cache that the
/// user may only read works all the same, at the cost of doing this at each mount.
pub(super) fn rebuild(
    path: &Path,
    blob: &OwnedFd,
    tar_len: u64,
    diff_id: DiffId,
) -> Result<Index, LayerError> {
    let mut tar = HashedBlob { blob, at: 0, hasher: Hasher::new() };
    let image = index_tar(&mut tar);
    // First of all: if the blob is damaged, what the tar says of itself is of no interest.
    io::copy(&mut tar, &mut io::sink()).map_err(|e| LayerError::Blob(diff_id, e))?;
    let found = tar.hasher.finish_diff();
    if found != diff_id {
        return Err(LayerError::Digest(diff_id, found));
    }
    let image = image.map_err(|e| LayerError::Tar(diff_id, e))?;
    let index = match keep(path, &image, diff_id, tar_len) {
        Ok(()) => Index::open(path, diff_id, tar_len),
        Err(why) => {
            log::warn!("layer {diff_id}: its index is kept in memory only: {}: {why}", path.display());
            let mut bytes = Vec::new();
            image.write_to(&mut bytes, diff_id, tar_len).map_err(|e| LayerError::Blob(diff_id, e))?;
            Index::from_bytes(bytes.into(), diff_id, tar_len)
        }
    };
    index.map_err(|e| LayerError::Index(diff_id, e))
}

/// Puts the index in place by a rename: a reader sees the old one or all of the new one.
fn keep(path: &Path, image: &IndexImage, diff_id: DiffId, tar_len: u64) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut staged = path.as_os_str().to_owned();
    staged.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let written = write_durably(Path::new(&staged), |file| image.write_to(file, diff_id, tar_len));
    let placed = written.and_then(|()| fs::rename(&staged, path));
    if placed.is_err() {
        // It may not have been made at all; the cache removes what is left over.
        fs::remove_file(&staged).unwrap_or_default();
        return placed;
    }
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn write_durably(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(INDEX_MODE).open(path)?;
    write(&mut file)?;
    file.sync_all()
}

/// Reads the blob from its start, whatever others do with the descriptor, and hashes it.
struct HashedBlob<'a> {
    blob: &'a OwnedFd,
    at: u64,
    hasher: Hasher,
}

impl Read for HashedBlob<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = read_at(self.blob.as_fd(), buf, self.at).map_err(|e| io::Error::from(e.errno))?;
        self.hasher.update(&buf[..n]);
        self.at += n as u64;
        Ok(n)
    }
}
