//! K1, K2, K3: the daemon is killed at random moments while it works, over and over on one upper;
//! after each death the upper mounts again and every operation shows as done or as not done.
//!
//! Each operation has objects of its own, so that its two states can be told apart by themselves:
//! what was finished before a death must be done, what had not begun must be untouched, and what
//! was under way may be either, but stays what it is from then on. `LAYERFS_CRASH_SEED` replays.

mod cases;

use crate::harness::{
    Check, DumpOptions, Mount, Stack, Target, assert_same_text, dump_with, place, wait_until, write,
};
use crate::oracle::kernel::KernelMount;
use crate::oracle::rng::Rng;
use cases::{Kind, State, kinds};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, renameat_with};
use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const ROUNDS: usize = 40;
/// Operations of each kind.
const REPEATS: usize = 8;

/// One operation and what is known of it.
struct Case {
    kind: usize,
    dir: String,
    known: Option<State>,
}

/// A series of operations on one upper, with deaths.
struct Series {
    kinds: Vec<Kind>,
    cases: Vec<Case>,
    /// The first case that has not begun.
    next: usize,
}

impl Series {
    fn prepare(stack: &Stack, rng: &mut Rng) -> Series {
        let kinds = kinds();
        let mut cases: Vec<Case> = (0..kinds.len() * REPEATS)
            .map(|i| Case { kind: i % kinds.len(), dir: format!("case{i}"), known: None })
            .collect();
        for i in (1..cases.len()).rev() {
            cases.swap(i, rng.below(i + 1));
        }
        for case in &cases {
            let at = |i| stack.lower(i).join(&case.dir);
            fs::create_dir_all(at(0)).unwrap();
            (kinds[case.kind].prepare)(&at(0), &at(1));
        }
        for case in &mut cases {
            case.known = Some(State::Before);
        }
        Series { kinds, cases, next: 0 }
    }

    /// Works until the daemon dies after `delay`, or all is done.
    fn round(&mut self, m: &mut Mount, delay: Duration) {
        let finished = AtomicUsize::new(self.next);
        let begun = AtomicUsize::new(self.next);
        let root = m.path().to_owned();
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                for (i, case) in self.cases.iter().enumerate().skip(self.next) {
                    begun.store(i + 1, Ordering::SeqCst);
                    match (self.kinds[case.kind].act)(&root.join(&case.dir)) {
                        Ok(()) => finished.store(i + 1, Ordering::SeqCst),
                        Err(error) => return Some((i, error)),
                    }
                }
                None
            });
            thread::sleep(delay);
            m.kill_daemon();
            if let Some((i, error)) = worker.join().unwrap() {
                // EIO: of an fsync whose write-back found nobody. ECANCELED: it was about to enter the ring.
                let dead =
                    [libc::ENOTCONN, libc::ECONNABORTED, libc::ENOENT, libc::EIO, libc::ECANCELED].map(Some);
                let (kind, errno) = (self.kinds[self.cases[i].kind].name, error.raw_os_error());
                assert!(dead.contains(&errno), "{kind}: {error}, which is no death");
            }
        });
        for case in &mut self.cases[self.next..finished.load(Ordering::SeqCst)] {
            case.known = self.kinds[case.kind].kept.then_some(State::After);
        }
        self.next = begun.load(Ordering::SeqCst);
        if self.next > finished.load(Ordering::SeqCst) {
            self.cases[self.next - 1].known = None;
        }
    }

    /// The cases around the latest death are what they are known to be.
    fn check_near(&mut self, root: &Path, when: &str) {
        let near = self.next.saturating_sub(25)..(self.next + 3).min(self.cases.len());
        self.check(root, near, when);
    }

    /// All cases are what they are known to be.
    fn check_all(&mut self, root: &Path, when: &str) {
        self.check(root, 0..self.cases.len(), when);
    }

    /// Each case is what it is known to be; what was not known is settled now.
    fn check(&mut self, root: &Path, which: Range<usize>, when: &str) {
        for case in &mut self.cases[which] {
            let kind = &self.kinds[case.kind];
            let state = (kind.state)(&root.join(&case.dir));
            let known = *case.known.get_or_insert(state);
            assert_eq!(state, known, "{when}: {} in {}", kind.name, case.dir);
        }
    }
}

