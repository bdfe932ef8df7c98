//! C7 and O3: the names of one lower file stay one file.

use super::*;
use crate::harness::{Check, Errno, Target, assert_errno, place, write, xattr};
use rustix::fs::{RenameFlags, Uid, renameat_with};
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};

/// `d/a`, `d/b` and `e/c` are one file of lower 0; `single` has one name.
fn linked() -> Stack {
    let stack = stack_with(&["d/a", "single", "e/x"]);
    let a = stack.lower(0).join("d/a");
    fs::hard_link(&a, stack.lower(0).join("d/b")).unwrap();
    fs::hard_link(&a, stack.lower(0).join("e/c")).unwrap();
    stack
}

/// The entries of the index, without the temporary `#…` of the kernel's own.
fn index(stack: &Stack) -> Vec<String> {
    let all = names(stack.work().join("index"));
    all.into_iter().filter(|name| !name.starts_with('#')).collect()
}

/// Asserts that these names, and no others, are one file of this content.
fn assert_one_file(m: &Mount, paths: &[&str], content: &str) {
    let number = ino(m.join(paths[0]));
    for path in paths {
        assert_eq!(text(m.join(path)), content, "content of {path}");
        assert_eq!(ino(m.join(path)), number, "st_ino of {path} and {}", paths[0]);
        assert_eq!(lstat(m.join(path)).nlink(), paths.len() as u64, "st_nlink of {path}");
    }
}

fn append(m: &Mount, path: &str, more: &str) {
    use std::io::Write as _;
    let mut file = OpenOptions::new().append(true).open(m.join(path)).unwrap();
    file.write_all(more.as_bytes()).unwrap();
}

#[test]
fn c7_a_change_through_one_name_shows_through_all() {
    let stack = linked();
    let mut m = stack.mount(&[]);
    assert_one_file(&m, &["d/a", "d/b", "e/c"], "d/a");
    let before = ino(m.join("d/a"));
    append(&m, "d/b", "+b");
    twice(&mut m, |m| assert_one_file(m, &["d/a", "d/b", "e/c"], "d/a+b"));
    append(&m, "e/c", "+c");
    twice(&mut m, |m| assert_one_file(m, &["d/a", "d/b", "e/c"], "d/a+b+c"));
    append(&m, "d/a", "+a");
    twice(&mut m, |m| assert_one_file(m, &["d/a", "d/b", "e/c"], "d/a+b+c+a"));
    assert_eq!(ino(m.join("d/a")), before);
    assert_eq!(text(stack.lower(0).join("d/a")), "d/a");
}

#[test]
fn c7_without_an_index_each_name_is_a_file_of_its_own() {
    let stack = linked();
    let mut m = stack.mount(&["index=off"]);
    append(&m, "d/b", "+b");
    for _ in 0..2 {
        assert_eq!(text(m.join("d/b")), "d/a+b");
        assert_eq!([text(m.join("d/a")), text(m.join("e/c"))], ["d/a", "d/a"]);
        assert!(ino(m.join("d/a")) != ino(m.join("d/b")) || m.target() != Target::Layerfs);
        m.remount(&["index=off"]);
    }
    assert!(!stack.work().join("index").exists());
}

#[test]
fn c7_a_change_of_attributes_through_one_name_shows_through_all() {
    let stack = linked();
    let mut m = stack.mount(&[]);
    fs::set_permissions(m.join("d/b"), fs::Permissions::from_mode(0o604)).unwrap();
    xattr::lset(m.join("e/c"), "user.new", b"1").unwrap();
    set_times(m.join("d/a"), LONG_AGO);
    twice(&mut m, |m| {
        assert_one_file(m, &["d/a", "d/b", "e/c"], "d/a");
        for path in ["d/a", "d/b", "e/c"] {
            assert_eq!(lstat(m.join(path)).mode() & 0o7777, 0o604, "{path}");
            assert_eq!(xattr::lget(m.join(path), "user.new").unwrap(), b"1", "{path}");
            assert_eq!(mtime(m.join(path)), (LONG_AGO.tv_sec, LONG_AGO.tv_nsec), "{path}");
        }
    });
    append(&m, "e/c", "+c");
    twice(&mut m, |m| {
        assert_one_file(m, &["d/a", "d/b", "e/c"], "d/a+c");
        assert_eq!(lstat(m.join("d/a")).mode() & 0o7777, 0o604);
    });
}

