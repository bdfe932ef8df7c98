//! Layers in a temporary directory, with what every case needs in them.

use super::super::Overlay;
use crate::config::{Lower, Settings, UpperDirs};
use crate::types::{Ino, WhiteoutForm};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A `struct vfs_cap_data` of version 2 with CAP_NET_RAW.
pub(super) const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Larger than a block, so that a part can be cut off.
pub(super) const FILE_SIZE: usize = 10_000;

/// Two lowers; no test may change them.
#[derive(Debug)]
pub(super) struct Lowers {
    dir: TempDir,
}

/// An upper and a workdir over lowers.
#[derive(Debug)]
pub(super) struct World {
    dir: TempDir,
    pub(super) settings: Settings,
    ability: Ability,
}

/// What the filesystem of an upper can do, and how its whiteouts are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ability {
    pub(super) whiteouts: WhiteoutForm,
    /// Calls that it lacks.
    pub(super) lacks: &'static [&'static str],
}

impl Ability {
    /// All that a good filesystem can.
    pub(super) const FULL: Ability = Ability { whiteouts: WhiteoutForm::Device, lacks: &[] };

    /// Whether it is that.
    pub(super) fn is_full(&self) -> bool {
        self.whiteouts == WhiteoutForm::Device && self.lacks.is_empty()
    }
}

fn put(path: &Path, data: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, data).unwrap();
}

fn whiteout(path: &Path, form: WhiteoutForm) {
    let dir = path.parent().unwrap();
    std::fs::create_dir_all(dir).unwrap();
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(path, format!("trusted.overlay.{name}"), value, XattrFlags::empty()).unwrap();
    };
    match form {
        WhiteoutForm::Device => {
            rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        }
        WhiteoutForm::Xattr => {
            set(dir, "opaque", b"x");
            put(path, b"");
            set(path, "whiteout", b"y");
        }
        WhiteoutForm::File => {
            put(&dir.join(format!(".wh.{}", path.file_name().unwrap().to_str().unwrap())), b"");
        }
    }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A temporary directory: in memory where that can hold layers, since thousands are made. Elsewhere
/// with TMPDIR.
fn temporary() -> TempDir {
    if std::env::var_os("TMPDIR").is_none()
        && let Ok(dir) = tempfile::tempdir_in("/dev/shm")
        && rustix::fs::setxattr(dir.path(), "user.probe", b"1", XattrFlags::empty()).is_ok()
    {
        return dir;
    }
    tempfile::tempdir().unwrap()
}

/// The number of what is at a path; the kernel knows it from now on.
pub(super) fn known(overlay: &Overlay, path: &str) -> Ino {
    path.split('/').fold(Ino::ROOT, |dir, name| {
        let found = overlay.lookup(dir, name.as_bytes()).unwrap().unwrap();
        let ino = found.ino;
        found.node.into_kernel();
        ino
    })
}

/// Gives everything below a directory old times, each its own.
fn age(dir: &Path, secs: &mut i64) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && !path.is_symlink() {
            age(&path, secs);
        } else {
            set_time(&path, secs);
        }
    }
    set_time(dir, secs);
}

fn set_time(path: &Path, secs: &mut i64) {
    *secs += 1;
    let time = Timespec { tv_sec: *secs, tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

impl Lowers {
    pub(super) fn new() -> Self {
        let lowers = Lowers { dir: temporary() };
        let (top, bottom) = (lowers.path(0), lowers.path(1));
        let low = top.join("low");
        put(&low.join("file"), &vec![b'f'; FILE_SIZE]);
        mode(&low.join("file"), 0o640);
        chown(low.join("file"), Some(1000), Some(1001)).unwrap();
        rustix::fs::setxattr(low.join("file"), "user.note", b"1", XattrFlags::empty()).unwrap();
        put(&low.join("cap"), b"a program");
        mode(&low.join("cap"), 0o755);
        rustix::fs::setxattr(low.join("cap"), "security.capability", &CAPABILITY, XattrFlags::empty())
            .unwrap();
        symlink("file", low.join("link")).unwrap();
        put(&low.join("hard1"), b"of three names");
        std::fs::hard_link(low.join("hard1"), low.join("hard2")).unwrap();
        std::fs::create_dir(low.join("sub")).unwrap();
        std::fs::hard_link(low.join("hard1"), low.join("sub/hard3")).unwrap();
        for name in ["dir/a", "dir/b", "other/x"] {
            put(&low.join(name), name.as_bytes());
        }
        std::fs::create_dir(low.join("void")).unwrap();
        put(&bottom.join("low/dir/b"), b"hidden");
        put(&bottom.join("low/dir/c"), b"of the bottom");
        let both = top.join("both");
        for name in ["file", "gone", "gonedir/x", "full/x", "emptied/x", "emptied/y", "dir/in"] {
            put(&both.join(name), name.as_bytes());
        }
        put(&bottom.join("both/emptied/x"), b"hidden");
        let mut secs = 1_000_000;
        age(lowers.dir.path(), &mut secs);
        lowers
    }

    fn path(&self, layer: usize) -> PathBuf {
        self.dir.path().join(format!("lower{layer}"))
    }

    /// The lowers as an observer without a union sees them.
    pub(super) fn raw(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for path in walk(self.dir.path()) {
            let stat = rustix::fs::lstat(&path).unwrap();
            let times = (stat.st_mode, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
            lines.push(format!("{} {times:?} {}", path.display(), stat.st_nlink));
        }
        lines.join("\n")
    }
}

/// All paths below a directory.
pub(super) fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            paths.extend(walk(&path));
        }
        paths.push(path);
    }
    paths.sort();
    paths
}

impl World {
    pub(super) fn new(lowers: &Lowers) -> Self {
        Self::on(lowers, Ability::FULL)
    }

    /// The same on a filesystem that can do so much.
    pub(super) fn on(lowers: &Lowers, ability: Ability) -> Self {
        let dir = temporary();
        let (upper, work) = (dir.path().join("upper"), dir.path().join("work"));
        std::fs::create_dir_all(&work).unwrap();
        let both = upper.join("both");
        put(&both.join("file"), b"of the upper");
        for name in ["gone", "gonedir", "emptied/x", "emptied/y"] {
            whiteout(&both.join(name), ability.whiteouts);
        }
        put(&both.join("dir/new"), b"new");
        put(&both.join("mine"), b"mine");
        put(&both.join("minedir/inside"), b"inside");
        put(&upper.join("up/file"), b"only here");
        put(&upper.join("up/one"), b"of two names");
        std::fs::hard_link(upper.join("up/one"), upper.join("up/two")).unwrap();
        std::fs::create_dir(upper.join("up/sub")).unwrap();
        whiteout(&upper.join("up/litter/old"), ability.whiteouts);
        let mut secs = 2_000_000;
        age(&upper, &mut secs);
        let settings = Settings {
            lowers: [0, 1].map(|layer| Lower::Directory(lowers.path(layer))).into(),
            upper: Some(UpperDirs { upper, work }),
            whiteouts: Some(ability.whiteouts),
            ..Settings::default()
        };
        World { dir, settings, ability }
    }

    pub(super) fn open(&self) -> Overlay {
        crate::sys::fault::lack(self.ability.lacks);
        Overlay::open(&self.settings, Vec::new(), Path::new("/nowhere"), 1024).unwrap()
    }

    /// What is left in workdir of objects half made.
    pub(super) fn leftovers(&self) -> Vec<PathBuf> {
        walk(&self.dir.path().join("work/work"))
    }
}
