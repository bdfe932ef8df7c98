//! Opening the cache: made where it is missing, cleaned where a command died.

use super::Store;
use super::disk::Dir;
use super::documents::{canonical, document_error};
use super::error::{Result, StoreError};
use super::lock;
use super::refs::Refs;
use super::root::Paths;
use super::work::{WorkDir, sweep};
use oci_spec::image::{OciLayout, OciLayoutBuilder};
use rustix::fs::Access;
use std::io::ErrorKind;
use std::path::Path;

/// The version of the image layout that the cache is.
const LAYOUT_VERSION: &str = "1.0.0";

impl Store {
    /// Opens the cache at a directory. What is missing is made and what dead commands left is removed, unless
    /// this user may not write there: then the cache is read as it is.
    pub fn open(root: &Path) -> Result<Store> {
        let paths = Paths::new(root);
        let writable = may_write(root)?;
        if !writable {
            check_layout(&paths)?;
            return Ok(Store { paths, writable });
        }
        prepare(&paths)?;
        let died = sweep(&paths)?;
        let store = Store { paths, writable };
        // It may have died while it published or removed: then there are blobs that nothing refers to.
        if died && let Err(e) = store.gc(false) {
            log::warn!("leftovers stay: {e}");
        }
        Ok(store)
    }

    /// Where the cache is.
    pub fn root(&self) -> &Path {
        self.paths.root()
    }

    /// Whether this user may change it.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// A directory to prepare something in.
    pub(super) fn work(&self) -> Result<WorkDir> {
        self.must_write()?;
        WorkDir::new(&self.paths)
    }

    pub(super) fn must_write(&self) -> Result<()> {
        if self.writable { Ok(()) } else { Err(StoreError::ReadOnly(self.root().to_owned())) }
    }
}

/// Whether the root may be written to; where it is missing, it is to be made.
fn may_write(root: &Path) -> Result<bool> {
    match rustix::fs::access(root, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(true),
        Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            Ok(false)
        }
        Err(e) => Err(StoreError::io("open", root)(e.into())),
    }
}

/// Makes what is missing.
fn prepare(paths: &Paths) -> Result<()> {
    let layerfs = paths.root().join("layerfs");
    if layerfs.is_dir()
        && paths.mounts().is_dir()
        && paths.index_file().is_file()
        && check_layout(paths).is_ok()
    {
        return Ok(());
    }
    if !is_empty(paths.root())? && !layerfs.is_dir() {
        check_layout(paths)?;
    }
    // `layerfs` comes first: what a death leaves half made, or another command is making now, is known by it.
    Dir::create(&paths.tmp())?;
    for path in [paths.indexes(), paths.mounts(), paths.blobs()] {
        Dir::create(&path)?;
    }
    let work = WorkDir::new(paths)?;
    let _lock = lock::exclusive(paths)?;
    let root = Dir::open(paths.root())?;
    if !paths.index_file().exists() {
        Refs::empty().write(paths, &work)?;
    }
    if !paths.layout_file().exists() {
        let layout = OciLayoutBuilder::default().image_layout_version(LAYOUT_VERSION).build();
        let layout = canonical(&layout.map_err(|e| document_error("oci-layout", e))?)?;
        work.dir().write_file("oci-layout", 0o644, &layout)?;
        work.dir().move_file("oci-layout", &root, "oci-layout")?;
    }
    root.sync()?;
    check_layout(paths)
}

/// Whether nothing is there, or a directory without content.
fn is_empty(root: &Path) -> Result<bool> {
    match std::fs::read_dir(root) {
        Ok(mut inside) => Ok(inside.next().is_none()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(true),
        Err(e) => Err(StoreError::io("read", root)(e)),
    }
}

fn check_layout(paths: &Paths) -> Result<()> {
    let path = paths.layout_file();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(StoreError::NotALayout(paths.root().to_owned()));
        }
        Err(e) => return Err(StoreError::io("read", &path)(e)),
    };
    let layout: OciLayout =
        serde_json::from_slice(&bytes).map_err(|e| document_error(&path.display().to_string(), e))?;
    match layout.image_layout_version().split('.').next() {
        Some("1") => Ok(()),
        _ => Err(StoreError::LayoutVersion {
            path: paths.root().to_owned(),
            version: layout.image_layout_version().clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_root_is_an_image_layout() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("deep/root");
        let store = Store::open(&root).unwrap();
        assert!(store.is_writable());
        let layout = std::fs::read_to_string(root.join("oci-layout")).unwrap();
        assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);
        let index = std::fs::read_to_string(root.join("index.json")).unwrap();
        assert_eq!(
            index,
            r#"{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}"#
        );
        assert!(root.join("blobs/sha256").is_dir());
        assert!(store.images().unwrap().is_empty());
        assert_eq!(std::fs::read_dir(root.join("layerfs/tmp")).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_of_other_things_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("letter.txt"), "").unwrap();
        let error = Store::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("neither empty nor an OCI image layout"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
        std::fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
        let error = Store::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("version 2.0.0 is not known"), "{error}");
    }

    #[test]
    fn what_a_death_left_half_made_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("layerfs/tmp/1.0")).unwrap();
        std::fs::write(dir.path().join("layerfs/tmp/1.0/layer0"), "x").unwrap();
        Store::open(dir.path()).unwrap();
        assert!(dir.path().join("oci-layout").exists());
        assert_eq!(std::fs::read_dir(dir.path().join("layerfs/tmp")).unwrap().count(), 0);
    }

    #[test]
    fn commands_that_make_a_root_at_once_all_open_it() {
        for _ in 0..200 {
            let dir = tempfile::tempdir().unwrap();
            let start = std::sync::Barrier::new(6);
            std::thread::scope(|scope| {
                let open = || {
                    start.wait();
                    Store::open(dir.path()).map(|_| ())
                };
                let opened: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
                for result in opened {
                    result.join().unwrap().unwrap();
                }
            });
        }
    }

    #[test]
    fn the_work_of_a_living_command_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let work = store.work().unwrap();
        work.dir().write_file("x", 0o644, b"x").unwrap();
        Store::open(dir.path()).unwrap();
        assert!(work.dir().path().join("x").exists());
        let path = work.dir().path().to_owned();
        drop(work);
        assert!(!path.exists());
    }
}
