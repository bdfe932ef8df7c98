//! D1 to D8: what a removal leaves in the upper, and that what is removed stays so.

use super::*;
use crate::harness::{Errno, Target, assert_errno, place, write};
use std::os::unix::fs::symlink;

#[test]
fn d1_removing_what_only_the_upper_has_leaves_no_whiteout() {
    let stack = stack_with(&["d/x"]);
    fill(stack.upper(), &["old", "d/old", "new_dir/a"]);
    let mut m = stack.mount(&[]);
    fs::write(m.join("fresh"), "").unwrap();
    fs::create_dir(m.join("d/fresh_dir")).unwrap();
    symlink("t", m.join("link")).unwrap();
    for path in ["old", "d/old", "fresh", "link"] {
        fs::remove_file(m.join(path)).unwrap();
    }
    fs::remove_dir(m.join("d/fresh_dir")).unwrap();
    fs::remove_dir_all(m.join("new_dir")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.path()), ["d"]);
        assert_eq!(names(m.join("d")), ["x"]);
        assert_eq!(paths(stack.upper()), "d");
    });
}

#[test]
fn d2_removing_a_lower_name_leaves_a_whiteout_and_copies_nothing() {
    let stack = stack_with(&["a/b/file", "a/b/other", "a/b/dir/x", "top"]);
    write(stack.lower(0).join("big"), vec![7; 4 << 20]);
    symlink("t", stack.lower(0).join("a/link")).unwrap();
    char_device(stack.lower(0).join("a/null"), 1, 3);
    mkdir(stack.lower(0).join("empty"));
    let mut m = stack.mount(&[]);
    for path in ["a/b/file", "big", "a/link", "a/null", "a/b/dir/x"] {
        fs::remove_file(m.join(path)).unwrap();
        m.assert_whiteout(path);
        assert_errno!(fs::remove_file(m.join(path)), Errno::NOENT);
    }
    fs::remove_dir(m.join("a/b/dir")).unwrap();
    fs::remove_dir(m.join("empty")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.path()), ["a", "top"]);
        assert_eq!(names(m.join("a")), ["b"]);
        assert_eq!(names(m.join("a/b")), ["other"]);
        for path in ["a/b/file", "big", "a/link", "a/null", "a/b/dir", "empty"] {
            m.assert_whiteout(path);
        }
        assert_eq!(paths(stack.upper()), "a a/b a/b/dir a/b/file a/link a/null big empty");
        assert!(!place::is_opaque(stack.upper().join("a")));
    });
}

#[test]
fn d3_removing_a_name_of_both_leaves_one_whiteout() {
    let stack = stack_with(&["file", "dir/x", "d/file"]);
    fill(stack.upper(), &["file", "dir/y"]);
    let mut m = stack.mount(&[]);
    fs::write(m.join("d/file"), "copied up").unwrap();
    m.assert_upper("d/file");
    fs::remove_file(m.join("file")).unwrap();
    fs::remove_file(m.join("d/file")).unwrap();
    fs::remove_dir_all(m.join("dir")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.path()), ["d"]);
        assert_eq!(names(m.join("d")).len(), 0);
        for path in ["file", "d/file", "dir"] {
            m.assert_whiteout(path);
        }
        assert_eq!(paths(stack.upper()), "d d/file dir file");
    });
}

#[test]
fn d4_a_removed_name_stays_removed_whatever_is_renamed_around_it() {
    let stack = Stack::new(2);
    fill(stack.lower(0), &["a/one", "a/two", "a/sub/x"]);
    fill(stack.lower(1), &["a/one", "a/three", "a/sub/y", "b/z"]);
    let mut m = stack.mount(&[]);
    fs::remove_file(m.join("a/one")).unwrap();
    fs::remove_file(m.join("a/sub/y")).unwrap();
    for (from, to) in
        [("a", "c"), ("c/sub", "c/deep"), ("c", "a"), ("a", "b/a"), ("b", "moved"), ("moved/a", "a")]
    {
        fs::rename(m.join(from), m.join(to)).unwrap();
        twice(&mut m, |m| {
            let all = paths(m.path());
            assert!(!all.contains("one") && !all.contains("/y"), "after {from} to {to}: {all}");
        });
    }
    assert_eq!(paths(m.path()), "a a/deep a/deep/x a/three a/two moved moved/z");
    fs::rename(m.join("a/two"), m.join("a/one")).unwrap();
    fs::remove_file(m.join("a/one")).unwrap();
    twice(&mut m, |m| assert_eq!(names(m.join("a")), ["deep", "three"]));
}

