//! Through mount(8) and fstab, and as an ordinary user.

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::process::Command;

/// Runs a shell line in a mount namespace of its own where `layerfs` is on the PATH that mount(8)
/// leaves its helpers: it passes no PATH on, so that /bin/sh takes its default. `$1` is the mount
/// point, `$2` the options of the stack, `$3` a free file.
fn with_mount_helper(stack: &Stack, line: &str) -> Outcome {
    need_program("mount.fuse3", "fuse3");
    let line = format!("mount --bind \"$0\" /usr/local/bin\n{line}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", &line]).arg(bin_dir(stack)).arg(stack.mnt());
    let outcome = run(command.arg(stack.options()).arg(stack.base().join("file")), LIMIT);
    let gone = || daemon_pid(stack.mnt()).is_none();
    assert!(wait_until(LIMIT, gone), "the process is still there: {outcome:?}");
    outcome
}

/// What the shell lines do with a mount: show its line and its files, change one, unmount it.
const USE_IT: &str = r#"
grep " $1 " /proc/self/mounts
cat "$1/top" "$1/bottom" "$1/upper" "$1/common"
echo changed 2>/dev/null >"$1/bottom" || echo " read-only"
umount "$1"
"#;

/// Checks what [`USE_IT`] printed; gives the mount options.
fn assert_used(outcome: &Outcome, source: &str) -> String {
    assert_silent(outcome);
    let (line, files) = outcome.stdout.split_once('\n').unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!((words[0], words[2]), (source, "fuse.layerfs"), "{line}");
    assert!(files.starts_with("topbottomupperupper"), "{files}");
    words[3].to_owned()
}

#[test]
fn m1_mount_t_fuse_layerfs() {
    let stack = three_layers();
    let line = format!("mount -t fuse.layerfs my-union \"$1\" -o \"$2\"\n{USE_IT}");
    let options = assert_used(&with_mount_helper(&stack, &line), "my-union");
    assert!(options.starts_with("rw,"), "{options}");
    assert_eq!(fs::read(stack.upper().join("bottom")).unwrap(), b"changed\n");
}

#[test]
fn m5_mount_reports_a_refusal() {
    let stack = three_layers();
    let line = "mount -t fuse.layerfs src \"$1\" -o lowerdir=/none/such";
    let outcome = with_mount_helper(&stack, line);
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    assert!(outcome.stderr.contains("/none/such"), "{outcome:?}");
}

#[test]
fn m10_a_line_of_fstab_mounts_with_all_its_options() {
    let stack = three_layers();
    let further = "defaults,_netdev,nofail,noatime,nodev,x-systemd.automount,x-test=1,comment=c";
    let line =
        format!("echo \"union $1 fuse.layerfs $2,{further} 0 0\" >\"$3\"\nmount -T \"$3\" \"$1\"\n{USE_IT}");
    let options = assert_used(&with_mount_helper(&stack, &line), "union");
    let options: Vec<&str> = options.split(',').collect();
    for option in ["rw", "noatime", "nodev"] {
        assert!(options.contains(&option), "{option}: {options:?}");
    }
    assert_eq!(fs::read(stack.upper().join("bottom")).unwrap(), b"changed\n");
}

#[test]
fn m4_ro_in_fstab() {
    let stack = three_layers();
    let line = format!("echo \"union $1 fuse.layerfs $2,ro 0 0\" >\"$3\"\nmount -T \"$3\" \"$1\"\n{USE_IT}");
    let outcome = with_mount_helper(&stack, &line);
    assert!(assert_used(&outcome, "union").starts_with("ro,"), "{outcome:?}");
    assert!(outcome.stdout.ends_with(" read-only\n"), "{outcome:?}");
    assert!(!stack.upper().join("bottom").exists());
}

#[test]
fn m10_mount_a_takes_what_is_auto_in_fstab() {
    let stack = three_layers();
    let line = format!("echo \"union $1 fuse.layerfs $2,auto 0 0\" >\"$3\"\nmount -a -T \"$3\"\n{USE_IT}");
    assert_used(&with_mount_helper(&stack, &line), "union");
}

/// Three layers that belong to user 1000, with a directory in the lowest.
fn stack_of_1000() -> Stack {
    let stack = three_layers();
    write(stack.lower(1).join("dir/f"), "f");
    write(stack.lower(1).join("dir/sub/g"), "g");
    sh("chown -R 1000:1000 \"$1\"", &[stack.base()]);
    stack
}

/// Mounts as user 1000.
fn mount_as_1000(stack: &Stack, further: &str) -> Outcome {
    need_program("fusermount3", "fuse3");
    let bin = bin_dir(stack);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=1000", "--regid=1000", "--clear-groups"]);
    command.arg(bin.join("layerfs")).arg("union").arg(stack.mnt());
    command.arg("-o").arg(format!("{}{further}", stack.options()));
    run(command.env("PATH", path_with(&bin)), LIMIT)
}

