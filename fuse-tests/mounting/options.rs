//! Mount options: read-only, the standard ones, fstab's, and those of other programs.

use super::*;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

fn options_of(m: &Mount) -> Vec<String> {
    let [.., options] = mount_line(m.path()).unwrap();
    options.split(',').map(str::to_owned).collect()
}

fn has(m: &Mount, option: &str) -> bool {
    options_of(m).iter().any(|shown| shown == option)
}

/// Every kind of change answers EROFS.
fn assert_read_only(m: &Mount, file: &str, dir: &str) {
    let (file, dir) = (m.join(file), m.join(dir));
    let new = dir.join("new");
    assert_errno!(fs::write(&file, ""), Errno::ROFS, "write");
    assert_errno!(fs::write(&new, ""), Errno::ROFS, "create");
    assert_errno!(fs::create_dir(&new), Errno::ROFS, "mkdir");
    assert_errno!(symlink("x", &new), Errno::ROFS, "symlink");
    assert_errno!(fs::hard_link(&file, &new), Errno::ROFS, "link");
    let node = mknodat(CWD, &new, FileType::Fifo, Mode::RUSR, 0);
    assert_errno!(node, Errno::ROFS, "mknod");
    assert_errno!(fs::remove_file(&file), Errno::ROFS, "unlink");
    assert_errno!(fs::remove_dir(&dir), Errno::ROFS, "rmdir");
    assert_errno!(fs::rename(&file, &new), Errno::ROFS, "rename");
    let mode = fs::Permissions::from_mode(0o600);
    assert_errno!(fs::set_permissions(&file, mode), Errno::ROFS, "chmod");
    assert_errno!(std::os::unix::fs::chown(&file, Some(1), None), Errno::ROFS, "chown");
    assert_errno!(xattr::lset(&file, "user.x", b""), Errno::ROFS, "setxattr");
    assert_errno!(xattr::lremove(&file, "user.x"), Errno::ROFS, "removexattr");
    let open = fs::File::open(&file).unwrap();
    let stamp = std::time::SystemTime::UNIX_EPOCH;
    assert_errno!(open.set_modified(stamp), Errno::ROFS, "utimes");
}

#[test]
fn m4_without_upperdir_every_change_answers_erofs() {
    let stack = Stack::read_only(2);
    write(stack.lower(0).join("file"), "data");
    write(stack.lower(1).join("dir/f"), "f");
    let m = stack.mount_as(Target::Layerfs, &[]);
    assert!(has(&m, "ro") && !has(&m, "rw"), "{:?}", options_of(&m));
    assert_read_only(&m, "file", "dir");
    assert_eq!(fs::read(m.join("dir/f")).unwrap(), b"f");
}

#[test]
fn m4_with_ro_the_upper_is_shown_and_never_written() {
    let stack = three_layers();
    fs::create_dir(stack.lower(0).join("dir")).unwrap();
    let all = DumpOptions::everything();
    let before = [stack.upper(), stack.work()].map(|dir| dump_with(dir, &all));
    let m = stack.mount_as(Target::Layerfs, &["ro"]);
    assert_three_layers(&m);
    assert!(has(&m, "ro"), "{:?}", options_of(&m));
    assert_read_only(&m, "common", "dir");
    assert_read_only(&m, "bottom", "dir");
    m.umount();
    let after = [stack.upper(), stack.work()].map(|dir| dump_with(dir, &all));
    assert_same_text(&before[0], &after[0], "the upper before and after");
    assert_same_text(&before[1], &after[1], "the workdir before and after");
}

#[test]
fn m10_the_mount_has_default_permissions_and_as_root_allow_other_suid_and_dev() {
    let m = three_layers().mount_as(Target::Layerfs, &[]);
    assert!(has(&m, "default_permissions") && has(&m, "allow_other"), "{:?}", options_of(&m));
    assert!(has(&m, "rw") && !has(&m, "nosuid") && !has(&m, "nodev"), "{:?}", options_of(&m));
}

#[test]
fn m10_options_that_only_fstab_and_mount_read_are_accepted_silently() {
    let options = [
        "_netdev",
        "noauto",
        "auto",
        "nofail",
        "user",
        "users",
        "nouser",
        "owner",
        "group",
        "defaults",
        "x-systemd.requires=/some/where",
        "x-gvfs-hide",
        "comment=any text",
    ];
    for option in options {
        let m = three_layers().mount_as(Target::Layerfs, &[option]);
        assert_silent(m.said());
    }
    let m = three_layers().mount_as(Target::Layerfs, &options);
    assert_silent(m.said());
    assert_three_layers(&m);
}

#[test]
fn m10_standard_options_are_accepted_and_shown() {
    for option in ["nosuid", "nodev", "noexec", "noatime", "nodiratime", "sync", "dirsync", "lazytime"] {
        let m = three_layers().mount_as(Target::Layerfs, &[option]);
        assert_silent(m.said());
        assert!(has(&m, option), "{option}: {:?}", options_of(&m));
        fs::write(m.join("made"), "made").unwrap();
    }
    let defaults = ["rw", "suid", "dev", "exec", "async", "atime", "relatime"];
    for option in defaults {
        let m = three_layers().mount_as(Target::Layerfs, &[option]);
        assert_silent(m.said());
        let no = ["ro", "nosuid", "nodev", "noexec", "sync", "noatime"];
        assert!(!no.iter().any(|no| has(&m, no)), "{option}: {:?}", options_of(&m));
    }
    let m = three_layers().mount_as(Target::Layerfs, &["strictatime"]);
    assert_silent(m.said());
    assert!(!has(&m, "noatime") && !has(&m, "relatime"), "{:?}", options_of(&m));
}

