//! O1 and O2: the kernel's overlayfs and layerfs show the same tree of one upper, whichever of the
//! two wrote it, and each goes on where the other stopped.

use super::*;
use crate::harness::{Check, Target, place, write};
use rustix::fs::{RenameFlags, renameat_with};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink};

fn layers() -> Stack {
    let stack = Stack::new(3);
    for (i, lower) in stack.lowers().iter().enumerate() {
        fill(lower, &[&format!("d/only{i}"), "d/all", &format!("d/sub/only{i}"), "e/x", "plain"]);
        fill(lower, &[&format!("tree/a/b/c/leaf{i}"), &format!("gone{i}/x"), &format!("rm{i}")]);
        write(lower.join(format!("big{i}")), vec![i as u8 + 1; 300_000]);
        write(lower.join(format!("attr{i}")), vec![i as u8 + 7; 300_000]);
        symlink(format!("target{i}"), lower.join(format!("link{i}"))).unwrap();
        set_times(lower.join("d"), LONG_AGO);
    }
    let bottom = stack.lower(2);
    fs::hard_link(bottom.join("big2"), bottom.join("hard2")).unwrap();
    fs::hard_link(bottom.join("attr2"), bottom.join("d/hard_attr2")).unwrap();
    stack
}

/// Changes of every kind; `round` makes the names of one call differ from those of another.
fn change(root: &Path, round: usize) {
    let at = |path: &str| root.join(path);
    let fresh = |path: &str| root.join(format!("{path}-{round}"));
    for i in 0..3 {
        let file = fs::OpenOptions::new().write(true).open(at(&format!("big{i}"))).unwrap();
        file.write_all_at(format!("round {round}").as_bytes(), 100).unwrap();
        let attr = at(&format!("attr{i}"));
        fs::set_permissions(&attr, fs::Permissions::from_mode(0o600 + round as u32)).unwrap();
        chown(&attr, Some(1000 + round as u32), Some(1001)).unwrap();
        xattr::lset(&attr, "user.round", round.to_string().as_bytes()).unwrap();
    }
    fs::write(fresh("new"), "new").unwrap();
    fs::create_dir(fresh("newdir")).unwrap();
    fs::write(fresh("newdir").join("x"), "x").unwrap();
    symlink("nowhere", fresh("newlink")).unwrap();
    fs::hard_link(fresh("new"), fresh("newhard")).unwrap();
    fs::hard_link(at("big2"), fresh("hard")).unwrap();
    let names_now = names(root);
    let rm = names_now.iter().find(|name| name.starts_with("rm")).unwrap();
    fs::remove_file(at(rm)).unwrap();
    let gone = names_now.iter().find(|name| name.starts_with("gone")).unwrap();
    fs::remove_dir_all(at(gone)).unwrap();
    fs::create_dir(at(gone)).unwrap();
    fs::rename(at(gone), fresh("was_gone")).unwrap();
    let leaf = names(at("tree/a/b/c"))[0].clone();
    fs::rename(at("tree/a/b/c").join(leaf), fresh("leaf")).unwrap();
    fs::rename(at("tree/a/b"), fresh("b")).unwrap();
    fs::rename(at("tree"), at("d/tree")).unwrap();
    fs::rename(fresh("b"), at("d/tree/a/b")).unwrap();
    fs::rename(at("d/tree"), at("tree")).unwrap();
    renameat_with(CWD, at("d"), CWD, at("e"), RenameFlags::EXCHANGE).unwrap();
    renameat_with(CWD, at("plain"), CWD, at("link0"), RenameFlags::EXCHANGE).unwrap();
    let deep = if at("e/sub").exists() { "e/sub" } else { "d/sub" };
    fs::remove_file(at(deep).join(format!("only{round}"))).unwrap();
    let link = names_now.iter().rfind(|name| name.starts_with("link")).unwrap();
    fs::rename(at(link), fresh("moved_link")).unwrap();
    set_times(at(deep), Timespec { tv_sec: 77, tv_nsec: 88 });
}

/// Which of the two writes in each round; the other then shows the tree.
fn take_turns(turns: &[Target]) {
    let stack = layers();
    // The kernel keeps a temporary `#…` of its own in the index.
    stack.opt_out(Check::IndexLinks);
    for (round, target) in turns.iter().enumerate() {
        let other = match target {
            Target::Layerfs => Target::KernelOverlay,
            _ => Target::Layerfs,
        };
        let options = |target| &["xino=off"][..usize::from(target != Target::Layerfs)];
        let m = stack.mount_as(*target, options(*target));
        change(m.path(), round);
        let written = dump(m.path());
        let links = one_file_groups(m.path());
        m.umount();
        let shows = stack.mount_as(other, options(other));
        let title = format!("round {round}: what {target:?} wrote and what {other:?} shows");
        assert_same_text(&written, &dump(shows.path()), &title);
        assert_eq!(links, one_file_groups(shows.path()), "{title}");
    }
}

