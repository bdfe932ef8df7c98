//! One object three times: in a lower, in the upper, and made through the mount. A test says how
//! the object is made and what is done with it; that the three end up the same, and the same
//! again after a remount, is checked here.

use crate::harness::*;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Where an object comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In a lower since before the mount.
    Lower,
    /// In the upper since before the mount.
    Upper,
    /// Made through the mount.
    Fresh,
}

/// One of the three objects: `obj` in a directory of its own.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub m: &'a Mount,
    pub origin: Origin,
}

const ORIGINS: [Origin; 3] = [Origin::Lower, Origin::Upper, Origin::Fresh];

impl Origin {
    fn dir(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Upper => "upper",
            Self::Fresh => "fresh",
        }
    }
}

impl Subject<'_> {
    /// The object through the mount.
    pub fn path(&self) -> PathBuf {
        self.beside("obj")
    }

    /// Another name in its directory.
    pub fn beside(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir().join(name)
    }

    /// Its directory through the mount.
    pub fn dir(&self) -> PathBuf {
        self.m.join(self.origin.dir())
    }

    /// The same name in the upper; only where `m.has_upper()`.
    pub fn in_upper(&self, name: impl AsRef<Path>) -> PathBuf {
        self.m.stack().upper().join(self.origin.dir()).join(name)
    }

    /// Asserts that the object's upper file exists.
    pub fn assert_upper(&self) {
        self.m.assert_upper(Path::new(self.origin.dir()).join("obj"));
    }

    /// Asserts that the upper file has this content.
    pub fn assert_upper_content(&self, content: impl AsRef<[u8]>) {
        self.m.assert_upper_content(Path::new(self.origin.dir()).join("obj"), content);
    }

    /// Asserts that a lower object was not copied up.
    pub fn assert_not_copied(&self) {
        if self.origin == Origin::Lower {
            self.m.assert_not_upper(Path::new(self.origin.dir()).join("obj"));
        }
    }

    /// Asserts what removing a name must leave: a whiteout over a lower name, nothing otherwise.
    pub fn assert_removed(&self, name: impl AsRef<Path>) {
        let name = name.as_ref();
        assert!(!place::exists(self.beside(name)), "{self}: {} is still there", name.display());
        let name = Path::new(self.origin.dir()).join(name);
        match self.origin {
            Origin::Lower => self.m.assert_whiteout(name),
            Origin::Upper | Origin::Fresh => self.m.assert_not_upper(name),
        }
    }

    /// Whether a copy-up loses small holes here by design.
    pub fn loses_holes(&self) -> bool {
        self.origin == Origin::Lower
            && self.m.differs_on(&[Target::KernelOverlay], "its copy-up fills holes below 1 MiB")
    }

    /// The object's attributes, links not followed.
    pub fn stat(&self) -> fs::Metadata {
        lstat(self.path())
    }
}

impl std::fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} object", self.origin)
    }
}

/// Makes the object in a lower, in the upper and through the mount, runs the test on each, and
/// checks that the three trees are the same (but for mtimes) and survive a remount.
pub fn each(make: impl Fn(&Path), test: impl Fn(Subject<'_>)) {
    let mut m = mount_objects(make);
    for origin in ORIGINS {
        eprintln!("with the {origin:?} object");
        test(Subject { m: &m, origin });
    }
    let options = DumpOptions { mtime: false, root: false, ..DumpOptions::default() };
    let [lower, upper, fresh] = ORIGINS.map(|o| dump_with(m.join(o.dir()), &options));
    assert_same_text(&lower, &upper, "what became of the lower (-) and the upper (+) object");
    assert_same_text(&upper, &fresh, "what became of the upper (-) and the fresh (+) object");
    let before = settled(&m);
    m.remount(&[]);
    assert_same_text(&before, &settled(&m), "the trees before (-) and after (+) a remount");
}

/// The tree without the mtimes of regular files, which have their own test in `times`
/// (`a5_mtimes_of_written_files_survive_a_remount`), so that one defect fails one test.
fn settled(m: &Mount) -> String {
    let of_line = |line: &str| {
        let file = line.contains(" file ");
        let words = line.split(' ').filter(|word| !file || !word.starts_with("mtime="));
        words.collect::<Vec<_>>().join(" ") + "\n"
    };
    dump(m.path()).lines().map(of_line).collect()
}

/// The mount that [`each`] works on.
pub fn mount_objects(make: impl Fn(&Path)) -> Mount {
    let stack = Stack::new(2);
    for (root, origin) in [(stack.lower(1), Origin::Lower), (stack.upper(), Origin::Upper)] {
        make_in(root, origin, &make);
    }
    let m = stack.mount(&[]);
    make_in(m.path(), Origin::Fresh, &make);
    m
}

fn make_in(root: &Path, origin: Origin, make: impl Fn(&Path)) {
    let dir = root.join(origin.dir());
    fs::create_dir(&dir).unwrap();
    chmod(&dir, 0o755);
    make(&dir.join("obj"));
}

/// Makes a regular file of this content, mode 0644.
pub fn file(content: impl AsRef<[u8]>) -> impl Fn(&Path) {
    move |path| write(path, content.as_ref())
}

/// Makes a regular file of this mode.
pub fn file_of_mode(content: &'static str, mode: u32) -> impl Fn(&Path) {
    move |path| {
        write(path, content);
        chmod(path, mode);
    }
}

/// Makes a directory with a file `f`, a directory `d` and a file `d/g` in it.
pub fn tree(path: &Path) {
    write(path.join("f"), "f");
    write(path.join("d/g"), "g");
    chmod(path, 0o755);
    chmod(&path.join("d"), 0o755);
}

/// Makes an empty directory, mode 0755.
pub fn directory(path: &Path) {
    fs::create_dir(path).unwrap();
    chmod(path, 0o755);
}

/// `size` bytes that repeat only every 251 bytes, so that a shifted block shows.
pub fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

/// chmod(2), which must succeed.
pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// chown(2), which must succeed; links are not followed.
pub fn chown(path: &Path, uid: u32, gid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
}

/// lstat(2), which must succeed.
pub fn lstat(path: impl AsRef<Path>) -> fs::Metadata {
    let path = path.as_ref();
    path.symlink_metadata().unwrap_or_else(|e| panic!("lstat {}: {e}", path.display()))
}

/// The twelve bits of the mode.
pub fn mode_of(path: impl AsRef<Path>) -> u32 {
    lstat(path).mode() & 0o7777
}

/// Opens for reading and writing.
pub fn open_rw(path: impl AsRef<Path>) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Opens for appending.
pub fn open_append(path: impl AsRef<Path>) -> File {
    OpenOptions::new().append(true).open(path).unwrap()
}

/// The names in a directory, sorted, without `.` and `..`.
pub fn names_in(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
