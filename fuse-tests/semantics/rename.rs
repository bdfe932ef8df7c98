//! R1, R2 and R4 to R7: renames of files and directories, their flags, errors and traces.

use super::*;
use crate::harness::{Errno, Filesystem, Target, assert_errno, place, write};
use rustix::fs::{RenameFlags, renameat_with};
use std::os::unix::fs::symlink;

fn rename(m: &Mount, from: &str, to: &str, flags: RenameFlags) -> Result<(), Errno> {
    renameat_with(CWD, m.join(from), CWD, m.join(to), flags)
}

fn exchange(m: &Mount, from: &str, to: &str) {
    rename(m, from, to, RenameFlags::EXCHANGE).unwrap_or_else(|e| panic!("{from} {to}: {e}"));
}

#[test]
fn r1_an_upper_only_object_is_renamed_in_the_upper_alone() {
    let stack = stack_with(&["d/x"]);
    fill(stack.upper(), &["file", "dir/a", "dir/sub/b"]);
    symlink("t", stack.upper().join("link")).unwrap();
    let number = |name: &str| ino(stack.upper().join(name));
    let before = [number("file"), number("dir"), number("link")];
    let mut m = stack.mount(&[]);
    fs::write(m.join("fresh"), "fresh").unwrap();
    for name in ["file", "dir", "link", "fresh"] {
        fs::rename(m.join(name), m.join("d").join(name)).unwrap();
    }
    twice(&mut m, |m| {
        assert_eq!(paths(m.path()), "d d/dir d/dir/a d/dir/sub d/dir/sub/b d/file d/fresh d/link d/x");
        assert_eq!(text(m.join("d/dir/sub/b")), "dir/sub/b");
        let after = [number("d/file"), number("d/dir"), number("d/link")];
        assert_eq!(before, after, "the upper's own objects moved");
        let upper = paths(stack.upper());
        assert_eq!(upper, "d d/dir d/dir/a d/dir/sub d/dir/sub/b d/file d/fresh d/link");
        assert_eq!(place::redirect(stack.upper().join("d/dir")), None);
    });
}

#[test]
fn r2_a_lower_file_is_renamed_without_its_data_and_leaves_a_whiteout() {
    let stack = stack_with(&["d/empty", "e/x"]);
    write(stack.lower(0).join("d/file"), vec![5; 1 << 20]);
    write(stack.lower(0).join("d/empty"), "");
    symlink("t", stack.lower(0).join("d/link")).unwrap();
    char_device(stack.lower(0).join("d/null"), 1, 3);
    set_times(stack.lower(0).join("d/file"), LONG_AGO);
    let mut m = stack.mount(&[]);
    for name in ["file", "link", "null", "empty"] {
        fs::rename(m.join("d").join(name), m.join("e").join(name)).unwrap();
    }
    twice(&mut m, |m| {
        assert_eq!(names(m.join("d")).len(), 0);
        assert_eq!(names(m.join("e")), ["empty", "file", "link", "null", "x"]);
        assert!(fs::read(m.join("e/file")).unwrap() == vec![5; 1 << 20]);
        assert_eq!(mtime(m.join("e/file")), (LONG_AGO.tv_sec, LONG_AGO.tv_nsec));
        assert_eq!(fs::read_link(m.join("e/link")).unwrap(), Path::new("t"));
        assert_eq!(lstat(m.join("e/null")).rdev(), rustix::fs::makedev(1, 3));
        for name in ["file", "link", "null", "empty"] {
            m.assert_whiteout(format!("d/{name}"));
            m.assert_upper(format!("e/{name}"));
        }
        let upper = stack.upper().join("e/file");
        assert!(place::is_metacopy(&upper) && place::blocks(&upper) <= 8, "no data copied");
    });
    // Renamed back: what was hidden is there again, and the whiteout gone.
    fs::rename(m.join("e/file"), m.join("d/file")).unwrap();
    twice(&mut m, |m| {
        assert!(fs::read(m.join("d/file")).unwrap() == vec![5; 1 << 20]);
        assert!(absent(m.join("e/file")));
        assert!(m.target() != Target::Layerfs || !place::exists(stack.upper().join("e/file")));
    });
}

#[test]
fn r2_r6_a_file_renamed_over_another_replaces_it() {
    let files = ["lower/a", "lower/b", "both/a", "both/b", "mixed/a", "mixed/b"];
    let stack = stack_with(&files);
    fill(stack.upper(), &["upper/a", "upper/b"]);
    write(stack.upper().join("both/a"), "both/a");
    write(stack.upper().join("both/b"), "both/b");
    write(stack.upper().join("mixed/b"), "mixed/b");
    let mut m = stack.mount(&[]);
    for dir in ["lower", "both", "mixed", "upper"] {
        fs::rename(m.join(dir).join("a"), m.join(dir).join("b")).unwrap();
    }
    twice(&mut m, |m| {
        for dir in ["lower", "both", "mixed", "upper"] {
            assert_eq!(names(m.join(dir)), ["b"], "{dir}");
            assert_eq!(text(m.join(dir).join("b")), format!("{dir}/a"));
        }
        for dir in ["lower", "both", "mixed"] {
            m.assert_whiteout(format!("{dir}/a"));
        }
        m.assert_not_upper("upper/a");
    });
}

