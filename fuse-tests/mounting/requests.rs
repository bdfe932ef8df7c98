//! How often the kernel asks: `layerfs --stats`, and what a tree costs when it is read again.

use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

const DIRS: usize = 5;
const FILES: usize = 40;

/// A tree of directories of small files and symlinks, in two lowers and the upper.
fn tree() -> Stack {
    let stack = Stack::new(2);
    for dir in 0..DIRS {
        for file in 0..FILES {
            let layer = if file % 2 == 0 { stack.lower(0) } else { stack.lower(1) };
            write(layer.join(format!("d{dir}/f{file}")), "some data");
        }
        symlink("f1", stack.lower(1).join(format!("d{dir}/link"))).unwrap();
        write(stack.upper().join(format!("d{dir}/upper")), "of the upper");
    }
    stack
}

/// The requests so far, by kind.
fn requests(m: &Mount) -> BTreeMap<String, u64> {
    let said = layerfs(&[OsStr::new("--stats"), m.path().as_os_str()]);
    assert!(said.success(), "{said:?}");
    let count = |line: &str| line.rsplit_once(' ').map(|(kind, n)| (kind.to_owned(), n.parse().unwrap()));
    said.stdout.lines().filter_map(count).collect()
}

/// The requests that `work` causes.
pub(super) fn requests_of(m: &Mount, work: impl FnOnce()) -> BTreeMap<String, u64> {
    let before = requests(m);
    work();
    let mut after = requests(m);
    after.retain(|kind, n| {
        *n -= before.get(kind).copied().unwrap_or(0);
        *n > 0
    });
    after
}

/// How many requests these are.
pub(super) fn total(requests: &BTreeMap<String, u64>) -> u64 {
    requests.get("total").copied().unwrap_or(0)
}

/// ls asks for two ACLs of the root of a mount each time, and for a label until it is told of none.
#[test]
fn a6_ls_with_attributes_asks_no_more_for_many_names() {
    let stack = tree();
    let m = stack.mount(&[]);
    let list = |name: &str| drop(sh("ls -l \"$1\"", &[&m.join(name)]));
    list("d1");
    let asked = requests_of(&m, || list("d1"));
    assert!(asked.get("GETXATTR").is_none_or(|n| *n <= 3), "{} names: {asked:?}", FILES + 2);
}

/// Lists and stats everything, and names that are not there.
fn look_at_all(m: &Mount) {
    for dir in fs::read_dir(m.path()).unwrap() {
        let dir = dir.unwrap().path();
        for entry in fs::read_dir(&dir).unwrap() {
            fs::symlink_metadata(entry.unwrap().path()).unwrap();
        }
        assert!(!dir.join("not there").exists());
    }
}

/// Reads everything.
fn read_all(m: &Mount) {
    for dir in 0..DIRS {
        let dir = m.join(format!("d{dir}"));
        for file in 0..FILES {
            assert_eq!(fs::read(dir.join(format!("f{file}"))).unwrap(), b"some data");
        }
        assert_eq!(fs::read(dir.join("upper")).unwrap(), b"of the upper");
        assert_eq!(fs::read_link(dir.join("link")).unwrap(), Path::new("f1"));
    }
}

#[test]
fn m19_stats_counts_each_kind_and_costs_no_request() {
    let m = tree().mount_as(Target::Layerfs, &[]);
    assert_eq!(requests_of(&m, || ()), BTreeMap::new());
    let missing = requests_of(&m, || assert!(!m.join("not there").exists()));
    assert_eq!(missing.get("LOOKUP"), Some(&1), "{missing:?}");
    let sum: u64 = missing.iter().filter(|(kind, _)| *kind != "total").map(|(_, n)| n).sum();
    assert_eq!(total(&missing), sum);
    let elsewhere = layerfs(&[OsStr::new("--stats"), OsStr::new("/proc")]);
    assert!(!elsewhere.success() && elsewhere.stderr.lines().count() == 1, "{elsewhere:?}");
}

#[test]
fn m20_a_warm_tree_sends_no_request() {
    let m = tree().mount_as(Target::Layerfs, &[]);
    let mut last = BTreeMap::new();
    for _ in 0..6 {
        last = requests_of(&m, || {
            look_at_all(&m);
            read_all(&m);
        });
        if last.is_empty() {
            return;
        }
    }
    panic!("still asked: {last:?}");
}

#[test]
fn m20_a_read_only_mount_is_silent_from_the_second_time_on() {
    let m = tree().mount_as(Target::Layerfs, &["ro"]);
    look_at_all(&m);
    read_all(&m);
    let again = requests_of(&m, || {
        look_at_all(&m);
        read_all(&m);
    });
    assert_eq!(again, BTreeMap::new());
}