#[test]
fn c7_descriptors_of_two_names_are_of_one_file() {
    let stack = linked();
    stack.opt_out(Check::IndexLinks);
    let m = stack.mount(&[]);
    let open = |path: &str| OpenOptions::new().read(true).write(true).open(m.join(path)).unwrap();
    let (a, c) = (open("d/a"), open("e/c"));
    a.write_all_at(b"X", 0).unwrap();
    let mut byte = [0];
    c.read_exact_at(&mut byte, 0).unwrap();
    assert_eq!(&byte, b"X");
    c.write_all_at(b"Y", 1).unwrap();
    fs::remove_file(m.join("d/a")).unwrap();
    a.read_exact_at(&mut byte, 1).unwrap();
    assert_eq!(&byte, b"Y");
    assert_eq!(a.metadata().unwrap().nlink(), 2);
    assert_eq!(text(m.join("d/b")), "XYa");
}

#[test]
fn c7_o3_names_are_removed_one_by_one_and_the_others_stay_one_file() {
    let stack = linked();
    // The index alone holds the file while none but lower names lead to it.
    stack.opt_out(Check::IndexLinks);
    let mut m = stack.mount(&[]);
    fs::remove_file(m.join("d/a")).unwrap();
    twice(&mut m, |m| {
        assert_one_file(m, &["d/b", "e/c"], "d/a");
        m.assert_whiteout("d/a");
    });
    append(&m, "d/b", "+b");
    twice(&mut m, |m| assert_one_file(m, &["d/b", "e/c"], "d/a+b"));
    fs::remove_file(m.join("d/b")).unwrap();
    twice(&mut m, |m| assert_one_file(m, &["e/c"], "d/a+b"));
    fs::remove_file(m.join("e/c")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.join("d")).len(), 0);
        assert_eq!(names(m.join("e")), ["x"]);
        assert_eq!(index(&stack), [""; 0], "the index lets go of a file without names");
    });
    fs::write(m.join("d/a"), "another").unwrap();
    twice(&mut m, |m| assert_one_file(m, &["d/a"], "another"));
}

#[test]
fn c7_new_links_to_lower_files_are_one_file_with_them() {
    let stack = linked();
    symlink("t", stack.lower(0).join("link")).unwrap();
    let mut m = stack.mount(&[]);
    fs::hard_link(m.join("single"), m.join("single2")).unwrap();
    fs::hard_link(m.join("d/b"), m.join("new")).unwrap();
    fs::hard_link(m.join("link"), m.join("link2")).unwrap();
    twice(&mut m, |m| {
        assert_one_file(m, &["single", "single2"], "single");
        assert_one_file(m, &["d/a", "d/b", "e/c", "new"], "d/a");
        assert_eq!(ino(m.join("link")), ino(m.join("link2")));
        assert_eq!(lstat(m.join("link2")).nlink(), 2);
    });
    append(&m, "new", "+n");
    append(&m, "single2", "+2");
    twice(&mut m, |m| {
        assert_one_file(m, &["single", "single2"], "single+2");
        assert_one_file(m, &["d/a", "d/b", "e/c", "new"], "d/a+n");
    });
    fs::remove_file(m.join("e/c")).unwrap();
    append(&m, "d/a", "+a");
    twice(&mut m, |m| assert_one_file(m, &["d/a", "d/b", "new"], "d/a+n+a"));
}

