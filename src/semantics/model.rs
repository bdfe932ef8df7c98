//! The rules against a naive reference model, by random operations.
//!
//! 1. *What do the rules make of a change?* [`disk::Disk`]: layers as plain maps, changed only by
//!    carrying out what `change` and `copy_up` plan, and looked at only through `lookup` and
//!    `listing`. It remembers nothing but the layers, so each step is a remount too.
//! 2. *What should have come of it?* [`tree::Tree`]: one plain tree on which the operation is done
//!    directly.
//! 3. *Do they agree?* After each step both are compared as text, so that a failure reads as a
//!    diff; it names the seed and the step.
//!
//! Deliberately elsewhere: how the engine carries plans out (`overlay::tests`).

mod disk;
mod tree;
mod view;

use disk::Disk;
use std::fmt::Write;
use tree::Tree;

const SEEDS: u64 = 300;
const STEPS: usize = 60;
/// Few names, so that operations meet.
const NAMES: [&str; 3] = ["a", "b", "c"];
const DEPTH: usize = 3;
/// More layers than this show nothing new.
const LAYERS_MAX: usize = 5;

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
}

/// One operation; data and modes are its own, so that none is taken for another's.
#[derive(Clone, Debug)]
enum Op {
    Create {
        path: String,
        data: String,
    },
    Mkdir {
        path: String,
        mode: u32,
    },
    Unlink {
        path: String,
    },
    Rmdir {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Exchange {
        from: String,
        to: String,
    },
    Write {
        path: String,
        data: String,
    },
    Chmod {
        path: String,
        mode: u32,
    },
    /// The upper becomes the topmost lower of a mount with a new upper.
    Stack,
}

/// What both sides can be asked.
trait View {
    /// What stands at a path; the root is the empty path.
    fn kind(&self, path: &str) -> Option<Kind>;
    /// Whether a directory shows no name.
    fn is_empty(&self, path: &str) -> bool;
}

/// The errno of an operation that is refused: the order is that of ext4.
fn refusal(view: &impl View, op: &Op) -> Option<&'static str> {
    let parent = |path: &str| match view.kind(split(path).0) {
        None => Some("ENOENT"),
        Some(Kind::File) => Some("ENOTDIR"),
        Some(Kind::Directory) => None,
    };
    match op {
        Op::Create { path, .. } | Op::Mkdir { path, .. } => {
            parent(path).or_else(|| view.kind(path).map(|_| "EEXIST"))
        }
        Op::Unlink { path } | Op::Write { path, .. } => parent(path).or(match view.kind(path) {
            None => Some("ENOENT"),
            Some(Kind::Directory) => Some("EISDIR"),
            Some(Kind::File) => None,
        }),
        Op::Rmdir { path } => parent(path).or(match view.kind(path) {
            None => Some("ENOENT"),
            Some(Kind::File) => Some("ENOTDIR"),
            Some(Kind::Directory) => (!view.is_empty(path)).then_some("ENOTEMPTY"),
        }),
        Op::Chmod { path, .. } => parent(path).or(view.kind(path).is_none().then_some("ENOENT")),
        Op::Rename { from, to } => {
            parent(from).or_else(|| parent(to)).or_else(|| move_refusal(view, from, to))
        }
        Op::Exchange { from, to } => parent(from).or_else(|| parent(to)).or_else(|| {
            let missing = view.kind(from).is_none() || view.kind(to).is_none();
            let loops = from != to && (is_below(from, to) || is_below(to, from));
            missing.then_some("ENOENT").or(loops.then_some("EINVAL"))
        }),
        Op::Stack => None,
    }
}

fn move_refusal(view: &impl View, from: &str, to: &str) -> Option<&'static str> {
    let Some(kind) = view.kind(from) else {
        return Some("ENOENT");
    };
    if from == to {
        return None;
    }
    if is_below(to, from) {
        return Some("EINVAL");
    }
    match (kind, view.kind(to)) {
        (_, None) | (Kind::File, Some(Kind::File)) => None,
        (Kind::Directory, Some(Kind::File)) => Some("ENOTDIR"),
        (Kind::File, Some(Kind::Directory)) => Some("EISDIR"),
        (Kind::Directory, Some(Kind::Directory)) => (!view.is_empty(to)).then_some("ENOTEMPTY"),
    }
}

