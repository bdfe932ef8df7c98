//! Many threads at once: nothing hangs, nothing is left behind, and memory agrees with the disk.
//!
//! The kernel locks directories before it asks; here nobody does, so that the engine stands alone.

use super::super::{Entry, Error, NewObject, Overlay, RenameMode, Result, WriteHow};
use super::dump::{Dump, Ids, ROOT, diff};
use super::fixture::{Lowers, World, known};
use crate::sys::Errno;
use crate::types::{DeviceNumber, FileKind, Ino, SetAttr};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

const THREADS: u64 = 8;
const STEPS: usize = 3000;
/// A run takes seconds; what takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(120);
const FILE: NewObject<'_> = NewObject::Node(FileKind::Regular, DeviceNumber { major: 0, minor: 0 });

/// What threads work on, and what they do: what [`Client::step`] names by these numbers.
struct Work {
    dirs: &'static [&'static str],
    names: &'static [&'static str],
    steps: [usize; 12],
}

/// Directories and names of the fixture, and some that are free: few, so that threads meet.
const ALL: Work = Work {
    dirs: &["", "low", "low/dir", "low/sub", "both", "both/dir", "up"],
    names: &["dir", "sub", "file", "hard1", "hard2", "gone", "low", "up", "one", "new"],
    steps: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
};

/// Directories that move above and below each other.
const MOVES: Work = Work {
    dirs: &["", "a", "b", "a/b", "b/a", "low"],
    names: &["a", "b", "low"],
    steps: [2, 2, 2, 5, 6, 6, 6, 6, 6, 8, 8, 11],
};

/// One thread as the kernel is to the engine: it keeps what it looked up, and gives it back.
struct Client<'a> {
    overlay: &'a Overlay,
    work: &'static Work,
    random: u64,
    lookups: HashMap<Ino, u64>,
}

impl Client<'_> {
    fn below(&mut self, limit: usize) -> usize {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % limit
    }

    fn name(&mut self) -> &'static [u8] {
        self.work.names[self.below(self.work.names.len())].as_bytes()
    }

    fn keep(&mut self, found: Result<Option<Entry<'_>>>) -> Option<Ino> {
        let entry = match found {
            Ok(entry) => entry?,
            Err(e) => {
                expected(e);
                return None;
            }
        };
        *self.lookups.entry(entry.ino).or_default() += 1;
        let ino = entry.ino;
        entry.node.into_kernel();
        Some(ino)
    }

    fn lookup(&mut self, dir: Ino, name: &[u8]) -> Option<Ino> {
        let found = self.overlay.lookup(dir, name);
        self.keep(found)
    }

    /// A directory of the fixture, wherever its path leads to by now.
    fn directory(&mut self) -> Ino {
        let path = self.work.dirs[self.below(self.work.dirs.len())];
        let mut dir = Ino::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            match self.lookup(dir, name.as_bytes()) {
                Some(next) => dir = next,
                None => break,
            }
        }
        dir
    }

    fn forget_some(&mut self, one_in: usize) {
        let inos: Vec<Ino> = self.lookups.keys().copied().collect();
        for ino in inos {
            if self.below(one_in) == 0
                && let Some(count) = self.lookups.remove(&ino)
            {
                self.overlay.forget(ino, count);
            }
        }
    }

    fn step(&mut self) {
        let (dir, name) = (self.directory(), self.name());
        let done = match self.work.steps[self.below(12)] {
            0..2 => self.create(dir, name, FILE),
            2 => self.create(dir, name, NewObject::Directory),
            3..5 => self.overlay.unlink(dir, name),
            5 => self.overlay.rmdir(dir, name),
            6..8 => self.rename(dir, name),
            8 => self.overlay.read_dir_plus(dir, 0, |_, _| Ok(())),
            9 => self.link(dir, name),
            10 => self.change(dir, name),
            _ => {
                self.forget_some(3);
                Ok(())
            }
        };
        if let Err(e) = done {
            expected(e);
        }
    }

    fn create(&mut self, dir: Ino, name: &[u8], new: NewObject<'_>) -> Result<()> {
        let made = self.overlay.create(dir, name, new, 0o755, ROOT);
        self.keep(made.map(Some));
        Ok(())
    }

    fn rename(&mut self, dir: Ino, name: &[u8]) -> Result<()> {
        let (to, new_name) = (self.directory(), self.name());
        let modes = [RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange];
        let mode = modes[self.below(3)];
        self.overlay.rename(dir, name, to, new_name, mode)
    }

    fn link(&mut self, dir: Ino, name: &[u8]) -> Result<()> {
        let (to, new_name) = (self.directory(), self.name());
        if let Some(ino) = self.lookup(dir, name) {
            let linked = self.overlay.link(ino, to, new_name);
            self.keep(linked.map(Some));
        }
        Ok(())
    }

    fn change(&mut self, dir: Ino, name: &[u8]) -> Result<()> {
        let Some(ino) = self.lookup(dir, name) else {
            return Ok(());
        };
        if self.below(2) == 0 {
            let mode = SetAttr { mode: Some(0o700), ..SetAttr::NOTHING };
            return self.overlay.set_attr(ino, &mode, ROOT).map(drop);
        }
        self.overlay.write(ino, 0, b"written", WriteHow { late: false, kill_set_id: false })
    }
}