#[test]
fn c7_renames_of_names_and_their_directories_keep_them_one_file() {
    let stack = linked();
    let mut m = stack.mount(&[]);
    fs::rename(m.join("d/b"), m.join("b")).unwrap();
    twice(&mut m, |m| assert_one_file(m, &["d/a", "b", "e/c"], "d/a"));
    fs::rename(m.join("e"), m.join("f")).unwrap();
    append(&m, "f/c", "+c");
    twice(&mut m, |m| assert_one_file(m, &["d/a", "b", "f/c"], "d/a+c"));
    fs::rename(m.join("d"), m.join("f/d")).unwrap();
    append(&m, "f/d/a", "+a");
    twice(&mut m, |m| assert_one_file(m, &["f/d/a", "b", "f/c"], "d/a+c+a"));
    let exchange = RenameFlags::EXCHANGE;
    renameat_with(CWD, m.join("f/d/a"), CWD, m.join("single"), exchange).unwrap();
    fs::rename(m.join("f/d/a"), m.join("b")).unwrap();
    twice(&mut m, |m| {
        assert_one_file(m, &["single", "f/c"], "d/a+c+a");
        assert_one_file(m, &["b"], "single");
    });
}

#[test]
fn c7_a_name_over_a_whiteout_of_another_name() {
    let stack = linked();
    let mut m = stack.mount(&[]);
    fs::remove_file(m.join("d/a")).unwrap();
    fs::hard_link(m.join("d/b"), m.join("d/a")).unwrap();
    twice(&mut m, |m| assert_one_file(m, &["d/a", "d/b", "e/c"], "d/a"));
    fs::rename(m.join("single"), m.join("d/b")).unwrap();
    twice(&mut m, |m| {
        assert_one_file(m, &["d/a", "e/c"], "d/a");
        assert_one_file(m, &["d/b"], "single");
    });
}

#[test]
fn c7_links_of_links_devices_and_fifos() {
    let stack = Stack::new(1);
    symlink("t", stack.lower(0).join("link")).unwrap();
    char_device(stack.lower(0).join("null"), 1, 3);
    sh("mkfifo \"$1\"", &[&stack.lower(0).join("fifo")]);
    let all = ["link", "null", "fifo"];
    for name in all {
        let path = stack.lower(0).join(name);
        fs::hard_link(&path, path.with_extension("2")).unwrap();
    }
    let mut m = stack.mount(&[]);
    for name in all {
        let owner = Uid::from_raw(9);
        let own = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(CWD, m.join(name), Some(owner), None, own).unwrap();
    }
    twice(&mut m, |m| {
        for name in all {
            let (one, two) = (lstat(m.join(name)), lstat(m.join(name).with_extension("2")));
            assert_eq!((one.ino(), one.uid(), one.nlink()), (two.ino(), 9, 2), "{name}");
            assert_eq!((two.uid(), two.nlink(), two.mode()), (9, 2, one.mode()), "{name}");
        }
    });
}

/// Only a file can carry the marks of an index entry then.
#[test]
fn c7_links_of_links_and_fifos_are_objects_of_their_own_with_user_marks() {
    let stack = Stack::new(1);
    symlink("t", stack.lower(0).join("link")).unwrap();
    sh("cd \"$1\"; mkfifo fifo; ln link link.2; ln fifo fifo.2", &[stack.lower(0)]);
    let mut m = stack.mount(&["userxattr"]);
    let own = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(CWD, m.join("fifo"), Some(Uid::from_raw(9)), None, own).unwrap();
    fs::rename(m.join("link"), m.join("moved")).unwrap();
    for _ in 0..2 {
        let owners = ["fifo", "fifo.2", "moved", "link.2"].map(|name| lstat(m.join(name)).uid());
        assert_eq!(owners, [9, 0, 0, 0]);
        assert_eq!(fs::read_link(m.join("moved")).unwrap(), Path::new("t"));
        assert_errno!(fs::symlink_metadata(m.join("link")), Errno::NOENT);
        let differ = ino(m.join("fifo")) != ino(m.join("fifo.2"));
        assert!(differ || m.target() != Target::Layerfs, "one number for two files");
        m.remount(&["userxattr"]);
    }
}

