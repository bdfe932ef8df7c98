//! A tree as text with what the oracle compares: everything a caller sees but sizes of
//! directories, link counts of directories (I4), blocks, atimes and ctimes.
//!
//! Times that the run itself set are old and compared exactly; times that an operation sets to
//! "now" are compared as `now`, since the sides run one after the other.

use crate::harness::xattr;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Stat};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// The tree as text, and the inode number of every path.
pub(crate) struct Tree {
    pub(crate) text: String,
    pub(crate) inodes: BTreeMap<String, u64>,
}

/// Ends the line that says that a listing shows another inode number than lstat.
pub(crate) const OTHER_INO: &str = " is listed with another d_ino";

/// The length and FNV-1a hash of some content.
pub(crate) fn digest(data: &[u8]) -> String {
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{}#{hash:016x}", data.len())
}

/// The attributes that are compared, as text.
pub(crate) fn stat_text(stat: &Stat, start: i64) -> String {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = stat.st_mode & 0o7777;
    let mut out = format!("{kind:?} {mode:04o} {}:{}", stat.st_uid, stat.st_gid);
    if kind != FileType::Directory {
        write!(out, " size={} nlink={}", stat.st_size, stat.st_nlink).unwrap();
    }
    if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
        write!(out, " rdev={:x}", stat.st_rdev).unwrap();
    }
    if stat.st_mtime >= start {
        out += " mtime=now";
    } else {
        write!(out, " mtime={}.{:09}", stat.st_mtime, stat.st_mtime_nsec).unwrap();
    }
    out
}

impl Tree {
    /// Looks at everything below `root`, the root too.
    pub(crate) fn of(root: &Path, start: i64) -> Tree {
        let mut tree = Tree { text: String::new(), inodes: BTreeMap::new() };
        let mut first_of = BTreeMap::new();
        tree.visit(root, "", start, &mut first_of);
        tree
    }

    fn visit(&mut self, root: &Path, path: &str, start: i64, first_of: &mut BTreeMap<u64, String>) {
        let full = root.join(path);
        write!(self.text, "/{path} ").unwrap();
        let stat = match rustix::fs::statat(CWD, &full, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => return writeln!(self.text, "lstat: {error:?}").unwrap(),
        };
        self.inodes.insert(path.to_owned(), stat.st_ino);
        self.text += &stat_text(&stat, start);
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let first = first_of.entry(stat.st_ino).or_insert_with(|| path.to_owned());
            write!(self.text, " same=/{first}").unwrap();
        }
        self.xattrs(&full);
        match kind {
            FileType::RegularFile => self.content(&full),
            FileType::Symlink => match rustix::fs::readlinkat(CWD, &full, Vec::new()) {
                Ok(target) => write!(self.text, " -> {}", target.to_string_lossy()).unwrap(),
                Err(error) => write!(self.text, " readlink: {error:?}").unwrap(),
            },
            _ => {}
        }
        self.text.push('\n');
        if kind == FileType::Directory {
            self.children(root, path, start, first_of);
        }
    }

    fn children(&mut self, root: &Path, path: &str, start: i64, first_of: &mut BTreeMap<u64, String>) {
        let names = match list(&root.join(path)) {
            Ok(names) => names,
            Err(error) => return writeln!(self.text, "/{path} listing: {error}").unwrap(),
        };
        for (name, listed_ino, listed_kind) in names {
            let child = if path.is_empty() { name } else { format!("{path}/{name}") };
            self.visit(root, &child, start, first_of);
            let shown = rustix::fs::statat(CWD, root.join(&child), AtFlags::SYMLINK_NOFOLLOW);
            let Ok(stat) = shown else { continue };
            if stat.st_ino != listed_ino {
                writeln!(self.text, "/{child}{OTHER_INO}").unwrap();
            }
            if FileType::from_raw_mode(stat.st_mode) != listed_kind {
                writeln!(self.text, "/{child} is listed as {listed_kind:?}").unwrap();
            }
        }
    }

    fn xattrs(&mut self, full: &Path) {
        match xattr::llist(full) {
            Err(error) => write!(self.text, " listxattr: {error:?}").unwrap(),
            Ok(names) => {
                for name in names {
                    let value = xattr::lget(full, &name);
                    let value = value.map(|value| value.escape_ascii().to_string());
                    write!(self.text, " {name}={value:?}").unwrap();
                }
            }
        }
    }

    fn content(&mut self, full: &Path) {
        match std::fs::read(full) {
            Ok(data) => write!(self.text, " {}", digest(&data)).unwrap(),
            Err(error) => write!(self.text, " read: {error}").unwrap(),
        }
    }
}

/// The names of a directory without `.` and `..`, sorted, with what the listing says of them.
fn list(dir: &Path) -> Result<Vec<(String, u64, FileType)>, rustix::io::Errno> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
    let fd = rustix::fs::open(dir, flags, rustix::fs::Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push((name, entry.ino(), entry.file_type()));
        }
    }
    names.sort_by(|a: &(String, u64, FileType), b| a.0.cmp(&b.0));
    Ok(names)
}
