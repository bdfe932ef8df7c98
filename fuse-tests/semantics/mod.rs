//! The rules of the union, one file a family: each test is one or several sentences of
//! `docs/semantics.md`, shown through a mount, and again after a remount, with a look at where the
//! bytes lie. Layers are built by hand here, marks and all, so that no test leans on another's code.
//!
//! These tests are about layers: they run on layerfs and on the kernel's overlayfs
//! (`LAYERFS_TEST_TARGET=kernel`), which proves that they ask for the right thing, but not on a
//! plain directory.

mod copy_up;
mod crafted;
mod deletion;
mod descriptors;
mod dialects;
mod directories;
mod identity;
mod links;
mod marks;
mod metacopy;
mod names;
mod on_disk;
mod owners;
mod redirect;
mod rename;
mod times;
mod union;
mod whiteout_forms;

use crate::harness::{DumpOptions, Mount, Stack, assert_same_text, dump, dump_with, sh, xattr};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A change of one file, by name.
type Change = (&'static str, fn(&Path));

/// A time long ago with nanoseconds that no truncation keeps.
const LONG_AGO: Timespec = Timespec { tv_sec: 1_234_567_890, tv_nsec: 123_456_789 };

/// Makes a whiteout, with its missing parents.
fn whiteout(path: impl AsRef<Path>) {
    char_device(path, 0, 0);
}

fn char_device(path: impl AsRef<Path>, major: u32, minor: u32) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::from(0o600), device).unwrap();
}

/// Makes a directory, with its missing parents.
fn mkdir(path: impl AsRef<Path>) {
    fs::create_dir_all(path).unwrap();
}

/// Sets `trusted.overlay.NAME`.
fn mark(path: impl AsRef<Path>, name: &str, value: &str) {
    xattr::lset(path, &format!("trusted.overlay.{name}"), value.as_bytes()).unwrap();
}

/// Makes an opaque directory, with its missing parents.
fn opaque(path: impl AsRef<Path>) {
    mkdir(&path);
    mark(path, "opaque", "y");
}

/// The names in a directory, sorted.
fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.as_ref().display()));
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

/// All paths below a directory, sorted, in one line; for a look at the whole upper.
fn paths(dir: impl AsRef<Path>) -> String {
    let listing = sh("cd \"$1\"; find . -mindepth 1 | LC_ALL=C sort", &[dir.as_ref()]);
    listing.lines().map(|line| line.trim_start_matches("./")).collect::<Vec<_>>().join(" ")
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

fn lstat(path: impl AsRef<Path>) -> fs::Metadata {
    fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

fn ino(path: impl AsRef<Path>) -> u64 {
    lstat(path).ino()
}

/// Whether lstat answers ENOENT and the listing does not have it.
fn absent(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    let missing = fs::symlink_metadata(path).is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT));
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    missing && !names(path.parent().unwrap()).contains(&name)
}

/// Sets atime and mtime of the object itself.
fn set_times(path: impl AsRef<Path>, time: Timespec) {
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path.as_ref(), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn mtime(path: impl AsRef<Path>) -> (i64, i64) {
    let meta = lstat(path);
    (meta.mtime(), meta.mtime_nsec())
}

/// The name, d_ino and type of each entry of a listing, `.` and `..` too, in its order.
fn entries(dir: impl AsRef<Path>) -> Vec<(String, u64, FileType)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let fd = rustix::fs::open(dir.as_ref(), flags, Mode::empty()).unwrap();
    let entries = Dir::read_from(fd).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name().to_str().unwrap().to_owned(), entry.ino(), entry.file_type()))
        .collect()
}

/// Everything about one object and what is below it, as text that does not name it.
fn picture(path: &Path) -> String {
    let options = DumpOptions { root: false, ..DumpOptions::default() };
    let whole = dump_with(path.parent().unwrap(), &options);
    let name = format!("/{}", path.file_name().unwrap().to_str().unwrap());
    let mut text = String::new();
    for line in whole.lines() {
        match line.strip_prefix(&name) {
            Some(rest) if rest.starts_with([' ', '/']) => text += &format!("{rest}\n"),
            _ => {}
        }
    }
    text
}

/// Checks now and once more after a remount, and that the remount changed nothing visible.
fn twice(m: &mut Mount, check: impl Fn(&Mount)) {
    check(m);
    let before = dump(m.path());
    m.remount(&[]);
    assert_same_text(&before, &dump(m.path()), "the tree before and after a remount");
    check(m);
}

/// A stack whose lower 0 has these files, each with its own path as content.
fn stack_with(files: &[&str]) -> Stack {
    let stack = Stack::new(1);
    fill(stack.lower(0), files);
    stack
}

/// Writes files, each with its own path as content.
fn fill(dir: &Path, files: &[&str]) {
    for file in files {
        crate::harness::write(dir.join(file), file);
    }
}