#[test]
fn d5_rmdir_of_a_merged_directory_needs_all_its_names_hidden() {
    let stack = Stack::new(2);
    fill(stack.lower(0), &["d/a"]);
    fill(stack.lower(1), &["d/b", "d/sub/c"]);
    fill(stack.upper(), &["d/u"]);
    let mut m = stack.mount(&[]);
    for path in ["d/u", "d/a", "d/b", "d/sub/c"] {
        assert_errno!(fs::remove_dir(m.join("d")), Errno::NOTEMPTY, "before {path}");
        fs::remove_file(m.join(path)).unwrap();
    }
    assert_errno!(fs::remove_dir(m.join("d")), Errno::NOTEMPTY);
    fs::remove_dir(m.join("d/sub")).unwrap();
    fs::remove_dir(m.join("d")).unwrap();
    twice(&mut m, |m| {
        assert!(absent(m.join("d")));
        m.assert_whiteout("d");
        assert_eq!(paths(stack.upper()), "d");
    });
}

#[test]
fn d5_rmdir_of_what_is_no_directory_or_not_there() {
    let stack = stack_with(&["file", "d/x"]);
    whiteout(stack.upper().join("d/gone"));
    let m = stack.mount(&[]);
    assert_errno!(fs::remove_dir(m.join("file")), Errno::NOTDIR);
    assert_errno!(fs::remove_dir(m.join("none")), Errno::NOENT);
    assert_errno!(fs::remove_dir(m.join("d/gone")), Errno::NOENT);
    assert_errno!(fs::remove_dir(m.join("file/x")), Errno::NOTDIR);
    assert_errno!(rustix::fs::unlink(m.join("d")), Errno::ISDIR);
    m.assert_not_upper("file");
}

#[test]
fn d6_a_directory_made_where_a_lower_name_is_hidden_is_opaque() {
    let stack = Stack::new(2);
    fill(stack.lower(0), &["d/a"]);
    fill(stack.lower(1), &["d/b", "d/sub/c", "file", "dir/x/y"]);
    let mut m = stack.mount(&[]);
    fs::remove_dir_all(m.join("d")).unwrap();
    fs::remove_file(m.join("file")).unwrap();
    fs::remove_dir_all(m.join("dir/x")).unwrap();
    for path in ["d", "file", "dir/x"] {
        fs::create_dir(m.join(path)).unwrap();
    }
    twice(&mut m, |m| {
        for path in ["d", "file", "dir/x"] {
            assert_eq!(names(m.join(path)).len(), 0, "{path}");
            assert!(place::is_opaque(stack.upper().join(path)), "{path}");
        }
        assert_errno!(fs::symlink_metadata(m.join("d/a")), Errno::NOENT);
        assert_errno!(fs::symlink_metadata(m.join("d/sub/c")), Errno::NOENT);
    });
    // A directory of the same name inside must not merge with the hidden one either.
    fs::create_dir(m.join("d/sub")).unwrap();
    fs::write(m.join("d/b"), "new").unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.join("d")), ["b", "sub"]);
        assert_eq!(names(m.join("d/sub")).len(), 0);
        assert_eq!(text(m.join("d/b")), "new");
    });
}

