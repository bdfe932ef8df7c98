//! U10: what a listing shows.

use super::*;
use crate::harness::write;
use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

fn assert_listing_agrees_with_lstat(dir: &Path) {
    let listed = entries(dir);
    let unique: BTreeSet<&String> = listed.iter().map(|(name, ..)| name).collect();
    assert_eq!(unique.len(), listed.len(), "a name twice in {listed:?}");
    assert!(unique.contains(&".".to_owned()) && unique.contains(&"..".to_owned()));
    for (name, d_ino, d_type) in &listed {
        if name == ".." {
            continue;
        }
        let meta = lstat(dir.join(name));
        assert_eq!(*d_ino, meta.ino(), "d_ino of {name} in {}", dir.display());
        assert_eq!(*d_type, FileType::from_raw_mode(meta.mode()), "d_type of {name}");
    }
}

#[test]
fn u10_a_listing_shows_the_type_and_number_that_lstat_shows() {
    let stack = Stack::new(2);
    for (i, lower) in stack.lowers().iter().enumerate() {
        fill(lower, &[&format!("d/file{i}"), "d/both", &format!("d/sub{i}/x"), "d/merged/x"]);
        symlink("x", lower.join(format!("d/link{i}"))).unwrap();
        char_device(lower.join(format!("d/dev{i}")), 1, 3);
        drop(UnixListener::bind(lower.join(format!("d/sock{i}"))).unwrap());
        sh("mkfifo \"$1\"", &[&lower.join(format!("d/fifo{i}"))]);
    }
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| {
        assert_eq!(names(m.join("d")).len(), 14);
        assert_listing_agrees_with_lstat(&m.join("d"));
        assert_listing_agrees_with_lstat(m.path());
    });
    for name in ["file0", "both", "file1"] {
        fs::write(m.join("d").join(name), "new").unwrap();
    }
    fs::remove_file(m.join("d/link1")).unwrap();
    fs::rename(m.join("d/merged"), m.join("d/renamed")).unwrap();
    fs::rename(m.join("d/sub1"), m.join("d/sub2")).unwrap();
    fs::write(m.join("d/fresh"), "").unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.join("d")).len(), 14);
        assert_listing_agrees_with_lstat(&m.join("d"));
    });
}

#[test]
fn u10_a_big_directory_is_listed_whole_and_each_name_once() {
    let stack = Stack::new(3);
    for (i, lower) in stack.lowers().iter().enumerate() {
        for n in (i * 400)..(i * 400 + 1200) {
            write(lower.join(format!("d/name-{n:05}")), "");
        }
    }
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| {
        let expected: Vec<String> = (0..2000).map(|n| format!("name-{n:05}")).collect();
        assert_eq!(names(m.join("d")), expected);
        assert_listing_agrees_with_lstat(&m.join("d"));
    });
    for n in (0..2000).step_by(2) {
        fs::remove_file(m.join(format!("d/name-{n:05}"))).unwrap();
    }
    twice(&mut m, |m| {
        let expected: Vec<String> =
            (0..2000).filter(|n| n % 2 == 1).map(|n| format!("name-{n:05}")).collect();
        assert_eq!(names(m.join("d")), expected);
    });
}

#[test]
fn u10_what_is_removed_or_made_while_a_listing_is_read_spoils_no_other_name() {
    let stack = Stack::new(2);
    for n in 0..1500 {
        write(stack.lower(n % 2).join(format!("d/name-{n:05}")), "");
    }
    let m = stack.mount(&[]);
    let mut seen = Vec::new();
    for (n, entry) in fs::read_dir(m.join("d")).unwrap().enumerate() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("name") {
            fs::remove_file(m.join("d").join(&name)).unwrap();
            seen.push(name);
        }
        if n < 200 {
            fs::write(m.join(format!("d/fresh-{n}")), "").unwrap();
        }
    }
    seen.sort();
    let expected: Vec<String> = (0..1500).map(|n| format!("name-{n:05}")).collect();
    assert_eq!(seen, expected, "every name that stood all the time is listed exactly once");
}