#[test]
fn r4_noreplace_answers_eexist_where_the_target_is_visible() {
    let stack = stack_with(&["a", "b", "d/x", "hidden"]);
    fill(stack.upper(), &["u"]);
    whiteout(stack.upper().join("hidden"));
    let mut m = stack.mount(&[]);
    let noreplace = RenameFlags::NOREPLACE;
    for (from, to) in [("a", "b"), ("a", "d"), ("d", "a"), ("u", "b"), ("a", "u"), ("d", "d")] {
        assert_errno!(rename(&m, from, to, noreplace), Errno::EXIST, "{from} to {to}");
    }
    assert_errno!(rename(&m, "none", "b", noreplace), Errno::NOENT);
    rename(&m, "a", "hidden", noreplace).unwrap();
    rename(&m, "d", "new", noreplace).unwrap();
    rename(&m, "u", "a", noreplace).unwrap();
    twice(&mut m, |m| {
        assert_eq!(paths(m.path()), "a b hidden new new/x");
        assert_eq!((text(m.join("hidden")), text(m.join("a"))), ("a".into(), "u".into()));
    });
}

#[test]
fn r4_rename_whiteout_answers_einval() {
    let stack = stack_with(&["a", "d/x"]);
    let m = stack.mount(&[]);
    for (from, to) in [("a", "b"), ("d", "e")] {
        let whiteout = rename(&m, from, to, RenameFlags::WHITEOUT);
        assert_errno!(whiteout, Errno::INVAL, "{from}");
    }
    let both = RenameFlags::NOREPLACE | RenameFlags::EXCHANGE;
    assert_errno!(rename(&m, "a", "d", both), Errno::INVAL);
    assert_eq!(paths(m.path()), "a d d/x");
    assert_eq!(paths(stack.upper()), "");
}

/// One object of each kind and place: lower, upper, or merged.
const KINDS: [&str; 8] = [
    "lower_file",
    "upper_file",
    "both_file",
    "lower_dir",
    "upper_dir",
    "merged_dir",
    "lower_link",
    "upper_link",
];

fn one_of_each(stack: &Stack, dir: &str) {
    let at = |layer: &Path, name: &str| layer.join(dir).join(name);
    for (layer, own) in [(stack.lower(0), "lower"), (stack.upper(), "upper")] {
        write(at(layer, &format!("{own}_file")), format!("{dir} {own}_file"));
        write(at(layer, "both_file"), format!("{dir} both_file of {own}"));
        write(at(layer, &format!("{own}_dir/of_{own}")), format!("{dir} {own}_dir"));
        write(at(layer, &format!("merged_dir/of_{own}")), format!("{dir} merged_dir"));
        symlink(format!("{dir}-{own}"), at(layer, &format!("{own}_link"))).unwrap();
    }
}

/// A picture without the mtime of the object itself, if that is a directory and moves change it.
fn kept_by_moves(picture: &str) -> String {
    let changes = picture.starts_with(" dir ") && Filesystem::of_tests().moved_dirs_change();
    let (own, below) = picture.split_once('\n').unwrap();
    let kept = own.split(' ').filter(|word| !(changes && word.starts_with("mtime=")));
    format!("{}\n{below}", kept.collect::<Vec<_>>().join(" "))
}

#[test]
fn r4_exchange_swaps_visible_objects_of_any_kind() {
    for one in KINDS {
        let stack = Stack::new(1);
        for i in 0..KINDS.len() {
            one_of_each(&stack, &format!("left{i}"));
            one_of_each(&stack, &format!("right{i}"));
        }
        let mut m = stack.mount(&[]);
        let tree = |path: PathBuf| (ino(&path), kept_by_moves(&picture(&path)));
        for (i, other) in KINDS.iter().enumerate() {
            let (left, right) = (format!("left{i}/{one}"), format!("right{i}/{other}"));
            let before = (tree(m.join(&left)), tree(m.join(&right)));
            exchange(&m, &left, &right);
            let after = (tree(m.join(&right)), tree(m.join(&left)));
            assert_eq!(before, after, "{one} and {other}");
        }
        let before = dump(m.path());
        m.remount(&[]);
        assert_same_text(&before, &dump(m.path()), &format!("{one} swapped, after a remount"));
        for (i, other) in KINDS.iter().enumerate() {
            exchange(&m, &format!("left{i}/{one}"), &format!("right{i}/{other}"));
        }
        for i in 0..KINDS.len() {
            for side in ["left", "right"] {
                let dir = m.join(format!("{side}{i}"));
                assert_eq!(text(dir.join("lower_file")), format!("{side}{i} lower_file"));
                assert_eq!(names(dir.join("merged_dir")), ["of_lower", "of_upper"], "{one}");
                assert_eq!(names(&dir).len(), KINDS.len());
            }
        }
        twice(&mut m, |m| assert_eq!(names(m.join("left0")).len(), KINDS.len()));
    }
}