#[test]
fn m10_an_ordinary_user_mounts_through_fusermount3() {
    let stack = stack_of_1000();
    let outcome = mount_as_1000(&stack, "");
    let m = stack.adopt(outcome);
    assert_silent(m.said());
    let [source, _, kind, options] = mount_line(m.path()).unwrap();
    assert_eq!((source.as_str(), kind.as_str()), ("union", "fuse.layerfs"));
    for option in ["nosuid", "nodev", "user_id=1000", "default_permissions"] {
        assert!(options.split(',').any(|shown| shown == option), "{option}: {options}");
    }
    as_user(1000, 1000, || {
        assert_three_layers(&m);
        fs::write(m.join("made"), "made").unwrap();
        fs::write(m.join("bottom"), "changed").unwrap();
        symlink("x", m.join("link")).unwrap();
        fs::rename(m.join("top"), m.join("moved")).unwrap();
        fs::remove_file(m.join("dir/f")).unwrap();
        assert_errno!(chown(m.join("made"), Some(1001), None), Errno::PERM);
    });
    assert_eq!(fs::metadata(stack.upper().join("made")).unwrap().uid(), 1000);
    end_as_1000(&m);
    let pid_gone = wait_until(Duration::from_secs(10), || daemon_pid(stack.mnt()).is_none());
    assert!(pid_gone, "the process is still there");
    m.ended();
    assert_eq!(fs::read(stack.upper().join("bottom")).unwrap(), b"changed");
}

fn end_as_1000(m: &Mount) {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=1000", "--regid=1000", "--clear-groups", "fusermount3", "-u"]);
    // Busy is tried again: another test's child may hold our descriptors for a moment.
    let mut last = String::new();
    let ended = wait_until(Duration::from_secs(5), || {
        let mut again = Command::new("setpriv");
        again.args(command.get_args()).arg(m.path());
        last = run(&mut again, LIMIT).stderr;
        !is_mounted(m.path())
    });
    assert!(ended, "fusermount3 -u: {last}");
}

#[test]
fn u8_an_ordinary_user_writes_user_overlay_marks_that_survive_a_remount() {
    let stack = stack_of_1000();
    let m = stack.adopt(mount_as_1000(&stack, ""));
    let before = as_user(1000, 1000, || {
        fs::remove_dir_all(m.join("dir/sub")).unwrap();
        fs::create_dir(m.join("dir/sub")).unwrap();
        fs::remove_file(m.join("top")).unwrap();
        fs::rename(m.join("dir"), m.join("renamed")).unwrap();
        dump(m.path())
    });
    end_as_1000(&m);
    let gone = || daemon_pid(stack.mnt()).is_none();
    assert!(wait_until(Duration::from_secs(10), gone), "the process is still there");
    m.ended();
    let upper = stack.upper();
    let opaque = xattr::lget(upper.join("renamed/sub"), "user.overlay.opaque");
    assert_eq!(opaque, Ok(b"y".to_vec()));
    assert!(xattr::lget(upper.join("renamed"), "user.overlay.redirect").is_ok());
    fs::remove_dir_all(stack.base().join("bin")).unwrap();
    let m = stack.adopt(mount_as_1000(&stack, ""));
    let after = as_user(1000, 1000, || dump(m.path()));
    assert_same_text(&before, &after, "before and after the remount");
    end_as_1000(&m);
    let gone = || daemon_pid(stack.mnt()).is_none();
    assert!(wait_until(Duration::from_secs(10), gone), "the process is still there");
    m.ended();
}

#[test]
fn m5_an_ordinary_user_is_refused_with_one_line_too() {
    let stack = stack_of_1000();
    sh("chown root:root \"$1\"; chmod 700 \"$1\"", &[stack.upper()]);
    let outcome = mount_as_1000(&stack, "");
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains(stack.upper().to_str().unwrap()), "{}", outcome.stderr);
    assert!(!is_mounted(stack.mnt()));
}

#[test]
fn a3_members_of_a_group_make_objects_in_its_directory() {
    let m = three_layers().mount_as(Target::Layerfs, &[]);
    let shared = m.join("shared");
    fs::create_dir(&shared).unwrap();
    chown(&shared, Some(0), Some(44)).unwrap();
    sh("chmod 2770 \"$1\"", &[&shared]);
    as_user_with_groups(33, 33, &[44], || {
        fs::write(shared.join("file"), "by 33").unwrap();
        fs::create_dir(shared.join("dir")).unwrap();
        symlink("x", shared.join("link")).unwrap();
    });
    as_user(33, 33, || assert_errno!(fs::write(shared.join("more"), ""), Errno::ACCESS));
    for name in ["file", "dir", "link"] {
        let meta = fs::symlink_metadata(shared.join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (33, 44), "{name}");
    }
}
