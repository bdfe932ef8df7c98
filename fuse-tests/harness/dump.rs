//! A tree as text, one sorted line an object, so that two trees compare as texts and a failure
//! reads as a diff.

use super::xattr;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::hash::Hasher as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// What a dump leaves out.
#[derive(Debug, Clone)]
pub struct DumpOptions {
    /// Times of modification.
    pub mtime: bool,
    /// Times of modification of directories (only together with `mtime`).
    pub dir_mtime: bool,
    /// Times of change.
    pub ctime: bool,
    /// Link counts of what is not a directory.
    pub nlink: bool,
    /// `trusted.overlay.*` and `user.overlay.*`.
    pub marks: bool,
    /// The root's own line.
    pub root: bool,
    /// The content of regular files.
    pub content: bool,
}

impl Default for DumpOptions {
    fn default() -> Self {
        Self {
            mtime: true,
            dir_mtime: true,
            ctime: false,
            nlink: true,
            marks: false,
            root: true,
            content: true,
        }
    }
}

impl DumpOptions {
    /// Everything, marks and ctimes too.
    pub fn everything() -> Self {
        Self { ctime: true, marks: true, ..Self::default() }
    }
}

/// The tree as text: path, type, mode, owner, size, mtime, links, device, target, xattrs without
/// overlay marks, and a hash of the content.
pub fn dump(root: impl AsRef<Path>) -> String {
    dump_with(root, &DumpOptions::default())
}

/// The same with choices.
pub fn dump_with(root: impl AsRef<Path>, options: &DumpOptions) -> String {
    let mut lines = Vec::new();
    let root = root.as_ref();
    if options.root {
        lines.push(line(root, root, options));
    }
    walk(root, root, options, &mut lines);
    lines.sort();
    lines.concat()
}

/// Asserts that two trees are the same; the message shows the lines that differ.
pub fn assert_same_tree(left: impl AsRef<Path>, right: impl AsRef<Path>) {
    let title = format!("{} and {}", left.as_ref().display(), right.as_ref().display());
    assert_same_text(&dump(left), &dump(right), &title);
}

/// Asserts that two texts are the same; the message shows the lines only one of them has.
pub fn assert_same_text(left: &str, right: &str, title: &str) {
    if left == right {
        return;
    }
    let only = |sign: char, one: &str, other: &str| {
        let others: Vec<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !others.contains(line));
        lines.fold(String::new(), |text, line| text + &format!("{sign} {line}\n"))
    };
    panic!("{title} differ:\n{}{}", only('-', left, right), only('+', right, left));
}

fn walk(root: &Path, dir: &Path, options: &DumpOptions, lines: &mut Vec<String>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        lines.push(line(root, &path, options));
        if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            walk(root, &path, options, lines);
        }
    }
}

fn line(root: &Path, path: &Path, options: &DumpOptions) -> String {
    let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) => return format!("/{} {error}\n", name.escape_ascii()),
    };
    let mut out = format!("/{} {}", name.escape_ascii(), kind(&meta));
    write!(out, " {:04o} {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid()).unwrap();
    if !meta.is_dir() {
        write!(out, " size={}", meta.len()).unwrap();
    }
    if options.mtime && (options.dir_mtime || !meta.is_dir()) {
        write!(out, " mtime={}.{:09}", meta.mtime(), meta.mtime_nsec()).unwrap();
    }
    if options.ctime {
        write!(out, " ctime={}.{:09}", meta.ctime(), meta.ctime_nsec()).unwrap();
    }
    if options.nlink && !meta.is_dir() {
        write!(out, " nlink={}", meta.nlink()).unwrap();
    }
    if meta.file_type().is_char_device() || meta.file_type().is_block_device() {
        write!(out, " rdev={:x}", meta.rdev()).unwrap();
    }
    if meta.file_type().is_symlink() {
        write!(out, " -> {}", target(path)).unwrap();
    }
    xattrs(&mut out, path, options);
    if options.content && meta.is_file() {
        write!(out, " {}", content(path, meta.len())).unwrap();
    }
    out + "\n"
}

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_dir() => "dir",
        () if kind.is_file() => "file",
        () if kind.is_symlink() => "link",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "sock",
        () if kind.is_char_device() => "char",
        () => "block",
    }
}

fn target(path: &Path) -> String {
    match fs::read_link(path) {
        Ok(target) => target.as_os_str().as_bytes().escape_ascii().to_string(),
        Err(error) => error.to_string(),
    }
}

fn xattrs(out: &mut String, path: &Path, options: &DumpOptions) {
    let names = match xattr::llist(path) {
        Ok(names) => names,
        Err(error) => return write!(out, " xattrs: {error}").unwrap(),
    };
    for name in names {
        let mark = name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.");
        if mark && !options.marks {
            continue;
        }
        match xattr::lget(path, &name) {
            Ok(value) => write!(out, " {name}={}", value.escape_ascii()).unwrap(),
            Err(error) => write!(out, " {name}: {error}").unwrap(),
        }
    }
}

/// A hash of the blocks that are not all zero, with their places: holes and zeros are the same.
fn content(path: &Path, size: u64) -> String {
    let hash = File::open(path).and_then(|file| {
        let mut hasher = DefaultHasher::new();
        let mut block = vec![0_u8; 4096];
        let mut at = next_data(&file, 0, size);
        while at < size {
            let got = file.read_at(&mut block, at)?;
            if got == 0 {
                break;
            }
            if block[..got].iter().any(|byte| *byte != 0) {
                hasher.write_u64(at);
                let used = block[..got].iter().rposition(|byte| *byte != 0).unwrap();
                hasher.write(&block[..=used]);
            }
            at += got as u64;
            if at.is_multiple_of(1 << 20) {
                at = next_data(&file, at, size);
            }
        }
        Ok(hasher.finish())
    });
    hash.map_or_else(|error| format!("content: {error}"), |hash| format!("hash={hash:016x}"))
}

/// Where data begins at or after `at`, down to a whole block; the end if there is none.
fn next_data(file: &File, at: u64, size: u64) -> u64 {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(found) => found & !4095,
        Err(rustix::io::Errno::NXIO) => size,
        Err(_) => at,
    }
}