/// The directory and the name of a path.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| dir.is_empty() || rest.starts_with('/'))
}

/// Random numbers that a seed repeats (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn one_in(&mut self, limit: usize) -> bool {
        self.below(limit) == 0
    }

    fn path(&mut self) -> String {
        let depth = 1 + self.below(DEPTH);
        let names: Vec<_> = (0..depth).map(|_| NAMES[self.below(NAMES.len())]).collect();
        names.join("/")
    }

    /// A path that one time in four is anything, and else exists.
    fn likely(&mut self, tree: &Tree) -> String {
        let paths = tree.paths();
        if paths.is_empty() || self.one_in(4) { self.path() } else { paths[self.below(paths.len())].clone() }
    }

    fn op(&mut self, tree: &Tree, step: usize, layers: usize) -> Op {
        let mode = 0o100 + u32::try_from(step).unwrap();
        let data = if self.one_in(5) { String::new() } else { format!("data{step}") };
        match self.below(16) {
            0..2 => Op::Create { path: self.path(), data },
            2..4 => Op::Mkdir { path: self.path(), mode },
            4..6 => Op::Unlink { path: self.likely(tree) },
            6 => Op::Rmdir { path: self.likely(tree) },
            7..10 => Op::Rename { from: self.likely(tree), to: self.path() },
            10 => Op::Rename { from: self.likely(tree), to: self.likely(tree) },
            11 => Op::Exchange { from: self.likely(tree), to: self.likely(tree) },
            12 => Op::Write { path: self.likely(tree), data },
            13..15 => Op::Chmod { path: self.likely(tree), mode },
            _ if layers < LAYERS_MAX => Op::Stack,
            _ => Op::Rmdir { path: self.likely(tree) },
        }
    }
}

/// The lines in which two dumps differ.
fn diff(wanted: &str, got: &str) -> String {
    let mut text = String::new();
    for line in wanted.lines().filter(|line| !got.lines().any(|other| other == *line)) {
        writeln!(text, "- {line}").unwrap();
    }
    for line in got.lines().filter(|line| !wanted.lines().any(|other| other == *line)) {
        writeln!(text, "+ {line}").unwrap();
    }
    text
}

/// What the steps of one seed did.
#[derive(Default)]
struct Tally {
    done: usize,
    stacked: usize,
    moved_directories: usize,
}

fn run(seed: u64, tally: &mut Tally) {
    let mut random = Random(seed);
    let mut disk = Disk::random(&mut random);
    let mut tree = Tree::from_layers(disk.layers());
    assert_eq!(diff(&tree.dump(), &disk.dump()), "", "seed {seed}: the layers themselves\n{}", disk.raw());
    for step in 0..STEPS {
        let op = random.op(&tree, step, disk.layers().len());
        let before = disk.clone();
        let context = || format!("seed {seed} step {step}: {op:?}\nlayers before:\n{}", before.raw());
        let (wanted, got) = (refusal(&tree, &op), refusal(&disk, &op));
        assert_eq!(wanted, got, "{}", context());
        if wanted.is_some() {
            continue;
        }
        if let Op::Rename { from, .. } = &op
            && tree.kind(from) == Some(Kind::Directory)
        {
            tally.moved_directories += 1;
        }
        tally.done += 1;
        tally.stacked += usize::from(matches!(op, Op::Stack));
        tree.apply(&op);
        disk.apply(&op).unwrap_or_else(|e| panic!("{}\nno filesystem would do this: {e}", context()));
        let changes = diff(&tree.dump(), &disk.dump());
        assert!(changes.is_empty(), "{}\nlayers after:\n{}\n{changes}", context(), disk.raw());
    }
}

#[test]
fn random_operations_show_what_a_plain_tree_shows() {
    let mut tally = Tally::default();
    for seed in 0..SEEDS {
        run(seed, &mut tally);
    }
    // The mix must not thin out unseen.
    assert!(tally.done > 5000, "{} operations were not refused", tally.done);
    assert!(tally.moved_directories > 300, "{} directories moved", tally.moved_directories);
    assert!(tally.stacked > 300, "{} uppers became lowers", tally.stacked);
}