#[test]
fn m10_of_two_contrary_options_the_last_one_counts() {
    let m = three_layers().mount_as(Target::Layerfs, &["nosuid", "suid", "exec", "noexec", "ro", "rw"]);
    assert!(has(&m, "rw") && has(&m, "noexec") && !has(&m, "nosuid"), "{:?}", options_of(&m));
}

#[test]
fn m10_noexec_nosuid_and_nodev_are_enforced() {
    let stack = Stack::new(1);
    sh("cp /usr/bin/id \"$1\"/id; chown 1234 \"$1\"/id; chmod 4755 \"$1\"/id", &[stack.lower(0)]);
    let null = stack.lower(0).join("null");
    mknodat(CWD, &null, FileType::CharacterDevice, Mode::RUSR, makedev(1, 3)).unwrap();
    let id = |m: &Mount| run(Command::new(m.join("id")).arg("-u"), LIMIT).stdout.trim().to_owned();
    let mut m = stack.mount_as(Target::Layerfs, &[]);
    assert_eq!(id(&m), "1234");
    assert!(fs::File::open(m.join("null")).is_ok());
    m.remount(&["nosuid"]);
    assert_eq!(id(&m), "0");
    m.remount(&["nodev"]);
    assert_errno!(fs::File::open(m.join("null")), Errno::ACCESS);
    m.remount(&["noexec"]);
    assert_errno!(Command::new(m.join("id")).spawn(), Errno::ACCESS);
}

#[test]
fn m10_options_of_fuse_overlayfs_that_mean_nothing_are_accepted_with_a_warning() {
    for option in ["threaded=1", "max_idle_threads=5"] {
        let m = three_layers().mount_as(Target::Layerfs, &[option]);
        let name = option.split('=').next().unwrap();
        let said = &m.said().stderr;
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(name) && said.contains("warning"), "{option}: {said}");
        assert_three_layers(&m);
    }
}

#[test]
fn u13_the_root_shows_the_attributes_of_the_top_layer() {
    let stack = three_layers();
    fs::set_permissions(stack.upper(), fs::Permissions::from_mode(0o1751)).unwrap();
    std::os::unix::fs::chown(stack.upper(), Some(12), Some(34)).unwrap();
    let m = stack.mount_as(Target::Layerfs, &[]);
    let root = fs::metadata(m.path()).unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o1751, 12, 34));
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

#[test]
fn m11_mapped_owners_are_shown_and_stored_the_other_way_round() {
    let stack = three_layers();
    fs::set_permissions(stack.upper(), fs::Permissions::from_mode(0o777)).unwrap();
    for (name, uid, gid) in [("in", 1005, 2000), ("out", 7, 8)] {
        write(stack.lower(0).join(name), "");
        chown(stack.lower(0).join(name), Some(uid), Some(gid)).unwrap();
    }
    let m =
        stack.mount_as(Target::Layerfs, &["uidmapping=1000:0:100:0:5000:1", "gidmapping=2000:0:50:0:5000:1"]);
    assert_eq!((owner(m.join("in")), owner(m.join("out"))), ((5, 0), (65_534, 65_534)));
    chown(m.join("in"), Some(9), None).unwrap();
    as_user(3, 4, || {
        fs::write(m.join("file"), "").unwrap();
        fs::create_dir(m.join("dir")).unwrap();
        symlink("x", m.join("link")).unwrap();
    });
    for name in ["file", "dir", "link"] {
        assert_eq!((name, owner(m.join(name))), (name, (3, 4)));
        assert_eq!((name, owner(stack.upper().join(name))), (name, (1003, 2004)));
    }
    assert_eq!((owner(m.join("in")), owner(stack.upper().join("in"))), ((9, 0), (1009, 2000)));
}

#[test]
fn m11_squashed_owners_are_shown_and_nothing_else_is_stored() {
    let stack = three_layers();
    write(stack.lower(0).join("low"), "");
    chown(stack.lower(0).join("low"), Some(5), Some(6)).unwrap();
    let mut m = stack.mount_as(Target::Layerfs, &["squash_to_uid=77", "squash_to_gid=88"]);
    fs::write(m.join("new"), "").unwrap();
    fs::set_permissions(m.join("low"), fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["low", "new", "."] {
        assert_eq!((name, owner(m.join(name))), (name, (77, 88)));
    }
    assert_eq!((owner(stack.upper().join("low")), owner(stack.upper().join("new"))), ((5, 6), (0, 0)));
    m.remount(&["squash_to_root"]);
    assert_eq!(owner(m.join("low")), (0, 0));
    m.remount(&[]);
    assert_eq!(owner(m.join("low")), (5, 6));
}
