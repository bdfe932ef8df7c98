//! An upper whose files belong to the user who could give them to nobody else.

use crate::layer::{Contents, Entry, Finding, Found, Layer, Object, Origin};
use crate::sys::Result;
use crate::types::{FileName, FsStats};

/// A layer in which the files of one user and of one group are root's, as they are meant to be in an image:
/// without privilege every copy and every new file is the user's own.
pub struct RootOwned<'l> {
    layer: &'l dyn Layer,
    uid: u32,
    gid: u32,
}

impl<'l> RootOwned<'l> {
    /// Shows what belongs to this user, or to this group, as root's.
    pub fn new(layer: &'l dyn Layer, uid: u32, gid: u32) -> RootOwned<'l> {
        RootOwned { layer, uid, gid }
    }

    fn shown(&self, mut found: Found) -> Found {
        if found.attr.uid == self.uid {
            found.attr.uid = 0;
        }
        if found.attr.gid == self.gid {
            found.attr.gid = 0;
        }
        found
    }
}

impl Layer for RootOwned<'_> {
    fn root(&self) -> Object {
        self.layer.root()
    }

    fn find(&self, dir: &Object, name: &[u8]) -> Result<Finding> {
        Ok(match self.layer.find(dir, name)? {
            Finding::Found(found) => Finding::Found(Box::new(self.shown(*found))),
            other => other,
        })
    }

    fn look(&self, object: &Object) -> Result<Found> {
        Ok(self.shown(self.layer.look(object)?))
    }

    fn object(&self, dir: &Object, name: &FileName, found: &Found) -> Object {
        self.layer.object(dir, name, found)
    }

    fn list(&self, dir: &Object, each: &mut dyn FnMut(Entry<'_>)) -> Result<bool> {
        self.layer.list(dir, each)
    }

    fn read_link(&self, object: &Object) -> Result<Vec<u8>> {
        self.layer.read_link(object)
    }

    fn open(&self, object: &Object) -> Result<Contents> {
        self.layer.open(object)
    }

    fn list_xattrs(&self, object: &Object) -> Result<Vec<u8>> {
        self.layer.list_xattrs(object)
    }

    fn get_xattr(&self, object: &Object, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.layer.get_xattr(object, name)
    }

    fn origin(&self, object: &Object) -> Result<Option<Origin>> {
        self.layer.origin(object)
    }

    fn shows_mounts(&self) -> bool {
        self.layer.shows_mounts()
    }

    fn device(&self) -> u64 {
        self.layer.device()
    }

    fn uuid(&self) -> [u8; 16] {
        self.layer.uuid()
    }

    fn statistics(&self) -> Result<FsStats> {
        self.layer.statistics()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{DirLayer, FdPool};
    use std::sync::Arc;

    #[test]
    fn files_of_the_user_are_root_s_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let owners = [("a", 7, 8), ("b", 7, 9), ("c", 6, 8)];
        for (name, uid, gid) in owners {
            std::fs::write(dir.path().join(name), "").unwrap();
            std::os::unix::fs::chown(dir.path().join(name), Some(uid), Some(gid)).unwrap();
        }
        let plain = DirLayer::open(dir.path(), Arc::new(FdPool::new(100))).unwrap();
        let owned = RootOwned::new(&plain, 7, 8);
        let shown = owners.map(|(name, _, _)| match owned.find(&owned.root(), name.as_bytes()).unwrap() {
            Finding::Found(found) => (found.attr.uid, found.attr.gid),
            other => panic!("{other:?}"),
        });
        assert_eq!(shown, [(0, 0), (0, 9), (6, 0)]);
    }
}