#[test]
fn o3_the_index_holds_a_link_of_the_upper_file() {
    let stack = linked();
    let m = stack.mount(&[]);
    append(&m, "d/b", "+b");
    fs::write(m.join("single"), "no hard link").unwrap();
    m.umount();
    let index = index(&stack);
    assert_eq!(index.len(), 1, "{index:?}");
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    assert!(index[0].chars().all(hex), "{index:?}");
    let entry = stack.work().join("index").join(&index[0]);
    assert_eq!(ino(&entry), ino(stack.upper().join("d/b")));
    assert!(place::mark(&entry, "origin").is_some());
    assert_eq!(text(&entry), "d/a+b");
}

#[test]
fn o3_the_kernel_and_layerfs_name_the_index_entry_alike_and_take_over_from_each_other() {
    for (first, second) in
        [(Target::Layerfs, Target::KernelOverlay), (Target::KernelOverlay, Target::Layerfs)]
    {
        let stack = linked();
        // The kernel keeps a temporary `#…` of its own in the index.
        stack.opt_out(Check::IndexLinks);
        let options = |target| &["xino=off"][..usize::from(target == Target::KernelOverlay)];
        let m = stack.mount_as(first, options(first));
        append(&m, "d/b", "+b");
        m.umount();
        let entry = index(&stack);
        assert_eq!(entry.len(), 1, "{first:?}");
        let m = stack.mount_as(second, options(second));
        assert_one_file(&m, &["d/a", "d/b", "e/c"], "d/a+b");
        append(&m, "e/c", "+c");
        assert_one_file(&m, &["d/a", "d/b", "e/c"], "d/a+b+c");
        fs::remove_file(m.join("d/a")).unwrap();
        assert_one_file(&m, &["d/b", "e/c"], "d/a+b+c");
        m.umount();
        assert_eq!(index(&stack), entry, "{first:?}, then {second:?}");
        let m = stack.mount_as(first, options(first));
        assert_one_file(&m, &["d/b", "e/c"], "d/a+b+c");
        fs::remove_file(m.join("d/b")).unwrap();
        fs::remove_file(m.join("e/c")).unwrap();
        m.umount();
    }
}

#[test]
fn c7_a_lower_above_hides_some_names() {
    let stack = Stack::new(2);
    fill(stack.lower(1), &["a"]);
    fs::hard_link(stack.lower(1).join("a"), stack.lower(1).join("b")).unwrap();
    fs::hard_link(stack.lower(1).join("a"), stack.lower(1).join("c")).unwrap();
    whiteout(stack.lower(0).join("c"));
    write(stack.lower(0).join("other"), "other");
    let mut m = stack.mount(&[]);
    append(&m, "a", "+a");
    twice(&mut m, |m| {
        assert_eq!((text(m.join("a")), text(m.join("b"))), ("a+a".into(), "a+a".into()));
        assert_eq!(ino(m.join("a")), ino(m.join("b")));
        assert!(absent(m.join("c")));
    });
}

#[test]
fn k3_an_index_entry_without_a_name_is_removed_at_the_next_mount() {
    let stack = linked();
    stack.opt_out(Check::IndexLinks);
    let m = stack.mount(&[]);
    append(&m, "d/b", "+b");
    m.umount();
    let mut kept = index(&stack);
    let dir = stack.work().join("index");
    // Names are shown of the one: two of the lower's. Of the other none is left.
    for (name, mark) in [("00", &b"U+1"[..]), ("01", b"U-1")] {
        write(dir.join(name), "");
        xattr::lset(dir.join(name), "trusted.overlay.nlink", mark).unwrap();
    }
    write(dir.join("#2"), "of the kernel");
    stack.mount(&[]).umount();
    kept.push("00".into());
    kept.sort();
    assert_eq!(index(&stack), kept);
    assert_eq!(text(dir.join("#2")), "of the kernel");
}
