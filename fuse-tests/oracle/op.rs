//! One operation on a tree, and the generator that draws them.
//!
//! The name space is small on purpose: most draws meet a name that exists already, was removed
//! before, or was renamed away, which is where a union goes wrong.

use super::rng::Rng;
use std::path::Path;

/// How a rename treats its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RenameKind {
    Plain,
    NoReplace,
    Exchange,
}

/// What a slot is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    ReadWrite,
    Append,
    WriteTruncate,
}

/// One step; paths are relative to the tree's root. The numbers of `Fd…` are slots of descriptors
/// that stay open from step to step.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create { path: String, exclusive: bool, len: usize },
    Write { path: String, offset: u64, len: usize },
    Append { path: String, len: usize },
    Truncate { path: String, len: u64 },
    Punch { path: String, offset: u64, len: u64 },
    Allocate { path: String, offset: u64, len: u64, keep_size: bool },
    Read { path: String },
    ReadLink { path: String },
    List { path: String },
    Stat { path: String },
    Mkdir { path: String, mode: u32 },
    Rmdir { path: String },
    Unlink { path: String },
    Rename { from: String, to: String, kind: RenameKind },
    Link { from: String, to: String },
    Symlink { target: String, path: String },
    MakeFifo { path: String },
    MakeNull { path: String },
    Chmod { path: String, mode: u32 },
    Chown { path: String, uid: u32, gid: u32 },
    SetTime { path: String, mtime: i64, nanos: i64 },
    SetXattr { path: String, name: String, value: String, create: bool, replace: bool },
    GetXattr { path: String, name: String },
    RemoveXattr { path: String, name: String },
    FdOpen { slot: usize, path: String, access: Access },
    FdClose { slot: usize },
    FdRead { slot: usize },
    FdWrite { slot: usize, offset: u64, len: usize },
    FdTruncate { slot: usize, len: u64 },
    FdChmod { slot: usize, mode: u32 },
    FdChown { slot: usize, uid: u32, gid: u32 },
    FdStat { slot: usize },
    FdSync { slot: usize },
    Remount,
}

/// What stands in a tree now, sorted, so that the draw depends on the seed alone.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) all: Vec<String>,
    pub(crate) dirs: Vec<String>,
    pub(crate) files: Vec<String>,
}

impl Names {
    /// Reads the names below `root`, which is a plain tree.
    pub(crate) fn of(root: &Path) -> Names {
        let mut names = Names::default();
        names.walk(root, "");
        names
    }

    fn walk(&mut self, root: &Path, under: &str) {
        let mut here: Vec<(String, std::fs::FileType)> = std::fs::read_dir(root.join(under))
            .unwrap()
            .map(|e| e.unwrap())
            .map(|e| (join(under, e.file_name().to_str().unwrap()), e.file_type().unwrap()))
            .collect();
        here.sort_by(|a, b| a.0.cmp(&b.0));
        for (path, kind) in here {
            self.all.push(path.clone());
            if kind.is_dir() {
                self.dirs.push(path.clone());
                self.walk(root, &path);
            } else if kind.is_file() {
                self.files.push(path);
            }
        }
    }
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// No target leaves the tree: an absolute one or `..` would lead the three sides to one place.
const TARGETS: [&str; 6] = ["a", "b", "c/a", "a/b", "d", "nowhere"];
const SLOTS: usize = 4;
/// Deeper trees make collisions rare.
const DEEPEST: usize = 4;

/// Draws operations for one tree.
pub(crate) struct Draw<'a> {
    pub(crate) rng: &'a mut Rng,
    pub(crate) names: &'a Names,
}

