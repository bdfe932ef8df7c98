//! Many threads at once, big copies beside small requests, and what the daemon holds on to.

use crate::harness::{Mount, Stack, Target, daemon_pid, layerfs_bin, need_program, sh, wait_until, write};
use crate::oracle::report::LayerfsMount;
use crate::oracle::rng::Rng;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: usize = 8;
const STEPS: usize = 1200;

/// What one thread believes of its names: the content by path.
type Belief = BTreeMap<String, Vec<u8>>;

/// Makes, changes, moves, removes and verifies files of its own in `dirs`.
fn work(root: &Path, dirs: &[String], thread: usize, mut belief: Belief) -> Belief {
    let mut rng = Rng::new(thread as u64 + 77);
    let name = |rng: &mut Rng| format!("{}/t{thread}-{}", rng.pick(dirs), rng.below(25));
    for step in 0..STEPS {
        let path = name(&mut rng);
        let full = root.join(&path);
        match rng.below(6) {
            0 | 1 => {
                let content = vec![thread as u8 ^ step as u8; rng.below(9000)];
                fs::write(&full, &content).unwrap_or_else(|e| panic!("write {path}: {e}"));
                belief.insert(path, content);
            }
            2 => {
                let removed = fs::remove_file(&full);
                let known = belief.remove(&path).is_some();
                assert_eq!(removed.is_ok(), known, "unlink {path}: {removed:?}");
            }
            3 => {
                let to = name(&mut rng);
                let moved = fs::rename(&full, root.join(&to));
                assert_eq!(moved.is_ok(), belief.contains_key(&path), "rename {path}: {moved:?}");
                if let Some(content) = belief.remove(&path) {
                    belief.insert(to, content);
                }
            }
            4 => {
                let file = OpenOptions::new().append(true).open(&full);
                assert_eq!(file.is_ok(), belief.contains_key(&path), "append {path}: {file:?}");
                if let (Ok(mut file), Some(content)) = (file, belief.get_mut(&path)) {
                    file.write_all(b"more").unwrap();
                    content.extend(b"more");
                }
            }
            _ => verify(root, &path, belief.get(&path)),
        }
    }
    belief
}

fn verify(root: &Path, path: &str, expected: Option<&Vec<u8>>) {
    match (fs::read(root.join(path)), expected) {
        (Ok(found), Some(expected)) => assert!(found == *expected, "content of {path}"),
        (Err(error), None) => assert_eq!(error.kind(), ErrorKind::NotFound, "{path}"),
        (found, expected) => panic!("{path}: {found:?}, expected there: {}", expected.is_some()),
    }
}