#[test]
fn d6_removed_and_made_again_many_times() {
    let stack = stack_with(&["d/a", "d/sub/b"]);
    let mut m = stack.mount(&[]);
    for round in 0..4 {
        fs::remove_dir_all(m.join("d")).unwrap();
        fs::create_dir(m.join("d")).unwrap();
        fs::write(m.join(format!("d/round{round}")), "").unwrap();
        if round % 2 == 0 {
            m.remount(&[]);
        }
        assert_eq!(names(m.join("d")), [format!("round{round}")]);
    }
    fs::remove_dir_all(m.join("d")).unwrap();
    twice(&mut m, |m| assert!(absent(m.join("d"))));
    fs::write(m.join("d"), "a file").unwrap();
    fs::remove_file(m.join("d")).unwrap();
    fs::create_dir(m.join("d")).unwrap();
    twice(&mut m, |m| assert_eq!(names(m.join("d")).len(), 0));
}

#[test]
fn d7_where_no_lower_shows_through_deletions_leave_no_whiteouts() {
    let stack = stack_with(&["opaque/x", "opaque/sub/y", "again/z"]);
    opaque(stack.upper().join("opaque"));
    fill(stack.upper(), &["opaque/x", "opaque/sub/y", "pure/x", "pure/sub/y"]);
    let mut m = stack.mount(&[]);
    fs::remove_dir_all(m.join("again")).unwrap();
    fs::create_dir(m.join("again")).unwrap();
    fs::write(m.join("again/z"), "").unwrap();
    for dir in ["opaque", "pure"] {
        fs::remove_file(m.join(dir).join("x")).unwrap();
        fs::remove_file(m.join(dir).join("sub/y")).unwrap();
        fs::remove_dir(m.join(dir).join("sub")).unwrap();
    }
    fs::remove_file(m.join("again/z")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(paths(m.path()), "again opaque pure");
        assert_eq!(paths(stack.upper()), "again opaque pure");
    });
}

#[test]
fn d8_what_is_made_over_a_whiteout_replaces_it() {
    let all = ["file", "dir", "link", "fifo", "hard", "renamed", "sub/file"];
    let stack = stack_with(&all);
    write(stack.lower(0).join("source"), "source");
    let mut m = stack.mount(&[]);
    for name in all {
        fs::remove_file(m.join(name)).unwrap();
        m.assert_whiteout(name);
    }
    fs::write(m.join("file"), "new").unwrap();
    fs::write(m.join("sub/file"), "new").unwrap();
    fs::create_dir(m.join("dir")).unwrap();
    symlink("t", m.join("link")).unwrap();
    rustix::fs::mknodat(CWD, m.join("fifo"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
    fs::hard_link(m.join("source"), m.join("hard")).unwrap();
    fs::rename(m.join("source"), m.join("renamed")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(text(m.join("file")), "new");
        assert_eq!(text(m.join("sub/file")), "new");
        assert_eq!(names(m.join("dir")).len(), 0);
        assert_eq!(fs::read_link(m.join("link")).unwrap(), Path::new("t"));
        assert_eq!(text(m.join("hard")), "source");
        assert_eq!(ino(m.join("hard")), ino(m.join("renamed")));
        for name in all {
            m.assert_upper(name);
        }
        m.assert_whiteout("source");
    });
    assert_errno!(fs::create_dir(m.join("dir")), Errno::EXIST);
    assert_errno!(symlink("t", m.join("file")), Errno::EXIST);
}

#[test]
fn d3_a_renamed_and_copied_file_is_removed_without_a_whiteout_where_no_lower_is() {
    let stack = stack_with(&["file", "d/x"]);
    let mut m = stack.mount(&[]);
    fs::rename(m.join("file"), m.join("elsewhere")).unwrap();
    fs::remove_file(m.join("elsewhere")).unwrap();
    fs::rename(m.join("d"), m.join("e")).unwrap();
    fs::remove_dir_all(m.join("e")).unwrap();
    let kernel = m.target() == Target::KernelOverlay;
    twice(&mut m, |m| {
        assert_eq!(paths(m.path()), "");
        // The kernel leaves whiteouts wherever the directory is merged.
        assert!(kernel || paths(stack.upper()) == "d file", "{}", paths(stack.upper()));
    });
}