/// What a race may answer: what was looked up is there no more, or another is.
fn expected(e: Error) {
    let errnos = [
        Errno::NOENT,
        Errno::EXIST,
        Errno::NOTDIR,
        Errno::ISDIR,
        Errno::NOTEMPTY,
        Errno::INVAL,
        Errno::AGAIN,
        Errno::PERM,
    ];
    assert!(errnos.contains(&e.errno()), "{e}");
}

fn race(world: &Arc<World>, work: &'static Work) -> Arc<Overlay> {
    let overlay = Arc::new(world.open());
    let (done, finished) = channel();
    for seed in 0..THREADS {
        let (overlay, done) = (overlay.clone(), done.clone());
        // Not joined: a thread that hangs must not hang the test.
        std::thread::spawn(move || {
            let mut client = Client { overlay: &overlay, work, random: seed + 1, lookups: HashMap::new() };
            (0..STEPS).for_each(|_| client.step());
            client.forget_some(1);
            done.send(()).unwrap();
        });
    }
    drop(done);
    for _ in 0..THREADS {
        match finished.recv_timeout(PATIENCE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => panic!("threads wait for each other"),
            Err(RecvTimeoutError::Disconnected) => panic!("a thread failed"),
        }
    }
    overlay
}

#[test]
fn threads_neither_hang_nor_leave_nodes_behind() {
    run(&ALL);
}

/// What was looked up may be elsewhere, and above its directory, once its locks are taken.
#[test]
fn threads_that_move_directories_do_not_wait_for_each_other() {
    run(&MOVES);
}

fn run(work: &'static Work) {
    let lowers = Lowers::new();
    let untouched = lowers.raw();
    let world = Arc::new(World::new(&lowers));
    let overlay = race(&world, work);
    assert_eq!(overlay.node_count(), 1, "the root is all that may be known when all is forgotten");
    let live = Dump::of(&overlay, &Ids::new()).text(&[], true);
    assert_eq!(overlay.node_count(), 1);
    // The threads let go of it just after they said so.
    while Arc::strong_count(&overlay) > 1 {
        std::thread::yield_now();
    }
    drop(overlay);
    assert!(world.leftovers().is_empty(), "{:?}", world.leftovers());
    let fresh = Dump::of(&world.open(), &Ids::new()).text(&[], true);
    assert_eq!(diff(&live, &fresh), "", "memory and disk do not agree");
    assert_eq!(diff(&untouched, &lowers.raw()), "", "the lowers were changed");
}

/// As a write does that the kernel sends without a lock: it copies up by a name that may go meanwhile.
#[test]
fn c7_a_name_that_was_removed_meanwhile_is_not_linked_again() {
    let lowers = Lowers::new();
    let world = World::new(&lowers);
    let overlay = world.open();
    let (dir, file) = (known(&overlay, "up"), known(&overlay, "low/hard1"));
    let (dir, node) = (overlay.directory(dir).unwrap(), overlay.node(file).unwrap());
    drop(overlay.link(file, dir.ino, b"another").unwrap());
    overlay.unlink(dir.ino, b"another").unwrap();
    overlay.ensure_upper_name(&dir, b"another", &node).unwrap();
    assert_eq!(overlay.get_attr(file).unwrap().nlink, 3);
    assert!(overlay.lookup(dir.ino, b"another").unwrap().is_none());
    drop((node, dir, overlay));
    let overlay = world.open();
    assert!(overlay.lookup(known(&overlay, "up"), b"another").unwrap().is_none());
}