impl Draw<'_> {
    /// A name that exists, mostly.
    fn known(&mut self) -> String {
        if self.names.all.is_empty() || self.rng.chance(6) {
            return self.fresh();
        }
        self.rng.pick(&self.names.all).clone()
    }

    fn known_file(&mut self) -> String {
        if self.names.files.is_empty() || self.rng.chance(15) {
            return self.known();
        }
        self.rng.pick(&self.names.files).clone()
    }

    fn known_dir(&mut self) -> String {
        if self.names.dirs.is_empty() || self.rng.chance(15) {
            return self.known();
        }
        self.rng.pick(&self.names.dirs).clone()
    }

    /// A name in an existing directory, which may exist or not; seldom below something else.
    fn fresh(&mut self) -> String {
        let name = *self.rng.pick(&NAMES);
        let parent = if self.rng.chance(4) {
            self.rng.pick(&NAMES).to_string()
        } else if self.names.dirs.is_empty() || self.rng.chance(25) {
            String::new()
        } else {
            self.rng.pick(&self.names.dirs).clone()
        };
        if parent.matches('/').count() + 2 > DEEPEST { name.to_owned() } else { join(&parent, name) }
    }

    /// Offsets and sizes near the page and block borders.
    fn size(&mut self) -> u64 {
        match self.rng.below(6) {
            0 => 0,
            1 => 4096,
            2 => 4095 + self.rng.below(3) as u64,
            3 => self.rng.below(100) as u64,
            _ => self.rng.below(20_000) as u64,
        }
    }

    fn mode(&mut self) -> u32 {
        *self.rng.pick(&[0o644, 0o600, 0o755, 0o4755, 0o2755, 0o700, 0o000, 0o1777])
    }

    fn id(&mut self) -> u32 {
        *self.rng.pick(&[0, 1, 1000, 65534])
    }

    fn xattr(&mut self) -> String {
        self.rng.pick(&["user.one", "user.two", "trusted.three"]).to_string()
    }

    /// The next operation.
    pub(crate) fn next(&mut self) -> Op {
        match self.rng.below(100) {
            0..=17 => self.data(),
            18..=52 => self.namespace(),
            53..=73 => self.attributes(),
            74..=93 => self.descriptor(),
            94..=96 => Op::Stat { path: self.known() },
            97 | 98 => Op::List { path: self.known_dir() },
            _ => Op::Remount,
        }
    }

    fn data(&mut self) -> Op {
        let path = self.known_file();
        match self.rng.below(10) {
            0 | 1 => Op::Write { path, offset: self.size(), len: self.size() as usize },
            2 => Op::Append { path, len: self.size() as usize },
            3 | 4 => Op::Truncate { path, len: self.size() },
            5 => Op::Punch { path, offset: self.size(), len: self.size() },
            6 => Op::Allocate { path, offset: self.size(), len: self.size(), keep_size: self.rng.chance(50) },
            7 | 8 => Op::Read { path },
            _ => Op::ReadLink { path: self.known() },
        }
    }

    fn namespace(&mut self) -> Op {
        match self.rng.below(35) {
            0..=3 => {
                Op::Create { path: self.fresh(), exclusive: self.rng.chance(50), len: self.size() as usize }
            }
            4..=7 => Op::Mkdir { path: self.fresh(), mode: self.mode() | 0o700 },
            8..=11 => Op::Rmdir { path: self.known_dir() },
            12..=17 => Op::Unlink { path: self.known() },
            18..=28 => self.rename(),
            29..=31 => Op::Link { from: self.known(), to: self.fresh() },
            32 => Op::Symlink { target: self.rng.pick(&TARGETS).to_string(), path: self.fresh() },
            33 => Op::MakeFifo { path: self.fresh() },
            _ => Op::MakeNull { path: self.fresh() },
        }
    }

    fn rename(&mut self) -> Op {
        let from = if self.rng.chance(50) { self.known_dir() } else { self.known() };
        let kind = match self.rng.below(10) {
            0..=5 => RenameKind::Plain,
            6 => RenameKind::NoReplace,
            _ => RenameKind::Exchange,
        };
        let to =
            if kind == RenameKind::Exchange || self.rng.chance(30) { self.known() } else { self.fresh() };
        Op::Rename { from, to, kind }
    }

    fn attributes(&mut self) -> Op {
        let path = self.known();
        match self.rng.below(10) {
            0 | 1 => Op::Chmod { path, mode: self.mode() },
            2 => Op::Chown { path, uid: self.id(), gid: self.id() },
            3 | 4 => Op::SetTime {
                path,
                mtime: 1_000_000_000 + self.rng.below(100_000) as i64,
                nanos: self.rng.below(1_000_000_000) as i64,
            },
            5..=7 => Op::SetXattr {
                path,
                name: self.xattr(),
                value: format!("v{}", self.rng.below(1000)),
                create: self.rng.chance(15),
                replace: self.rng.chance(15),
            },
            8 => Op::GetXattr { path, name: self.xattr() },
            _ => Op::RemoveXattr { path, name: self.xattr() },
        }
    }

    fn descriptor(&mut self) -> Op {
        let slot = self.rng.below(SLOTS);
        let accesses = [Access::Read, Access::Read, Access::Write, Access::ReadWrite, Access::ReadWrite];
        match self.rng.below(20) {
            0..=4 => {
                let access = match self.rng.below(20) {
                    0 => Access::WriteTruncate,
                    1 | 2 => Access::Append,
                    _ => *self.rng.pick(&accesses),
                };
                Op::FdOpen { slot, path: self.known_file(), access }
            }
            5 => Op::FdClose { slot },
            6..=9 => Op::FdRead { slot },
            10..=13 => Op::FdWrite { slot, offset: self.size(), len: self.size() as usize },
            14 | 15 => Op::FdTruncate { slot, len: self.size() },
            16 => Op::FdChmod { slot, mode: self.mode() },
            17 => Op::FdChown { slot, uid: self.id(), gid: self.id() },
            18 => Op::FdStat { slot },
            _ => Op::FdSync { slot },
        }
    }
}
