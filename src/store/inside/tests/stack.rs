//! Layers on disk, and mounts of the kernel's overlayfs over them.

use crate::layer::{Contents, DirLayer, Entry, FdPool, Finding, Found, Layer, Object, Origin};
use crate::store::inside::Tree;
use crate::sys::Result;
use crate::types::{FileName, FsStats};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Directories that are layers, in a temporary place.
pub(crate) struct Layers {
    pub(crate) base: tempfile::TempDir,
    /// Topmost first.
    pub(crate) paths: Vec<PathBuf>,
}

impl Layers {
    pub(crate) fn new(count: usize) -> Layers {
        // Not /tmp if that is a filesystem without xattrs: the target directory is always a disk.
        let base = tempfile::TempDir::new().unwrap();
        let paths: Vec<PathBuf> = (0..count).map(|n| base.path().join(format!("layer{n}"))).collect();
        paths.iter().for_each(|path| std::fs::create_dir(path).unwrap());
        Layers { base, paths }
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.base.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn tree(&self) -> Tree<'static> {
        Tree::new(self.paths.iter().map(|path| boxed(path)).collect())
    }

    pub(crate) fn alone(&self, at: usize) -> Tree<'static> {
        Tree::alone(boxed(&self.paths[at]))
    }

    /// A file of a layer, with its parents.
    pub(crate) fn put(&self, layer: usize, path: &str, data: &[u8]) {
        let path = self.paths[layer].join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, data).unwrap();
    }

    pub(crate) fn whiteout(&self, layer: usize, path: &str) {
        let path = self.paths[layer].join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        mknod(&path, rustix::fs::FileType::CharacterDevice, 0);
    }

    pub(crate) fn opaque(&self, layer: usize, path: &str) {
        let path = self.paths[layer].join(path);
        std::fs::create_dir_all(&path).unwrap();
        set_xattr(&path, "trusted.overlay.opaque", b"y");
    }
}

pub(crate) fn open(path: &Path) -> DirLayer {
    DirLayer::open(path, Arc::new(FdPool::new(1024))).unwrap()
}

pub(crate) fn boxed(path: &Path) -> Box<dyn Layer> {
    Box::new(open(path))
}

pub(crate) fn mknod(path: &Path, kind: rustix::fs::FileType, dev: u64) {
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, rustix::fs::Mode::from_raw_mode(0o644), dev).unwrap();
}

pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

/// Which marks the kernel may write.
#[derive(Clone, Copy)]
pub(crate) enum Marks {
    /// Redirects and metacopies too.
    All,
    /// Those that layers of images have as well.
    Plain,
    /// All, and an index of the files with several names.
    Indexed,
}

impl Marks {
    fn options(self) -> &'static str {
        match self {
            Marks::All => "redirect_dir=on,metacopy=on,index=off",
            Marks::Plain => "redirect_dir=off,metacopy=off,index=off",
            Marks::Indexed => "redirect_dir=on,metacopy=on,index=on",
        }
    }
}

/// A mount of the kernel's overlayfs; taken down on drop.
pub(crate) struct KernelMount {
    pub(crate) at: PathBuf,
}

impl KernelMount {
    /// Lowers topmost first; read-only without an upper.
    pub(crate) fn new(
        lowers: &[PathBuf],
        upper: Option<(&Path, &Path)>,
        at: &Path,
        marks: Marks,
    ) -> KernelMount {
        let joined: Vec<String> = lowers.iter().map(|lower| lower.display().to_string()).collect();
        let mut options = format!("lowerdir={},{}", joined.join(":"), marks.options());
        if let Some((upper, work)) = upper {
            options += &format!(",upperdir={},workdir={}", upper.display(), work.display());
        }
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "overlay", "overlay", "-o", &options]).arg(at).status().unwrap();
        assert!(status.success(), "mount -o {options}");
        KernelMount { at: at.to_owned() }
    }
}

impl Drop for KernelMount {
    fn drop(&mut self) {
        // A program that another test starts may hold our descriptors between fork and exec.
        for _ in 0..100 {
            if Command::new("umount").arg("-q").arg(&self.at).output().is_ok_and(|out| out.status.success()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(Command::new("umount").arg("-l").arg(&self.at).status().unwrap().success());
    }
}

/// A layer that has one of its directories only because of what is in it.
pub(crate) fn implying(path: &Path, dir: &'static str) -> Box<dyn Layer> {
    Box::new(Implying { layer: open(path), dir })
}

struct Implying {
    layer: DirLayer,
    dir: &'static str,
}

impl Layer for Implying {
    fn root(&self) -> Object {
        self.layer.root()
    }
    fn find(&self, dir: &Object, name: &[u8]) -> Result<Finding> {
        let mut finding = self.layer.find(dir, name)?;
        if let Finding::Found(found) = &mut finding {
            found.implied = name == self.dir.as_bytes();
        }
        Ok(finding)
    }
    fn look(&self, object: &Object) -> Result<Found> {
        self.layer.look(object)
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
