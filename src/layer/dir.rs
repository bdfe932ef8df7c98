//! A read-only layer that is a plain directory.

use super::{Contents, Entry, FdKey, FdPool, Finding, Found, Layer, Object, Origin, Reading, marks};
use crate::semantics::names::{NameClass, classify_name};
use crate::semantics::owners::OwnerXattr;
use crate::sys::{
    AsFd, Errno, OwnedFd, Ref, Result, SysError, filesystem_uuid, get_xattr, handle_of, list_xattrs, open_at,
    open_beneath, open_directory, private_view, read_dir, read_link, reopen, stat, stat_filesystem,
};
use crate::types::{Attr, FileKind, FileName, FsStats, RealId};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory of a plain layer.
#[derive(Debug)]
pub struct LowerDir {
    /// Its number in the descriptor pool; never used twice.
    id: u64,
    /// Where it is; `None` for the root.
    at: Option<(Arc<LowerDir>, FileName)>,
    xattr_whiteouts: bool,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl LowerDir {
    fn new(at: Option<(Arc<LowerDir>, FileName)>, xattr_whiteouts: bool) -> Arc<Self> {
        Arc::new(LowerDir { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), at, xattr_whiteouts })
    }

    /// Its path from the layer's root.
    fn path(&self) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut dir = self;
        while let Some((parent, name)) = &dir.at {
            names.push(name);
            dir = parent;
        }
        names.reverse();
        names.join(&b'/')
    }
}

/// A plain directory as a layer.
#[derive(Debug)]
pub struct DirLayer {
    root_fd: OwnedFd,
    private: bool,
    root: Arc<LowerDir>,
    /// Where it keeps owners and modes, if not in its inodes.
    owners: Option<OwnerXattr>,
    device: u64,
    uuid: [u8; 16],
    pool: Arc<FdPool>,
}

impl DirLayer {
    /// Opens a directory as a layer; ENOTDIR if it is none.
    pub fn open(path: &Path, pool: Arc<FdPool>) -> Result<Self> {
        let shared = open_directory(path)?;
        // Without the right to mount the layer shows what is mounted in it.
        let (root_fd, private) = match private_view(shared.as_fd()) {
            Ok(view) => (view, true),
            Err(_) => (shared, false),
        };
        let (real, _) = stat(Ref::Fd(root_fd.as_fd()))?;
        let marks = marks::read_marks(Ref::Fd(root_fd.as_fd()))?;
        let owners = marks::owners_of(Ref::Fd(root_fd.as_fd()))?;
        // A root that may be searched but not read has no UUID: its origins then match nothing.
        let uuid = reopen(root_fd.as_fd(), false).ok().and_then(|fd| filesystem_uuid(fd.as_fd()));
        Ok(DirLayer {
            root_fd,
            private,
            root: LowerDir::new(None, marks.xattr_whiteouts),
            owners,
            device: real.dev,
            uuid: uuid.unwrap_or_default(),
            pool,
        })
    }

    fn dir_fd(&self, dir: &LowerDir) -> Result<Arc<OwnedFd>> {
        self.pool.get(FdKey::LowerDir(dir.id), || open_beneath(self.root_fd.as_fd(), &dir.path()))
    }

    /// Runs `body` on the object.
    fn with<T>(&self, object: &Object, body: impl FnOnce(Ref<'_>) -> Result<T>) -> Result<T> {
        match object {
            Object::Dir(dir) => body(Ref::Fd(self.dir_fd(dir)?.as_fd())),
            Object::Leaf(dir, name) => body(Ref::At(self.dir_fd(dir)?.as_fd(), name)),
            Object::Entry(_) => Err(SysError { call: "lookup", errno: Errno::STALE }),
        }
    }

    fn reading(&self, xattr_whiteouts: bool) -> Reading {
        Reading { xattr_whiteouts, all_marks: false, owners: self.owners }
    }

    fn as_dir(object: &Object) -> Result<&Arc<LowerDir>> {
        match object {
            Object::Dir(dir) => Ok(dir),
            Object::Leaf(..) | Object::Entry(_) => Err(SysError { call: "lookup", errno: Errno::NOTDIR }),
        }
    }
}

impl Layer for DirLayer {
    fn root(&self) -> Object {
        Object::Dir(self.root.clone())
    }

    fn find(&self, dir: &Object, name: &[u8]) -> Result<Finding> {
        let dir = Self::as_dir(dir)?;
        let fd = self.dir_fd(dir)?;
        marks::find(Ref::At(fd.as_fd(), name), self.reading(dir.xattr_whiteouts))
    }