#[test]
fn r4_exchange_needs_both_names() {
    let stack = stack_with(&["a", "d/x", "gone"]);
    let m = stack.mount(&[]);
    fs::remove_file(m.join("gone")).unwrap();
    for (from, to) in [("a", "none"), ("none", "a"), ("d", "gone"), ("gone", "a")] {
        let got = rename(&m, from, to, RenameFlags::EXCHANGE);
        assert_errno!(got, Errno::NOENT, "{from} {to}");
    }
    assert_errno!(rename(&m, "d", "d/x", RenameFlags::EXCHANGE), Errno::INVAL);
    assert_errno!(rename(&m, "d/x", "d", RenameFlags::EXCHANGE), Errno::INVAL);
    assert_eq!(paths(m.path()), "a d d/x");
}

#[test]
fn r5_an_upper_only_directory_renamed_to_where_a_lower_name_is_hidden_is_opaque() {
    let stack = stack_with(&["hidden/old", "hidden/sub/old", "removed/old", "file"]);
    fill(stack.upper(), &["a/new", "a/sub/new", "b/new", "c/new"]);
    let mut m = stack.mount(&[]);
    fs::remove_dir_all(m.join("hidden")).unwrap();
    fs::remove_file(m.join("file")).unwrap();
    fs::remove_file(m.join("removed/old")).unwrap();
    fs::rename(m.join("a"), m.join("hidden")).unwrap();
    fs::rename(m.join("b"), m.join("file")).unwrap();
    fs::rename(m.join("c"), m.join("removed")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.path()), ["file", "hidden", "removed"]);
        assert_eq!(names(m.join("hidden")), ["new", "sub"]);
        assert_eq!(names(m.join("hidden/sub")), ["new"]);
        assert_eq!(names(m.join("file")), ["new"]);
        assert_eq!(names(m.join("removed")), ["new"]);
        assert!(place::is_opaque(stack.upper().join("hidden")));
        assert!(place::is_opaque(stack.upper().join("removed")));
    });
}

#[test]
fn r6_rename_over_directories_and_files() {
    let stack = Stack::new(2);
    fill(stack.lower(0), &["from/x", "full/a", "emptied/a", "file"]);
    fill(stack.lower(1), &["full/b", "emptied/b", "from2/y"]);
    mkdir(stack.lower(0).join("empty"));
    let mut m = stack.mount(&[]);
    assert_errno!(fs::rename(m.join("from"), m.join("full")), Errno::NOTEMPTY);
    assert_errno!(fs::rename(m.join("from"), m.join("emptied")), Errno::NOTEMPTY);
    assert_errno!(fs::rename(m.join("from"), m.join("file")), Errno::NOTDIR);
    assert_errno!(fs::rename(m.join("file"), m.join("empty")), Errno::ISDIR);
    assert_errno!(fs::rename(m.join("from"), m.join("from/x/y")), Errno::NOTDIR);
    assert_errno!(fs::rename(m.join("from"), m.join("from/y")), Errno::INVAL);
    assert_errno!(fs::rename(m.join("none"), m.join("empty")), Errno::NOENT);
    assert_errno!(fs::rename(m.join("file"), m.join("none/x")), Errno::NOENT);
    fs::remove_file(m.join("emptied/a")).unwrap();
    fs::remove_file(m.join("emptied/b")).unwrap();
    fs::rename(m.join("from"), m.join("emptied")).unwrap();
    fs::rename(m.join("from2"), m.join("empty")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.path()), ["emptied", "empty", "file", "full"]);
        assert_eq!(names(m.join("emptied")), ["x"]);
        assert_eq!(names(m.join("empty")), ["y"]);
        assert_eq!(names(m.join("full")), ["a", "b"]);
        m.assert_whiteout("from");
        m.assert_whiteout("from2");
    });
}

#[test]
fn r6_rename_of_a_name_to_itself_or_to_another_link_of_it_changes_nothing() {
    let stack = stack_with(&["file", "dir/x"]);
    fs::hard_link(stack.lower(0).join("file"), stack.lower(0).join("link")).unwrap();
    let mut m = stack.mount(&[]);
    fs::rename(m.join("file"), m.join("file")).unwrap();
    fs::rename(m.join("dir"), m.join("dir")).unwrap();
    fs::rename(m.join("file"), m.join("link")).unwrap();
    assert_eq!(names(m.path()), ["dir", "file", "link"]);
    fs::write(m.join("file"), "new").unwrap();
    fs::rename(m.join("file"), m.join("link")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.path()), ["dir", "file", "link"]);
        assert_eq!(text(m.join("link")), "new");
    });
}