#[test]
fn u1_d3_stress_eight_threads_in_shared_and_separate_directories() {
    let stack = Stack::new(2);
    let mut beliefs: Vec<Belief> = vec![Belief::new(); THREADS];
    let mut dirs = vec![vec!["shared".to_owned(), "deep/er/shared".to_owned()]; THREADS];
    for (thread, belief) in beliefs.iter_mut().enumerate() {
        dirs[thread].push(format!("own{thread}"));
        for dir in &dirs[thread] {
            for n in 0..25 {
                let path = format!("{dir}/t{thread}-{n}");
                let content = format!("lower {path}").into_bytes();
                write(stack.lower(n % 2).join(&path), &content);
                belief.insert(path, content);
            }
        }
    }
    let mut m = stack.mount(&[]);
    let root = m.path().to_owned();
    let beliefs: Vec<Belief> = thread::scope(|scope| {
        let workers = beliefs.into_iter().enumerate().map(|(thread, belief)| {
            let (root, dirs) = (&root, &dirs[thread]);
            scope.spawn(move || work(root, dirs, thread, belief))
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    for when in ["live", "remounted"] {
        let all: BTreeMap<_, _> = beliefs.iter().flatten().collect();
        for (path, content) in &all {
            assert!(fs::read(m.join(path)).unwrap() == **content, "{when}: {path}");
        }
        let listed = sh("cd \"$1\"; find . -type f", &[m.path()]);
        assert_eq!(listed.lines().count(), all.len(), "{when}: files that nobody knows");
        m.remount(&[]);
    }
}

/// Runs `attempt` in all threads at once for each of `count` numbers and counts the successes.
fn race(count: usize, attempt: impl Fn(usize, usize) -> bool + Sync) -> Vec<usize> {
    let barrier = std::sync::Barrier::new(THREADS);
    let all: Vec<Vec<bool>> = thread::scope(|scope| {
        let run = |thread: usize| {
            let (barrier, attempt) = (&barrier, &attempt);
            scope.spawn(move || {
                let one = |n| {
                    barrier.wait();
                    attempt(thread, n)
                };
                (0..count).map(one).collect()
            })
        };
        let workers: Vec<_> = (0..THREADS).map(run).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    (0..count).map(|n| all.iter().filter(|wins| wins[n]).count()).collect()
}

#[test]
fn a11_r4_of_eight_racing_threads_exactly_one_creates_renames_or_removes_a_name() {
    const COUNT: usize = 100;
    let stack = Stack::new(1);
    for n in 0..COUNT {
        write(stack.lower(0).join(format!("d/lower{n}")), "lower");
        write(stack.lower(0).join(format!("d/gone{n}")), "gone");
        write(stack.lower(0).join(format!("d/dir{n}/x")), "x");
    }
    let mut m = stack.mount(&[]);
    let d = m.join("d");
    let create =
        |path: std::path::PathBuf| OpenOptions::new().write(true).create_new(true).open(path).is_ok();
    let one = vec![1; COUNT];
    assert_eq!(race(COUNT, |_, n| create(d.join(format!("new{n}")))), one, "create");
    assert_eq!(race(COUNT, |_, n| fs::create_dir(d.join(format!("nd{n}"))).is_ok()), one, "mkdir");
    let moved = |thread: usize, n: usize| {
        fs::rename(d.join(format!("lower{n}")), d.join(format!("t{thread}-{n}"))).is_ok()
    };
    assert_eq!(race(COUNT, moved), one, "rename of a lower file");
    let moved = |thread: usize, n: usize| {
        fs::rename(d.join(format!("dir{n}")), d.join(format!("td{thread}-{n}"))).is_ok()
    };
    assert_eq!(race(COUNT, moved), one, "rename of a lower directory");
    let removed = |_, n| fs::remove_file(d.join(format!("gone{n}"))).is_ok();
    assert_eq!(race(COUNT, removed), one, "unlink of a lower file");
    let again = |_, n| create(d.join(format!("gone{n}")));
    assert_eq!(race(COUNT, again), one, "create over a whiteout");
    let listed = fs::read_dir(&d).unwrap().count();
    assert_eq!(listed, 5 * COUNT);
    m.remount(&[]);
    assert_eq!(fs::read_dir(&d).unwrap().count(), listed);
}

#[test]
fn c1_c8_eight_threads_copy_up_one_file_at_once_and_lose_no_write() {
    let stack = Stack::new(1);
    for n in 0..30 {
        write(stack.lower(0).join(format!("file{n}")), vec![b'.'; 200_000]);
    }
    let mut m = stack.mount(&[]);
    let root = m.path().to_owned();
    let wrote = race(30, |thread, n| {
        use std::os::unix::fs::FileExt as _;
        let file = OpenOptions::new().write(true).open(root.join(format!("file{n}"))).unwrap();
        file.write_all_at(&[b'0' + thread as u8; 10], thread as u64 * 20_000).is_ok()
    });
    assert_eq!(wrote, [THREADS; 30]);
    for when in ["live", "remounted"] {
        for n in 0..30 {
            let found = fs::read(m.join(format!("file{n}"))).unwrap();
            for thread in 0..THREADS {
                let at = thread * 20_000;
                assert_eq!(found[at..at + 10], [b'0' + thread as u8; 10], "{when}: file{n}");
            }
            assert_eq!(found.iter().filter(|byte| **byte == b'.').count(), 200_000 - 80);
        }
        m.remount(&[]);
    }
}

/// Asks for ever new files while `busy` and gives how long each took.
fn latencies(root: &Path, busy: &AtomicBool) -> Vec<Duration> {
    let mut took = Vec::new();
    for n in 0.. {
        if !busy.load(Ordering::SeqCst) || n == 20_000 {
            break;
        }
        let path = root.join(format!("small/{}/f{}", n / 200, n % 200));
        let start = Instant::now();
        let len = fs::symlink_metadata(&path).unwrap().len();
        let mut content = Vec::new();
        File::open(&path).unwrap().read_to_end(&mut content).unwrap();
        took.push(start.elapsed());
        assert_eq!(content.len() as u64, len);
        thread::sleep(Duration::from_micros(200));
    }
    took
}

#[test]
fn c11_during_the_copy_up_of_a_big_file_every_other_file_answers() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 1024;
    let stack = Stack::new(1);
    let mut big = File::create(stack.lower(0).join("big")).unwrap();
    for i in 0..PIECES {
        big.write_all(&vec![(i % 251) as u8 + 1; PIECE]).unwrap();
    }
    // Writing a GiB back is not what is measured.
    big.sync_all().unwrap();
    drop(big);
    for n in 0..20_000 {
        let dir = stack.lower(0).join(format!("small/{}", n / 200));
        if n % 200 == 0 {
            fs::create_dir_all(&dir).unwrap();
        }
        fs::write(dir.join(format!("f{}", n % 200)), "x".repeat(n % 50)).unwrap();
    }
    // Syncing a GiB to this disk is not what is measured.
    let m = stack.mount(&["fsync=0"]);
    let (root, busy) = (m.path().to_owned(), AtomicBool::new(true));
    let (mut took, copied) = thread::scope(|scope| {
        let asker = scope.spawn(|| latencies(&root, &busy));
        let start = Instant::now();
        let mut file = OpenOptions::new().append(true).open(root.join("big")).unwrap();
        file.write_all(b"!").unwrap();
        file.sync_all().unwrap();
        let copied = start.elapsed();
        busy.store(false, Ordering::SeqCst);
        (asker.join().unwrap(), copied)
    });
    // Where blocks can be shared the copy is over at once.
    let shared = copied < Duration::from_millis(50);
    if took.is_empty() && shared {
        return m.assert_upper("big");
    }
    took.sort_unstable();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    let max = *took.last().unwrap();
    eprintln!("copy-up in {copied:?}; {} other files: p50 {p50:?}, p99 {p99:?}, max {max:?}", took.len());
    m.assert_upper("big");
    assert_eq!(fs::metadata(m.join("big")).unwrap().len(), (PIECES * PIECE) as u64 + 1);
    assert!(shared || took.len() > 20, "too few files asked during {copied:?} to say anything");
    assert!(max < Duration::from_millis(500), "one file waited {max:?}");
}

/// The resident memory of a process in KiB.
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn visit(m: &Mount, dirs: usize, files: usize) {
    for dir in 0..dirs {
        assert_eq!(fs::read_dir(m.join(format!("d{dir}"))).unwrap().count(), files);
        for file in 0..files {
            fs::symlink_metadata(m.join(format!("d{dir}/f{file}"))).unwrap();
        }
    }
}

#[test]
fn the_memory_of_50000_visited_inodes_is_given_back() {
    const DIRS: usize = 50;
    const FILES: usize = 1000;
    let stack = Stack::new(1);
    for dir in 0..DIRS {
        let at = stack.lower(0).join(format!("d{dir}"));
        fs::create_dir(&at).unwrap();
        for file in 0..FILES {
            File::create(at.join(format!("f{file}"))).unwrap();
        }
    }
    let m = stack.mount_as(Target::Layerfs, &[]);
    let pid = m.pid();
    let start = resident(pid);
    visit(&m, DIRS, FILES);
    let peak = resident(pid);
    let bound = start + 8 * 1024;
    let mut end = peak;
    // The kernel gives up its inodes in the background, and not all at the first time.
    let back = wait_until(Duration::from_secs(15), || {
        fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
        thread::sleep(Duration::from_millis(200));
        end = resident(pid);
        end <= bound
    });
    eprintln!("resident: {start} KiB at the start, {peak} with {} inodes, {end} after", DIRS * FILES);
    assert!(back, "{end} KiB are still held, more than {bound}");
    visit(&m, DIRS, FILES);
    let again = resident(pid);
    eprintln!("resident: {again} KiB at the second visit");
    let most = start + 8 * 1024 + (DIRS * FILES * 600 / 1024) as u64;
    assert!(again < most, "{again} KiB at the second visit, more than {most}");
}

#[test]
fn the_open_descriptors_of_the_daemon_stay_below_a_low_limit() {
    need_program("prlimit", "util-linux");
    need_program("setpriv", "util-linux");
    const LIMIT: usize = 200;
    let stack = Stack::new(2);
    for dir in 0..150 {
        for file in 0..10 {
            let path = format!("d{dir}/f{file}");
            write(stack.lower(file % 2).join(&path), &path);
        }
    }
    // Without CAP_SYS_RESOURCE the daemon cannot raise the limit.
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-sys_resource", "--inh-caps=-sys_resource", "prlimit"]);
    command.arg(format!("--nofile={LIMIT}:{LIMIT}")).arg(layerfs_bin()).arg("layerfs");
    command.arg(stack.mnt()).arg("-o").arg(stack.options());
    let mount = LayerfsMount::by(&mut command, stack.mnt());
    let pid = daemon_pid(stack.mnt()).unwrap();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert!(line.contains(&format!(" {LIMIT} ")), "{line}");
    let count = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let (mut most, mut held) = (count(), Vec::new());
    for dir in 0..150 {
        held.push(File::open(stack.mnt().join(format!("d{dir}"))).unwrap());
        for file in 0..10 {
            let path = format!("d{dir}/f{file}");
            let full = stack.mnt().join(&path);
            let open = OpenOptions::new().read(true).append(true).open(&full);
            let mut open = open.unwrap_or_else(|e| panic!("open {path}: {e}"));
            let mut content = String::new();
            open.read_to_string(&mut content).unwrap_or_else(|e| panic!("read {path}: {e}"));
            assert_eq!(content, path);
            if file < 4 {
                open.write_all(b"+").unwrap();
                open.sync_all().unwrap_or_else(|e| panic!("write {path}: {e}"));
            }
            held.push(open);
        }
        most = most.max(count());
    }
    eprintln!("{} files and directories open, the daemon held at most {most}", held.len());
    assert!(most < LIMIT, "{most} descriptors");
    for dir in 0..150 {
        let content = fs::read_to_string(stack.mnt().join(format!("d{dir}/f3"))).unwrap();
        assert_eq!(content, format!("d{dir}/f3+"));
    }
    drop((held, mount));
}
