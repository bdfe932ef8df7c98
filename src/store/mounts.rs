//! Which images are mounted where.
//!
//! `layerfs/mounts/NAME` says it, a file for each mount, flocked by the daemon that serves it. A file that
//! nobody holds is that of a dead daemon. The fields are `KEY=VALUE` with NUL after each, since paths may
//! have any other byte.

use super::Store;
use super::digest::{BlobDigest, DiffId};
use super::disk::{Dir, flock};
use super::error::{Result, StoreError};
use super::lock;
use super::work::WorkDir;
use crate::sys::{self, AsFd};
use rustix::fs::FlockOperation;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRecord {
    /// The image, if one is mounted as a whole.
    pub image: Option<BlobDigest>,
    /// The layers that are used, topmost first.
    pub layers: Vec<DiffId>,
    /// What the mount was asked for: a name or an id.
    pub name: String,
    /// Where it is.
    pub mount_point: PathBuf,
    /// The directory that takes changes, of a writable mount.
    pub upper: Option<PathBuf>,
    /// Its workdir, where the index of files with several names is.
    pub work: Option<PathBuf>,
    /// The process that serves it.
    pub pid: u32,
}

/// Keeps a mount registered until it is dropped.
#[derive(Debug)]
pub struct MountGuard {
    /// Nothing where the cache may only be read.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    dir: Dir,
    name: String,
    file: File,
    record: MountRecord,
}

impl MountGuard {
    /// Notes that another process serves the mount: the one that was forked to do it.
    pub fn set_pid(&mut self, pid: u32) -> Result<()> {
        let Some(held) = &mut self.held else { return Ok(()) };
        held.record.pid = pid;
        let bytes = held.record.encode();
        let path = held.dir.path().join(&held.name);
        let written = held.file.write_all_at(&bytes, 0).and_then(|()| held.file.set_len(bytes.len() as u64));
        written.map_err(StoreError::io("write", &path))
    }
}

impl Drop for MountGuard {
    fn drop(&mut self) {
        if let Some(held) = &self.held
            && let Err(e) = held.dir.remove_file(held.name.as_bytes())
        {
            // The next command finds that nobody holds it.
            log::warn!("{e}");
        }
    }
}

impl Store {
    /// Registers a mount; it stays registered while the guard, or a copy of it in a forked process, lives.
    /// What it uses must still be there. In a cache that may only be read nothing is registered.
    pub fn register_mount(&self, record: MountRecord) -> Result<MountGuard> {
        if !self.is_writable() {
            return Ok(MountGuard { held: None });
        }
        let work = WorkDir::new(&self.paths)?;
        let dir = Dir::open(&self.paths.mounts())?;
        let file = work.dir().create_file("mount", 0o644)?;
        let path = work.dir().path().join("mount");
        flock(file.as_fd(), &path, FlockOperation::LockExclusive)?;
        sys::write_at(file.as_fd(), &record.encode(), 0).map_err(StoreError::sys("write", &path))?;
        // Under the lock: whoever removes an image either sees this file, or we see that the image is gone.
        let _lock = lock::exclusive(&self.paths)?;
        for layer in &record.layers {
            if !self.has_layer(*layer)? {
                return Err(StoreError::MissingBlob(layer.to_string()));
            }
        }
        let name = unused_name(&dir)?;
        work.dir().move_file("mount", &dir, &name)?;
        Ok(MountGuard { held: Some(Held { dir, name, file, record }) })
    }

    /// The live mounts; forgets those whose daemon is dead.
    pub fn mounts(&self) -> Result<Vec<MountRecord>> {
        let _lock = if self.is_writable() { Some(lock::exclusive(&self.paths)?) } else { None };
        self.mounts_locked()
    }