fn seed() -> u64 {
    let named = std::env::var("LAYERFS_CRASH_SEED").ok().and_then(|text| text.parse().ok());
    named.unwrap_or(20_240_917)
}

/// The lowers as text, with ctimes instead of contents.
fn lowers(stack: &Stack) -> String {
    let options = DumpOptions { content: false, ..DumpOptions::everything() };
    stack.lowers().iter().map(|lower| dump_with(lower, &options)).collect()
}

/// What stands in `workdir/work`, but for one spare whiteout, which a live mount may keep there.
fn left_in_work(stack: &Stack) -> Vec<String> {
    let work = stack.work().join("work");
    let Ok(entries) = fs::read_dir(&work) else { return Vec::new() };
    let mut left: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    if let Some(spare) = left.iter().position(|name| place::is_whiteout(work.join(name))) {
        left.remove(spare);
    }
    left
}

#[test]
fn k1_k2_k3_killed_at_random_moments_each_operation_shows_whole_or_not_at_all() {
    let stack = Stack::new(2);
    let mut rng = Rng::new(seed());
    let mut series = Series::prepare(&stack, &mut rng);
    // The harness would read all lowers at each mount; they are compared at the end instead.
    stack.opt_out(Check::LowersUnchanged);
    let lowers_before = lowers(&stack);
    let mut m = stack.mount_as(Target::Layerfs, &[]);
    series.check_all(m.path(), "before all");
    let mut deaths_at_work = 0;
    for round in 0..ROUNDS {
        let from = series.next;
        let delay = Duration::from_micros(500 + rng.below(25_000) as u64);
        series.round(&mut m, delay);
        deaths_at_work += usize::from(series.next > from);
        m.remount(&[]);
        assert_eq!(left_in_work(&stack), [""; 0], "round {round}: left in the workdir");
        series.check_near(m.path(), &format!("seed {}, round {round}", seed()));
        if series.next == series.cases.len() {
            break;
        }
    }
    eprintln!("{deaths_at_work} deaths at work, {} of {} cases", series.next, series.cases.len());
    assert!(deaths_at_work >= 5, "the deaths came too late to show anything");
    // The harness looks at upper, workdir and index now.
    m.remount(&[]);
    series.check_all(m.path(), "after a clean remount");
    m.umount();
    assert_same_text(&lowers_before, &lowers(&stack), "the lowers before and after");
    let kernel = KernelMount::new(stack.lowers(), stack.upper(), stack.work(), stack.mnt());
    series.check_all(kernel.path(), "mounted by the kernel");
}

/// Two threads work at the time of each death, so that it falls between steps of both.
#[test]
fn k1_killed_while_two_threads_rename_and_exchange_nothing_is_lost_or_doubled() {
    let stack = Stack::new(2);
    for i in 0..20 {
        write(stack.lower(i % 2).join(format!("pool/dir{i}/file")), format!("{i}"));
        write(stack.lower(0).join(format!("pool/dir{i}/more")), format!("{i}"));
    }
    let mut rng = Rng::new(seed());
    let mut m = stack.mount_as(Target::Layerfs, &[]);
    for round in 0..15 {
        let root = m.path().join("pool");
        let seeds = [rng.next(), rng.next()];
        thread::scope(|scope| {
            let workers = seeds.map(|seed| {
                scope.spawn({
                    let root = &root;
                    move || shuffle(root, Rng::new(seed))
                })
            });
            thread::sleep(Duration::from_millis(2 + rng.below(20) as u64));
            m.kill_daemon();
            for worker in workers {
                worker.join().unwrap();
            }
        });
        m.remount(&[]);
        assert_pool(&m.path().join("pool"), &format!("seed {}, round {round}", seed()));
    }
    m.umount();
    let kernel = KernelMount::new(stack.lowers(), stack.upper(), stack.work(), stack.mnt());
    assert_pool(&kernel.path().join("pool"), "mounted by the kernel");
}

