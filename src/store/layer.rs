//! A layer of the cache: its tar, read in place.
//!
//! 1. *Whatever is wrong with the index, the tar has the truth.* [`CachedLayer`] makes a missing,
//!    old or damaged index anew, also when the damage is found while it is mounted; the tar is
//!    hashed on the way, so that a damaged one is never indexed.
//! 2. *A cached layer has no inodes of a filesystem.* Its rows number them, and a device number
//!    made of the digest stands for the layer: the same in each mount.
//! 3. *An image may have xattrs that look like marks of a union.* They are the image's own: rule A7
//!    gives them a stored form that is no mark.

mod rebuild;
#[cfg(test)]
mod tests;

use self::rebuild::rebuild;
use super::digest::DiffId;
use super::index::{Index, IndexError, ROOT_ROW, Row, RowKind};
use super::tar::TarError;
use crate::layer::{Contents, Entry, Finding, Found, Layer, Marks, Object, Origin, Ranges};
use crate::semantics::names::{XattrClass, classify_xattr, stored_xattr};
use crate::sys::{Errno, OwnedFd, Result, SysError, stat_filesystem};
use crate::types::{Attr, DeviceNumber, FileKind, FileName, FsStats, RealId};
use parking_lot::{Mutex, RwLock};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A cached layer that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The blob is not there or cannot be read.
    #[error("layer {0}: its blob cannot be read: {1}; load the image again")]
    Blob(DiffId, #[source] io::Error),
    /// The blob is not what its name says.
    #[error("layer {0}: its blob is damaged (its digest is {1}); load the image again")]
    Digest(DiffId, DiffId),
    /// The blob is no layer.
    #[error("layer {0}: {1}")]
    Tar(DiffId, #[source] TarError),
    /// The index that was just made does not open.
    #[error("layer {0}: {1}")]
    Index(DiffId, #[source] IndexError),
}

/// Set in the device numbers of cached layers, so that none is a real one.
const SYNTHETIC: u64 = 1 << 63;
/// As the kernel's pages: reads of less bring in no less.
const BLOCK_SIZE: u32 = 4096;
/// What `blocks` of the attributes counts.
const STAT_BLOCK: u64 = 512;

/// A layer of the cache.
#[derive(Debug)]
pub struct CachedLayer {
    index: RwLock<Arc<Index>>,
    /// Whether the index was made anew since the layer was opened; held while that is done.
    rebuilt: Mutex<bool>,
    /// Whether it was said that the layer is broken: each read of it would say so.
    said: AtomicBool,
    index_path: PathBuf,
    blob: Arc<OwnedFd>,
    tar_len: u64,
    diff_id: DiffId,
    device: u64,
    uuid: [u8; 16],
}

impl CachedLayer {
    /// Opens a layer; makes its index anew if it is missing, of another version, or damaged.
    pub fn open(
        index_path: &Path,
        blob_path: &Path,
        diff_id: DiffId,
    ) -> std::result::Result<Self, LayerError> {
        let unreadable = |e| LayerError::Blob(diff_id, e);
        let blob = File::open(blob_path).map_err(unreadable)?;
        let tar_len = blob.metadata().map_err(unreadable)?.len();
        let blob = Arc::new(OwnedFd::from(blob));
        let index = match Index::open(index_path, diff_id, tar_len) {
            Ok(index) => index,
            Err(why) => {
                log::warn!("layer {diff_id}: {why}; it is made anew from the blob");
                rebuild(index_path, &blob, tar_len, diff_id)?
            }
        };
        let (mut uuid, mut device) = ([0; 16], [0; 8]);
        uuid.copy_from_slice(&diff_id.as_bytes()[..16]);
        device.copy_from_slice(&diff_id.as_bytes()[..8]);
        Ok(CachedLayer {
            index: RwLock::new(Arc::new(index)),
            rebuilt: Mutex::new(false),
            said: AtomicBool::new(false),
            index_path: index_path.to_owned(),
            blob,
            tar_len,
            diff_id,
            device: u64::from_be_bytes(device) | SYNTHETIC,
            uuid,
        })
    }

    /// The digest of its tar.
    pub fn diff_id(&self) -> DiffId {
        self.diff_id
    }

    /// Length of its tar in bytes.
    pub fn tar_len(&self) -> u64 {
        self.tar_len
    }

    /// How many names it has, whiteouts included, the root not counted.
    pub fn entries(&self) -> u32 {
        self.index.read().entries()
    }

    /// The index as it is now.
    pub fn index(&self) -> Arc<Index> {
        self.index.read().clone()
    }

    /// Asks the index; if it is found damaged, makes it anew once and asks again.
    fn ask<T>(&self, question: impl Fn(&Arc<Index>) -> std::result::Result<T, IndexError>) -> Result<T> {
        // Bound first: the guard of a match's subject would live as long as the match.
        let answer = question(&self.index.read());
        match answer {
            Ok(answer) => Ok(answer),
            Err(why) => {
                self.heal(&why)?;
                let again = question(&self.index.read());
                again.map_err(|why| self.broken(&why))
            }
        }
    }

    fn heal(&self, why: &IndexError) -> Result<()> {
        let mut rebuilt = self.rebuilt.lock();
        if *rebuilt {
            return Ok(());
        }
        // Not again, whatever comes of it: a disk that damages what is written would be read for ever.
        *rebuilt = true;
        log::warn!("layer {}: {why}; it is made anew from the blob", self.diff_id);
        let index = rebuild(&self.index_path, &self.blob, self.tar_len, self.diff_id);
        *self.index.write() = Arc::new(index.map_err(|why| self.broken(&why))?);
        Ok(())
    }

    fn broken(&self, why: &dyn std::error::Error) -> SysError {
        if !self.said.swap(true, Ordering::Relaxed) {
            log::error!("layer {}: {why}; what needs it fails from now on", self.diff_id);
        }
        SysError { call: "index", errno: Errno::IO }
    }

    fn row_of(object: &Object) -> Result<u32> {
        match object {
            Object::Entry(row) => Ok(*row),
            Object::Dir(_) | Object::Leaf(..) => Err(SysError { call: "index", errno: Errno::STALE }),
        }
    }

    fn real(&self, row: u32) -> RealId {
        // 0 is no number of an inode.
        RealId { dev: self.device, ino: u64::from(row) + 1 }
    }

    fn found(&self, index: &Index, row: &Row, kind: FileKind) -> Found {
        let rdev = index.device_number(row);
        let zero_device = kind == FileKind::CharDevice && rdev == DeviceNumber::default();
        let attr = Attr {
            kind,
            mode: row.mode.into(),
            uid: row.uid,
            gid: row.gid,
            size: row.size,
            blocks: row.stored().div_ceil(STAT_BLOCK),
            blksize: BLOCK_SIZE,
            nlink: row.nlink,
            rdev,
            atime: row.atime,
            mtime: row.mtime,
            ctime: row.mtime,
        };
        let marks = Marks {
            opaque: row.opaque,
            others: row.has_xattrs(),
            // In a directory a device 0:0 would be a whiteout; in a tar it is a device.
            device: zero_device.then_some((kind, rdev)),
            ..Marks::default()
        };
        Found { real: self.real(row.inode), attr, marks, implied: row.implied }
    }
}

impl Layer for CachedLayer {
    fn root(&self) -> Object {
        Object::Entry(ROOT_ROW)
    }

    fn find(&self, dir: &Object, name: &[u8]) -> Result<Finding> {
        let dir = Self::row_of(dir)?;
        self.ask(|index| {
            let Some(number) = index.find(dir, name)? else {
                return Ok(Finding::Absent);
            };
            let row = index.row(number)?;
            Ok(match row.kind {
                RowKind::Whiteout => Finding::Whiteout,
                RowKind::File(kind) => Finding::Found(Box::new(self.found(index, &row, kind))),
            })
        })
    }

    fn look(&self, object: &Object) -> Result<Found> {
        let number = Self::row_of(object)?;
        let found = self.ask(|index| {
            let row = index.row(number)?;
            Ok(match row.kind {
                RowKind::Whiteout => None,
                RowKind::File(kind) => Some(self.found(index, &row, kind)),
            })
        })?;
        found.ok_or(SysError { call: "index", errno: Errno::STALE })
    }

    fn object(&self, _dir: &Object, _name: &FileName, found: &Found) -> Object {
        // What was found of this layer has a number that is a row's; of another it leads nowhere.
        Object::Entry(
            found.real.ino.checked_sub(1).and_then(|row| u32::try_from(row).ok()).unwrap_or(u32::MAX),
        )
    }

    fn list(&self, dir: &Object, each: &mut dyn FnMut(Entry<'_>)) -> Result<bool> {
        let number = Self::row_of(dir)?;
        // All is looked at before the first entry is given out: an index that is made anew half-way
        // would give some of them twice.
        let (index, children, dir) = self.ask(|index| {
            let children = index.children(number)?;
            for child in children.clone() {
                let child = index.row(child)?;
                index.name(&child)?;
                if child.parent != number {
                    return Err(IndexError::Damaged("a directory leads astray"));
                }
            }
            Ok((index.clone(), children, index.row(number)?))
        })?;
        if !dir.kind.is_dir() {
            return Err(SysError { call: "index", errno: Errno::NOTDIR });
        }
        for child in children {
            let row = index.row(child).map_err(|why| self.broken(&why))?;
            let name = index.name(&row).map_err(|why| self.broken(&why))?;
            let (kind, whiteout) = match row.kind {
                RowKind::Whiteout => (FileKind::CharDevice, true),
                RowKind::File(kind) => (kind, false),
            };
            each(Entry { name, kind, real: self.real(row.inode), whiteout });
        }
        Ok(dir.opaque)
    }

    fn read_link(&self, object: &Object) -> Result<Vec<u8>> {
        let number = Self::row_of(object)?;
        let target = self.ask(|index| {
            let row = index.row(number)?;
            let symlink = row.kind == RowKind::File(FileKind::Symlink);
            Ok(if symlink { Some(index.target(&row)?.to_vec()) } else { None })
        })?;
        target.ok_or(SysError { call: "readlinkat", errno: Errno::INVAL })
    }

    fn open(&self, object: &Object) -> Result<Contents> {
        let number = Self::row_of(object)?;
        let data = self.ask(|index| {
            let row = index.row(number)?;
            Ok(match row.kind {
                RowKind::File(FileKind::Regular) => Some((row.size, index.extents(&row)?)),
                RowKind::File(FileKind::Directory) => Some((0, Box::default())),
                _ => None,
            })
        })?;
        let (size, extents) = data.ok_or(SysError { call: "openat", errno: Errno::INVAL })?;
        Ok(Contents::Ranges(Ranges { file: self.blob.clone(), size, extents }))
    }

    fn list_xattrs(&self, object: &Object) -> Result<Vec<u8>> {
        let number = Self::row_of(object)?;
        self.ask(|index| {
            let row = index.row(number)?;
            let mut names = Vec::new();
            for (name, _) in index.xattrs(&row)? {
                if let Some(stored) = stored_xattr(name) {
                    names.extend_from_slice(&stored);
                    names.push(0);
                }
            }
            Ok(names)
        })
    }

    fn get_xattr(&self, object: &Object, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let number = Self::row_of(object)?;
        let XattrClass::Shown(shown) = classify_xattr(name) else {
            return Ok(None);
        };
        self.ask(|index| {
            let row = index.row(number)?;
            let xattrs = index.xattrs(&row)?;
            Ok(xattrs.iter().find(|(name, _)| *name == shown).map(|(_, value)| value.to_vec()))
        })
    }

    fn origin(&self, object: &Object) -> Result<Option<Origin>> {
        let number = Self::row_of(object)?;
        let row = self.ask(|index| index.row(number))?;
        Ok(Origin::of_cached_layer(self.real(row.inode).ino, self.uuid))
    }

    fn shows_mounts(&self) -> bool {
        false
    }

    fn device(&self) -> u64 {
        self.device
    }

    fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    fn statistics(&self) -> Result<FsStats> {
        stat_filesystem(&self.blob)
    }
}