    fn look(&self, object: &Object) -> Result<Found> {
        match self.with(object, |r| marks::find(r, self.reading(false)))? {
            Finding::Found(found) => Ok(*found),
            // The layer changed under the mount.
            Finding::Absent | Finding::Whiteout => Err(SysError { call: "newfstatat", errno: Errno::STALE }),
        }
    }

    fn attr(&self, object: &Object) -> Result<Attr> {
        if self.owners.is_none() {
            let (_, attr) = self.with(object, stat)?;
            // An empty file may stand for a device, which an xattr says.
            if attr.kind != FileKind::Regular || attr.size > 0 {
                return Ok(attr);
            }
        }
        self.look(object).map(|found| found.attr)
    }

    fn object(&self, dir: &Object, name: &FileName, found: &Found) -> Object {
        match dir {
            Object::Dir(parent) if found.attr.kind.is_dir() => {
                let at = Some((parent.clone(), name.clone()));
                Object::Dir(LowerDir::new(at, found.marks.xattr_whiteouts))
            }
            Object::Dir(parent) | Object::Leaf(parent, _) => Object::Leaf(parent.clone(), name.clone()),
            Object::Entry(entry) => Object::Entry(*entry),
        }
    }

    fn list(&self, dir: &Object, each: &mut dyn FnMut(Entry<'_>)) -> Result<bool> {
        let dir = Self::as_dir(dir)?;
        let fd = self.dir_fd(dir)?;
        list_directory(&fd, self.device, self.reading(dir.xattr_whiteouts), each)
    }

    fn read_link(&self, object: &Object) -> Result<Vec<u8>> {
        self.with(object, |r| {
            let at = r.at();
            read_link(at.dir, at.name)
        })
    }

    fn open(&self, object: &Object) -> Result<Contents> {
        let opened = self.with(object, |r| match r {
            Ref::At(dir, name) => open_at(dir, name, false),
            Ref::Fd(dir) => reopen(dir, false),
        });
        opened.map(|fd| Contents::File(Arc::new(fd)))
    }

    fn list_xattrs(&self, object: &Object) -> Result<Vec<u8>> {
        self.with(object, list_xattrs)
    }

    fn get_xattr(&self, object: &Object, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with(object, |r| get_xattr(r, name))
    }

    fn origin(&self, object: &Object) -> Result<Option<Origin>> {
        let handle = self.with(object, handle_of)?;
        Ok(handle.and_then(|h| Origin::new(&h, self.uuid)))
    }

    fn shows_mounts(&self) -> bool {
        !self.private
    }

    fn device(&self) -> u64 {
        self.device
    }

    fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    fn owners(&self) -> Option<OwnerXattr> {
        self.owners
    }

    fn statistics(&self) -> Result<FsStats> {
        stat_filesystem(&self.root_fd)
    }
}

/// Lists a plain directory of a layer: entries, whiteouts in every dialect, and whether a file in
/// it makes it opaque. Asks for more than getdents says only where a whiteout is possible.
pub(super) fn list_directory(
    fd: &OwnedFd,
    device: u64,
    how: Reading,
    each: &mut dyn FnMut(Entry<'_>),
) -> Result<bool> {
    let mut opaque = false;
    let mut failed = None;
    read_dir(fd.as_fd(), |raw| match classify_name(raw.name) {
        NameClass::Opaque => opaque = true,
        NameClass::Reserved => {}
        NameClass::Hides(name) => {
            let real = RealId { dev: device, ino: raw.ino };
            each(Entry { name, kind: FileKind::Regular, real, whiteout: true });
        }
        NameClass::Plain => {
            let may_differ = match raw.kind {
                None | Some(FileKind::CharDevice) => true,
                Some(FileKind::Regular) => how.xattr_whiteouts || how.owners.is_some(),
                Some(_) => false,
            };
            let real = RealId { dev: device, ino: raw.ino };
            let plain =
                Entry { name: raw.name, kind: raw.kind.unwrap_or(FileKind::Regular), real, whiteout: false };
            match may_differ.then(|| marks::find(Ref::At(fd.as_fd(), raw.name), how)) {
                None => each(plain),
                Some(Ok(Finding::Absent)) => {}
                Some(Ok(Finding::Whiteout)) => each(Entry { whiteout: true, ..plain }),
                Some(Ok(Finding::Found(found))) => each(Entry { kind: found.attr.kind, ..plain }),
                Some(Err(e)) => failed = failed.or(Some(e)),
            }
        }
    })?;
    failed.map_or(Ok(opaque), Err)
}