/// Renames and swaps directories of the pool until the daemon is dead.
fn shuffle(root: &Path, mut rng: Rng) {
    loop {
        let names: Vec<_> = match fs::read_dir(root) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(_) => return,
        };
        if names.is_empty() {
            return;
        }
        let (one, other) = (rng.pick(&names).clone(), rng.pick(&names).clone());
        let moved = if rng.chance(50) {
            renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE)
        } else {
            let new = root.join(format!("new{}", rng.below(1000)));
            renameat_with(CWD, &one, CWD, new, RenameFlags::NOREPLACE)
        };
        if moved == Err(rustix::io::Errno::NOTCONN) {
            return;
        }
    }
}

fn assert_pool(pool: &Path, when: &str) {
    let mut found = Vec::new();
    for entry in fs::read_dir(pool).unwrap() {
        let dir = entry.unwrap().path();
        let read = |name: &str| {
            fs::read_to_string(dir.join(name)).unwrap_or_else(|e| {
                panic!("{when}: {}/{name}: {e}", dir.display());
            })
        };
        let (file, more) = (read("file"), read("more"));
        assert_eq!(file, more, "{when}: {} is mixed of two", dir.display());
        found.push(file.parse::<u32>().unwrap());
    }
    found.sort_unstable();
    assert_eq!(found, (0..20).collect::<Vec<_>>(), "{when}: each directory once");
}

#[test]
fn k2_what_was_fsynced_is_there_after_a_death() {
    let stack = Stack::new(1);
    for i in 0..6 {
        write(stack.lower(0).join(format!("d/lower{i}")), vec![b'l'; 200_000]);
    }
    let mut m = stack.mount_as(Target::Layerfs, &[]);
    for round in 0..4_u64 {
        fs::create_dir(m.join(format!("new{round}"))).unwrap();
        for i in 0..6 {
            let new = m.join(format!("new{round}/file{i}"));
            for path in [new, m.join(format!("d/lower{i}"))] {
                let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
                let file = file.unwrap();
                file.write_all_at(format!("round {round}").as_bytes(), 4096 * round).unwrap();
                file.sync_data().unwrap();
            }
        }
        m.kill_daemon();
        m.remount(&[]);
        for done in 0..=round {
            for i in 0..6 {
                let lower = fs::read(m.join(format!("d/lower{i}"))).unwrap();
                let text = format!("round {done}");
                let at = 4096 * done as usize;
                assert_eq!(&lower[at..at + text.len()], text.as_bytes(), "lower{i}");
                assert_eq!(lower.len(), 200_000);
                let new = fs::read(m.join(format!("new{done}/file{i}"))).unwrap();
                assert_eq!(&new[at..], text.as_bytes(), "new{done}/file{i}");
            }
        }
    }
}

#[test]
fn k3_m8_what_an_earlier_death_left_in_the_workdir_is_removed() {
    let stack = Stack::new(1);
    write(stack.lower(0).join("file"), "file");
    stack.mount_as(Target::Layerfs, &[]).umount();
    let work = stack.work().join("work");
    write(work.join("#12"), "half a copy");
    write(work.join("dir/sub/deep"), "x");
    for name in ["#whiteout", "#w1", "#w2", "#w3"] {
        let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
        rustix::fs::mknodat(CWD, work.join(name), kind, mode, 0).unwrap();
    }
    fs::set_permissions(work.join("dir"), fs::Permissions::from_mode(0o000)).unwrap();
    let m = stack.mount_as(Target::Layerfs, &[]);
    assert!(wait_until(Duration::from_secs(2), || left_in_work(&stack).is_empty()));
    assert_eq!(fs::read_to_string(m.join("file")).unwrap(), "file");
    assert_eq!(fs::read_dir(m.path()).unwrap().count(), 1);
}
