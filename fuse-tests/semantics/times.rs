//! A5 over remounts: the times that are shown are the ones that are kept.

use super::*;
use crate::harness::write;
use std::fs::OpenOptions;
use std::io::Write as _;

/// Writes at once after the file was made or opened, so that both happen within one tick of the
/// kernel's coarse clock.
#[test]
fn a5_the_mtime_shown_after_a_write_is_the_one_kept() {
    let stack = Stack::new(1);
    for n in 0..100 {
        write(stack.lower(0).join(format!("lower{n}")), "lower");
    }
    let mut m = stack.mount(&[]);
    for n in 0..100 {
        fs::write(m.join(format!("written{n}")), "new").unwrap();
        fs::write(m.join(format!("made{n}")), "new").unwrap();
        fs::write(m.join(format!("lower{n}")), "truncated").unwrap();
        let mut appended = OpenOptions::new().append(true).open(m.join(format!("made{n}"))).unwrap();
        appended.write_all(b"more").unwrap();
    }
    let times = |m: &Mount| -> Vec<(String, (i64, i64))> {
        names(m.path()).into_iter().map(|name| (name.clone(), mtime(m.join(name)))).collect()
    };
    let before = times(&m);
    m.remount(&[]);
    let changed: Vec<_> = before.iter().zip(times(&m)).filter(|(old, new)| **old != *new).collect();
    let (count, first) = (changed.len(), changed.first());
    assert!(changed.is_empty(), "{count} of {} changed, such as {first:?}", before.len());
}

#[test]
fn a5_times_of_directories_are_kept_over_a_remount() {
    let stack = stack_with(&["a/x", "b/y", "c/z"]);
    let mut m = stack.mount(&[]);
    fs::write(m.join("a/new"), "").unwrap();
    fs::remove_file(m.join("b/y")).unwrap();
    fs::rename(m.join("c/z"), m.join("b/z")).unwrap();
    fs::create_dir(m.join("d")).unwrap();
    fs::write(m.join("d/in"), "").unwrap();
    let times = |m: &Mount| ["", "a", "b", "c", "d"].map(|path| mtime(m.join(path)));
    let before = times(&m);
    m.remount(&[]);
    assert_eq!(before, times(&m));
}
