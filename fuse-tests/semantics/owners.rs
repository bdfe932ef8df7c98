//! M15: owners and modes in xattrs, with fuse-overlayfs 1.x as the oracle.

use super::*;
use crate::harness::{Errno, Target, assert_errno, layerfs_bin, layerfs_command, need_program, run};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown, symlink};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const USER: &str = "user.fuseoverlayfs.override_stat";
const PRIVILEGED: &str = "security.fuseoverlayfs.override_stat";
const CONTAINERS: &str = "user.containers.override_stat";

fn xattr_of(path: impl AsRef<Path>, name: &str) -> String {
    String::from_utf8(xattr::lget(&path, name).unwrap_or_default()).unwrap()
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Owner, group and mode as shown.
fn shown(path: impl AsRef<Path>) -> (u32, u32, u32) {
    let meta = lstat(path);
    (meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

fn stack() -> Stack {
    let stack = stack_with(&["low", "ld/x"]);
    set_mode(stack.lower(0).join("low"), 0o4755);
    chown(stack.lower(0).join("low"), Some(7), Some(8)).unwrap();
    set_mode(stack.lower(0).join("low"), 0o4755);
    stack
}

#[test]
fn m15_what_is_made_and_changed_is_kept_in_the_xattr_and_the_inode_stays_ours() {
    for (option, name) in [("xattr_permissions=1", PRIVILEGED), ("xattr_permissions=2", USER)] {
        let stack = stack();
        let mut m = stack.mount_as(Target::Layerfs, &[option]);
        fs::write(m.join("file"), "data").unwrap();
        set_mode(m.join("file"), 0o4640);
        chown(m.join("file"), Some(12), Some(34)).unwrap();
        set_mode(m.join("file"), 0o6640);
        fs::create_dir(m.join("dir")).unwrap();
        set_mode(m.join("dir"), 0o1700);
        set_mode(m.join("low"), 0o600);
        chown(m.join("ld"), Some(5), None).unwrap();
        symlink("x", m.join("link")).unwrap();
        char_device(m.join("null"), 1, 3);
        char_device(m.join("zero"), 0, 0);
        let upper = stack.upper();
        assert_eq!(xattr_of(upper.join("file"), name), "12:34:106640", "{option}");
        assert_eq!(xattr_of(upper.join("dir"), name), "0:0:41700", "{option}");
        assert_eq!(xattr_of(upper.join("low"), name), "7:8:100600", "{option}");
        assert_eq!(xattr_of(upper.join("ld"), name), "5:0:40755", "{option}");
        assert_eq!(xattr_of(upper.join("zero"), name), "0:0:0600:char-0-0", "{option}");
        assert!(xattr_of(upper, name).starts_with("0:0:40755"), "{option}");
        for (path, owner) in [("file", 0), ("low", 0), ("ld", 0)] {
            assert_eq!(shown(upper.join(path)).0, owner, "{option}: {path}");
        }
        twice_with(&mut m, option, |m| {
            assert_eq!(shown(m.join("file")), (12, 34, 0o6640), "{option}");
            assert_eq!(shown(m.join("dir")), (0, 0, 0o1700), "{option}");
            assert_eq!(shown(m.join("low")), (7, 8, 0o600), "{option}");
            assert_eq!(shown(m.join("ld")), (5, 0, 0o755), "{option}");
            assert!(lstat(m.join("null")).file_type().is_char_device(), "{option}");
            assert!(lstat(m.join("zero")).file_type().is_char_device(), "{option}");
            assert_eq!(lstat(m.join("zero")).rdev(), 0, "{option}");
            assert_eq!(text(m.join("file")), "data");
            assert!(xattr::llist(m.join("file")).unwrap().is_empty(), "{option}: the xattr shows");
            assert_errno!(xattr::lset(m.join("file"), name, b"0:0:777"), Errno::PERM, "{option}");
        });
        // A chown takes set-id bits, and a write by others too.
        chown(m.join("file"), Some(13), None).unwrap();
        assert_eq!(shown(m.join("file")), (13, 34, 0o2640), "{option}");
    }
}

fn twice_with(m: &mut Mount, option: &str, check: impl Fn(&Mount)) {
    check(m);
    m.remount(&[option]);
    check(m);
    // The upper says by itself that it is of this kind.
    m.remount(&[]);
    check(m);
}

#[test]
fn m15_layers_of_each_kind_are_read_by_the_xattr_of_their_root() {
    for name in [PRIVILEGED, CONTAINERS, USER] {
        let stack = stack_with(&["file", "dir/x", "plain"]);
        let lower = stack.lower(0);
        for empty in ["null", "disk", "pipe", "sock"] {
            crate::harness::write(lower.join(empty), "");
        }
        for (path, value) in [
            ("", "0:0:40755"),
            ("file", "1:2:0640:file"),
            ("dir", "3:4:1770"),
            ("null", "0:0:0666:char-1-3"),
            ("disk", "0:6:0660:block-8-1"),
            ("pipe", "5:5:0600:pipe"),
            ("sock", "5:5:0600:socket"),
        ] {
            xattr::lset(lower.join(path), name, value.as_bytes()).unwrap();
        }
        let mut m = stack.mount_as(Target::Layerfs, &[]);
        twice(&mut m, |m| {
            assert_eq!(shown(m.join("file")), (1, 2, 0o640), "{name}");
            assert_eq!(shown(m.join("dir")), (3, 4, 0o1770), "{name}");
            assert_eq!(shown(m.join("plain")), (0, 0, 0o644), "{name}");
            let kind = |name: &str| lstat(m.join(name)).file_type();
            assert!(kind("null").is_char_device() && lstat(m.join("null")).rdev() == 0x103, "{name}");
            assert!(kind("disk").is_block_device() && lstat(m.join("disk")).rdev() == 0x801, "{name}");
            assert!(kind("pipe").is_fifo() && kind("sock").is_socket(), "{name}");
            let listed = entries(m.path());
            let of = |name: &str| listed.iter().find(|entry| entry.0 == name).unwrap().2;
            assert_eq!((of("null"), of("pipe")), (FileType::CharacterDevice, FileType::Fifo), "{name}");
        });
        // A copy to an upper of the ordinary kind has it all in the inode.
        set_mode(m.join("file"), 0o600);
        set_mode(m.join("null"), 0o600);
        assert_eq!(shown(stack.upper().join("file")), (1, 2, 0o600), "{name}");
        assert!(lstat(stack.upper().join("null")).file_type().is_char_device(), "{name}");
        assert!(xattr::lget(stack.upper().join("file"), name).is_err(), "{name}");
    }
}

#[test]
fn m15_without_such_layers_the_names_are_xattrs_like_others() {
    let stack = stack();
    let m = stack.mount_as(Target::Layerfs, &[]);
    xattr::lset(m.join("low"), CONTAINERS, b"1:2:700").unwrap();
    assert_eq!(xattr_of(m.join("low"), CONTAINERS), "1:2:700");
    assert_eq!(xattr::llist(m.join("low")).unwrap(), [CONTAINERS]);
    assert_eq!(shown(m.join("low")), (7, 8, 0o4755));
}

/// The options of a stack for fuse-overlayfs or layerfs.
fn mount_by(program: &Path, stack: &Stack, option: &str) {
    let options = format!("{},{option}", stack.options());
    let mut command = Command::new(program);
    let outcome = run(command.args(["-o", &options]).arg(stack.mnt()), LIMIT);
    assert!(outcome.success(), "{program:?}: {outcome:?}");
}

fn umount(stack: &Stack) {
    sh("umount \"$1\"", &[stack.mnt()]);
}

/// A tree as text without the xattr that fuse-overlayfs shows to root, and without what the two take
/// from the lower: fuse-overlayfs 1.10 has no set-id bits there.
fn described(root: &Path) -> String {
    let options = DumpOptions { nlink: false, dir_mtime: false, root: false, ..DumpOptions::default() };
    let text = dump_with(root, &options);
    let lines = text.lines().filter(|line| !line.starts_with("/l"));
    lines
        .map(|line| {
            line.split(' ').filter(|word| !word.starts_with(PRIVILEGED)).collect::<Vec<_>>().join(" ") + "\n"
        })
        .collect()
}

/// What is made and changed; fuse-overlayfs 1.10 gives new files the mode of their backing, so that
/// each is set.
fn work_in(root: &Path, prefix: &str) {
    let at = |name: &str| root.join(format!("{prefix}{name}"));
    fs::write(at("file"), "data").unwrap();
    set_mode(at("file"), 0o640);
    chown(at("file"), Some(12), Some(34)).unwrap();
    fs::create_dir(at("dir")).unwrap();
    set_mode(at("dir"), 0o1770);
    chown(at("dir"), Some(9), Some(9)).unwrap();
    fs::write(at("dir/in"), "in").unwrap();
    set_mode(at("dir/in"), 0o600);
}

#[test]
fn m15_a_directory_of_fuse_overlayfs_goes_on_with_layerfs_and_back() {
    need_program("fuse-overlayfs", "fuse-overlayfs");
    let (theirs, ours) = (PathBuf::from("/usr/bin/fuse-overlayfs"), layerfs_bin());
    for option in ["xattr_permissions=1", "xattr_permissions=2"] {
        let stack = stack();
        // A file that fuse-overlayfs copies up keeps the name of the xattr in its own form.
        let name = if option.ends_with('1') { PRIVILEGED } else { USER };
        mount_by(&theirs, &stack, option);
        work_in(stack.mnt(), "a-");
        // Mounted anew: under its write-back cache the time of a file is settled only at the end.
        umount(&stack);
        mount_by(&theirs, &stack, option);
        let before = described(&stack.mnt().join("a-dir"));
        let file = shown(stack.mnt().join("a-file"));
        umount(&stack);
        mount_by(&ours, &stack, &format!("{option},redirect_dir=off,metacopy=off"));
        assert_same_text(&before, &described(&stack.mnt().join("a-dir")), option);
        assert_eq!(shown(stack.mnt().join("a-file")), file, "{option}");
        work_in(stack.mnt(), "b-");
        set_mode(stack.mnt().join("a-file"), 0o604);
        let shown_by_us = described(stack.mnt());
        umount(&stack);
        for path in ["file", "dir", "dir/in"] {
            let (a, b) = (format!("a-{path}"), format!("b-{path}"));
            let of = |path: &str| xattr_of(stack.upper().join(path), name);
            let wanted = if path == "file" { "12:34:100604".to_owned() } else { of(&a) };
            let ours = if path == "file" { of(&b).replace("100640", "100604") } else { of(&b) };
            assert_eq!((wanted, of(&a)), (ours, of(&a)), "{option}: {path}");
        }
        mount_by(&theirs, &stack, option);
        let shown_by_them = described(stack.mnt());
        umount(&stack);
        let ours_again =
            |text: &str| text.lines().filter(|l| !l.starts_with("/l")).collect::<Vec<_>>().join("\n");
        assert_same_text(&ours_again(&shown_by_us), &ours_again(&shown_by_them), option);
    }
}

#[test]
fn m15_a_user_without_privilege_has_modes_and_devices() {
    let stack = stack();
    // The kernel lets nobody make devices here, but an image may have some.
    xattr::lset(stack.lower(0), USER, b"0:0:755").unwrap();
    crate::harness::write(stack.lower(0).join("null"), "");
    xattr::lset(stack.lower(0).join("null"), USER, b"0:0:0666:char-1-3").unwrap();
    let program = stack.base().join("layerfs");
    fs::copy(layerfs_bin(), &program).unwrap();
    sh("chmod 755 \"$1\"/layerfs; chown -R 1000:1000 \"$1\"", &[stack.base()]);
    let script = r#"cd "$1"
./layerfs m -o lowerdir=l0,upperdir=u,workdir=w,xattr_permissions=2
echo made > m/made; chmod 4640 m/made
chmod 600 m/null; mkfifo m/fifo
stat -c '%n %F %u:%g %a %t:%T' m/made m/null m/fifo
umount m"#;
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
        "unshare",
        "-Urm",
        "sh",
        "-ec",
        script,
        "sh",
    ]);
    let outcome = run(command.arg(stack.base()), LIMIT);
    let wanted = "m/made regular file 0:0 4640 0:0\nm/null character special file 0:0 600 1:3\nm/fifo fifo";
    assert!(outcome.success() && outcome.stdout.starts_with(wanted), "{outcome:?}");
    assert!(lstat(stack.upper().join("null")).is_file());
    assert_eq!(xattr_of(stack.upper().join("null"), USER), "0:0:0600:char-1-3");
    assert_eq!(xattr_of(stack.upper().join("made"), USER), "0:0:104640");
    assert_eq!(lstat(stack.upper().join("made")).uid(), 1000);
}

#[test]
fn m15_where_the_xattr_is_refused_the_mount_says_so() {
    let stack = stack();
    let program = stack.base().join("layerfs");
    fs::copy(layerfs_bin(), &program).unwrap();
    sh("chmod 755 \"$1\"/layerfs; chown -R 1000:1000 \"$1\"", &[stack.base()]);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=1000", "--regid=1000", "--clear-groups"]).arg(&program).arg(stack.mnt());
    let options = format!("{},xattr_permissions=1", stack.options());
    let outcome = run(command.args(["-o", &options]), LIMIT);
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    assert!(outcome.stderr.contains("xattr_permissions=2"), "{outcome:?}");
    let outcome =
        run(layerfs_command().arg(stack.mnt()).args(["-o", "lowerdir=/,xattr_permissions=3"]), LIMIT);
    assert!(outcome.stderr.contains("xattr_permissions=3"), "{outcome:?}");
}
