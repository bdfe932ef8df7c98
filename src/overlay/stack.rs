//! The stack of layers: opened once, never changed while mounted.

use super::error::{OpenError, Result};
use super::ino::InoMap;
use super::node::Place;
use crate::config::{Lower, Settings};
use crate::layer::{DirLayer, FdPool, Found, Layer, Origin, Upper, UpperUse};
use crate::types::{FsStats, LayerIdx, RealId};
use std::path::Path;
use std::sync::Arc;

/// The layers, topmost first, and the upper if the mount is writable.
pub(super) struct Stack {
    lowers: Vec<Box<dyn Layer>>,
    pub(super) upper: Option<Upper>,
    /// The top of a read-only mount is its upper, which is then not locked.
    pub(super) inos: InoMap,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("lowers", &self.lowers.len()).field("upper", &self.upper).finish()
    }
}

impl Stack {
    /// Opens all layers.
    pub(super) fn open(
        settings: &Settings,
        cached: Vec<Box<dyn Layer>>,
        mount_point: &Path,
        pool: &Arc<FdPool>,
    ) -> std::result::Result<Self, OpenError> {
        let mut lowers: Vec<Box<dyn Layer>> = Vec::with_capacity(settings.lowers.len() + 1);
        // A read-only mount shows its upper, but as one more layer that is never written.
        if let Some(dirs) = settings.upper.as_ref().filter(|_| settings.read_only) {
            lowers.push(directory(&dirs.upper, mount_point, pool)?);
        }
        let mut cached = cached.into_iter();
        for lower in &settings.lowers {
            match lower {
                Lower::Directory(path) => lowers.push(directory(path, mount_point, pool)?),
                Lower::Cached(digest) => {
                    let missing = || OpenError::NotCached { digest: digest.clone() };
                    lowers.push(cached.next().ok_or_else(missing)?);
                }
            }
        }
        let upper = match settings.upper.as_ref().filter(|_| !settings.read_only) {
            None => None,
            Some(dirs) => {
                let how = UpperUse {
                    only_user: settings.userxattr,
                    index: settings.index,
                    whiteouts: settings.whiteouts,
                    permissions: settings.xattr_permissions,
                };
                let opened = Upper::open(&dirs.upper, &dirs.work, how);
                Some(opened.map_err(|error| OpenError::Upper {
                    upper: dirs.upper.display().to_string(),
                    work: dirs.work.display().to_string(),
                    error,
                })?)
            }
        };
        let devices = lowers.iter().rev().map(|l| l.device()).chain(upper.as_ref().map(Upper::device));
        let inos = InoMap::new(devices.collect::<Vec<_>>());
        Ok(Stack { lowers, upper, inos })
    }

    /// A layer by its place in the stack.
    pub(super) fn layer(&self, idx: LayerIdx) -> &dyn Layer {
        &*self.lowers[usize::from(idx.0)]
    }

    /// The layer of an object.
    pub(super) fn of(&self, place: &Place) -> &dyn Layer {
        self.layer(place.layer)
    }

    /// The places of all lowers, topmost first.
    pub(super) fn indices(&self) -> impl Iterator<Item = LayerIdx> + use<> {
        (0..u16::try_from(self.lowers.len()).unwrap_or(u16::MAX)).map(LayerIdx)
    }

    /// The lower inode that an origin names, if it is on a filesystem of this stack.
    pub(super) fn origin_real(&self, origin: &Origin) -> Option<RealId> {
        let ino = origin.inode_number()?;
        let home = self.lowers.iter().find(|layer| layer.uuid() == *origin.uuid())?;
        Some(RealId { dev: home.device(), ino })
    }

    /// The inode whose number an upper object shows: its origin's, so that a copy-up does not change it.
    pub(super) fn identity(&self, found: &Found) -> RealId {
        found.marks.origin.as_ref().and_then(|origin| self.origin_real(origin)).unwrap_or(found.real)
    }

    /// Whether a layer keeps owners and modes in xattrs.
    pub(super) fn keeps_owners(&self) -> bool {
        let upper = self.upper.as_ref().is_some_and(|upper| upper.owners().is_some());
        upper || self.lowers.iter().any(|layer| layer.owners().is_some())
    }

    /// Figures of the filesystem that new data goes to, or of the top layer.
    pub(super) fn statistics(&self) -> Result<FsStats> {
        Ok(match &self.upper {
            Some(upper) => crate::sys::stat_filesystem(upper.root())?,
            None => self.layer(LayerIdx(0)).statistics()?,
        })
    }
}

/// Opens a directory as a lower; one that shows what is mounted in it must not hold the mount point.
fn directory(
    path: &Path,
    mount_point: &Path,
    pool: &Arc<FdPool>,
) -> std::result::Result<Box<dyn Layer>, OpenError> {
    let layer = DirLayer::open(path, pool.clone())
        .map_err(|error| OpenError::Lower { path: path.display().to_string(), error })?;
    if layer.shows_mounts() && mount_point.starts_with(path) && mount_point != path {
        let (mount_point, path) = (mount_point.display().to_string(), path.display().to_string());
        return Err(OpenError::Inside { mount_point, path });
    }
    Ok(Box::new(layer))
}