    /// The same while the caller holds the lock.
    pub(super) fn mounts_locked(&self) -> Result<Vec<MountRecord>> {
        let dir = match Dir::open(&self.paths.mounts()) {
            Ok(dir) => dir,
            Err(e) if e.is(std::io::ErrorKind::NotFound) => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut mounts = Vec::new();
        for name in dir.names()? {
            let path = dir.path().join(OsStr::from_bytes(&name));
            let mut file = match File::open(&path) {
                Ok(file) => file,
                // Unmounted just now.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(StoreError::io("read", &path)(e)),
            };
            if flock(file.as_fd(), &path, FlockOperation::NonBlockingLockShared)? {
                if self.is_writable() {
                    dir.remove_file(&name)?;
                }
                continue;
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
            mounts.extend(MountRecord::decode(&bytes));
        }
        Ok(mounts)
    }

    /// Refuses what would take an image from a mount.
    pub(super) fn must_not_be_mounted(&self, image: BlobDigest, title: &str) -> Result<()> {
        let mounts = self.mounts_locked()?;
        match mounts.iter().find(|mount| mount.image == Some(image)) {
            None => Ok(()),
            Some(mount) => Err(StoreError::Mounted {
                image: title.to_owned(),
                at: mount.mount_point.display().to_string(),
            }),
        }
    }
}

/// A name that no mount has. The caller holds the lock.
fn unused_name(dir: &Dir) -> Result<String> {
    let pid = std::process::id();
    let mut number = 0;
    loop {
        let name = format!("{pid}.{number}");
        if dir.size_of(&name)?.is_none() {
            return Ok(name);
        }
        number += 1;
    }
}

impl MountRecord {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut field = |key: &str, value: &[u8]| {
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value);
            out.push(0);
        };
        if let Some(image) = self.image {
            field("image", image.to_string().as_bytes());
        }
        for layer in &self.layers {
            field("layer", layer.to_string().as_bytes());
        }
        field("name", self.name.as_bytes());
        field("mountpoint", self.mount_point.as_os_str().as_bytes());
        if let Some(upper) = &self.upper {
            field("upper", upper.as_os_str().as_bytes());
        }
        if let Some(work) = &self.work {
            field("work", work.as_os_str().as_bytes());
        }
        field("pid", self.pid.to_string().as_bytes());
        out
    }

    /// Unknown fields are passed over; a record without a mount point is none.
    fn decode(bytes: &[u8]) -> Option<MountRecord> {
        let (mut image, mut layers, mut name) = (None, Vec::new(), String::new());
        let (mut mount_point, mut upper, mut work, mut pid) = (None, None, None, 0);
        for field in bytes.split(|b| *b == 0) {
            let Some(at) = field.iter().position(|b| *b == b'=') else { continue };
            let (key, value) = (&field[..at], &field[at + 1..]);
            let text = String::from_utf8_lossy(value);
            match key {
                b"image" => image = text.parse().ok(),
                b"layer" => layers.extend(text.parse::<DiffId>()),
                b"name" => name = text.into_owned(),
                b"mountpoint" => mount_point = Some(PathBuf::from(OsStr::from_bytes(value))),
                b"upper" => upper = Some(PathBuf::from(OsStr::from_bytes(value))),
                b"work" => work = Some(PathBuf::from(OsStr::from_bytes(value))),
                b"pid" => pid = text.parse().unwrap_or(0),
                _ => {}
            }
        }
        Some(MountRecord { image, layers, name, mount_point: mount_point?, upper, work, pid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: &[u8]) -> MountRecord {
        MountRecord {
            image: Some(BlobDigest::from_bytes([1; 32])),
            layers: Vec::new(),
            name: "debian:12".to_owned(),
            mount_point: PathBuf::from(OsStr::from_bytes(at)),
            upper: Some("/u=1".into()),
            work: Some("/w".into()),
            pid: 7,
        }
    }

    #[test]
    fn records_survive_with_any_path() {
        let mut one = record(b"/mnt/\xff\n=x");
        one.layers = vec![DiffId::from_bytes([2; 32]), DiffId::from_bytes([3; 32])];
        assert_eq!(MountRecord::decode(&one.encode()), Some(one));
        assert_eq!(MountRecord::decode(b"pid=3\0"), None);
    }

    #[test]
    fn a_mount_is_listed_while_its_guard_lives() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let first = store.register_mount(record(b"/a")).unwrap();
        let mut second = store.register_mount(record(b"/b")).unwrap();
        second.set_pid(12345).unwrap();
        let pids = |mounts: Vec<MountRecord>| mounts.iter().map(|one| one.pid).collect::<Vec<_>>();
        assert_eq!(pids(store.mounts().unwrap()), [7, 12345]);
        drop(first);
        assert_eq!(pids(store.mounts().unwrap()), [12345]);
        // A death closes the file and leaves its name.
        let held = second.held.take().unwrap();
        let path = held.dir.path().join(&held.name);
        drop(held);
        assert!(path.exists());
        assert!(store.mounts().unwrap().is_empty());
        assert!(!path.exists());
    }

    #[test]
    fn a_mount_of_a_layer_that_is_gone_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut gone = record(b"/a");
        gone.layers.push(DiffId::from_bytes([5; 32]));
        let error = store.register_mount(gone).unwrap_err().to_string();
        assert!(error.contains("is missing in the cache"), "{error}");
        assert!(store.mounts().unwrap().is_empty());
    }
}