/// The groups of paths that are one file.
fn one_file_groups(root: &Path) -> Vec<Vec<String>> {
    let mut groups = std::collections::BTreeMap::<u64, Vec<String>>::new();
    for path in sh("cd \"$1\"; find . ! -type d -links +1 | LC_ALL=C sort", &[root]).lines() {
        groups.entry(ino(root.join(path))).or_default().push(path.to_owned());
    }
    let mut groups: Vec<Vec<String>> = groups.into_values().collect();
    groups.sort();
    groups
}

#[test]
fn o1_the_kernel_shows_the_tree_that_layerfs_wrote() {
    take_turns(&[Target::Layerfs]);
}

#[test]
fn o2_layerfs_shows_the_tree_that_the_kernel_wrote() {
    take_turns(&[Target::KernelOverlay]);
}

#[test]
fn o1_o2_each_goes_on_where_the_other_stopped() {
    take_turns(&[Target::Layerfs, Target::KernelOverlay, Target::Layerfs]);
    take_turns(&[Target::KernelOverlay, Target::Layerfs, Target::KernelOverlay]);
}

#[test]
fn o1_the_marks_are_those_that_the_kernel_writes() {
    let by = |target: Target| {
        let stack = layers();
        let m = stack.mount_as(target, &["xino=off"][..usize::from(target != Target::Layerfs)]);
        change(m.path(), 0);
        m.umount();
        stack
    };
    let (ours, kernels) = (by(Target::Layerfs), by(Target::KernelOverlay));
    assert_eq!(paths(ours.upper()), paths(kernels.upper()));
    let kinds = |stack: &Stack| {
        let options = DumpOptions { mtime: false, nlink: false, ..DumpOptions::default() };
        dump_with(stack.upper(), &options)
    };
    assert_same_text(&kinds(&ours), &kinds(&kernels), "layerfs' upper and the kernel's");
    for path in paths(ours.upper()).split(' ') {
        let marks = |stack: &Stack| {
            let at = stack.upper().join(path);
            let redirect = place::redirect(&at).is_some();
            (place::is_whiteout(&at), place::is_metacopy(&at), redirect)
        };
        assert_eq!(marks(&ours), marks(&kernels), "whiteout, metacopy, redirected: {path}");
        // The kernel marks every new directory, whether a lower name is hidden there or not.
        let opaque = |stack: &Stack| place::is_opaque(stack.upper().join(path));
        assert!(!opaque(&ours) || opaque(&kernels), "opaque: {path}");
    }
}

#[test]
fn o1_a8_the_kernel_shows_a_device_0_0_as_an_empty_file() {
    let stack = stack_with(&["d/x"]);
    let m = stack.mount_as(Target::Layerfs, &[]);
    let mode = Mode::from(0o640);
    rustix::fs::mknodat(CWD, m.join("d/zero"), FileType::CharacterDevice, mode, 0).unwrap();
    m.umount();
    let m = stack.mount_as(Target::KernelOverlay, &["xino=off"]);
    assert_eq!(names(m.join("d")), ["x", "zero"]);
    assert!(lstat(m.join("d/zero")).is_file());
    assert_eq!(text(m.join("d/zero")), "");
}

#[test]
fn o2_a_lower_that_the_kernel_wrote_as_an_upper_is_read_with_all_its_marks() {
    let stack = layers();
    let m = stack.mount_as(Target::KernelOverlay, &["xino=off"]);
    change(m.path(), 0);
    let written = dump_with(m.path(), &DumpOptions { nlink: false, ..DumpOptions::default() });
    m.umount();
    // The former upper becomes the topmost of four lowers.
    let reader = Stack::read_only(1);
    let lowers: Vec<String> = stack.lowers().iter().map(|l| l.display().to_string()).collect();
    sh("cp -a \"$1/.\" \"$2\"", &[stack.upper(), reader.lower(0)]);
    let below: Vec<String> = lowers.iter().map(|lower| format!("lowerdir+={lower}")).collect();
    let below: Vec<&str> = below.iter().map(String::as_str).collect();
    let m = reader.mount_as(Target::Layerfs, &below);
    let shown = dump_with(m.path(), &DumpOptions { nlink: false, ..DumpOptions::default() });
    // Without the index the second name of a changed hard link shows the old lower file.
    let linked = |text: &str| {
        let odd = |line: &&str| !line.starts_with("/hard2 ") && !line.contains("hard_attr2 ");
        text.lines().filter(odd).collect::<Vec<_>>().join("\n")
    };
    assert_same_text(&linked(&written), &linked(&shown), "upper and the same as a lower");
}
