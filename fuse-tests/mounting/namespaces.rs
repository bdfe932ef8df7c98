//! M18: inside user namespaces, with one id and with ranges of them, by mount(2) alone.

use super::*;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

/// The ranges of ids of the namespace: the user itself as root, and those of /etc/subuid.
const RANGES: &str = "0 1000 1\\n1 100000 65535\\n";

/// What stands before the shell line: waits for the ranges, becomes root, goes to the base directory.
/// Nothing on the PATH of the program under test could mount for it.
const BEGIN: &str = r#"for try in $(seq 500); do grep -q . /proc/self/uid_map && grep -q . /proc/self/gid_map && break; sleep 0.01; done
exec setpriv --reuid=0 --regid=0 --clear-groups sh -ec "$0" sh "$1""#;

/// Runs a shell line as root of a user namespace with ranges, which user 1000 made.
fn in_namespace(stack: &Stack, line: &str) -> Outcome {
    own_all(stack);
    let outer = r#"setpriv --reuid=1000 --regid=1000 --clear-groups unshare -U -m sh -ec "$1" "$2" "$3" &
pid=$!
until [ "$(readlink /proc/$pid/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
printf "$4" > /proc/$pid/uid_map; printf "$4" > /proc/$pid/gid_map
wait $pid"#;
    let mut command = Command::new("sh");
    command.args(["-ec", outer, "sh", BEGIN, &format!("cd \"$1\"\n{line}")]);
    run(command.arg(stack.base()).arg(RANGES), LIMIT)
}

/// Gives the stack to user 1000, with a copy of the program.
fn own_all(stack: &Stack) {
    let program = stack.base().join("layerfs");
    if !program.exists() {
        fs::copy(layerfs_bin(), &program).unwrap();
        sh("chmod 755 \"$1\"/layerfs; chown -R 1000:1000 \"$1\"; chmod 777 \"$1\"", &[stack.base()]);
    }
}

fn assert_said(outcome: &Outcome, wanted: &str) {
    assert!(outcome.success() && outcome.stderr.is_empty(), "{outcome:?}");
    assert_eq!(outcome.stdout, wanted);
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

const MOUNT: &str = "env PATH=/nowhere ./layerfs m -o lowerdir=l0:l1,upperdir=u,workdir=w,allow_other";

#[test]
fn m18_by_mount_2_without_fusermount3() {
    let stack = three_layers();
    let line = format!(
        "{MOUNT}; grep -c \" $PWD/m fuse.layerfs .*allow_other\" /proc/self/mounts; cat m/common; umount m"
    );
    assert_said(&in_namespace(&stack, &line), "1\nupper");
}

#[test]
fn m18_in_a_namespace_of_one_id() {
    let stack = three_layers();
    own_all(&stack);
    let line = "cd \"$0\"; env PATH=/nowhere ./layerfs m -o lowerdir=l0:l1,upperdir=u,workdir=w
        echo made > m/made; mkdir m/dir; ln m/made m/dir/link; chmod 4755 m/made; rm m/top; mv m/bottom m/dir
        stat -c '%u:%g %a %h' m/made; cat m/dir/bottom m/dir/link; umount m";
    let mut command = Command::new("setpriv");
    command.args(["--reuid=1000", "--regid=1000", "--clear-groups", "unshare", "-Urm", "sh", "-ec", line]);
    assert_said(&run(command.arg(stack.base()), LIMIT), "0:0 4755 2\nbottommade\n");
    assert_eq!(owner(stack.upper().join("made")), (1000, 1000));
}

#[test]
fn m18_new_objects_belong_to_the_callers_mapped_ids() {
    let stack = three_layers();
    let line = format!(
        "{MOUNT}
        chmod 1777 m; umask 022
        setpriv --reuid=33 --regid=34 --clear-groups sh -ec 'cd m; echo f > file; mkdir dir; ln -s x link
            mkfifo fifo; ln file dir/hard; echo more >> file'
        cd m; stat -c '%n %u:%g %a %h' file dir link fifo dir/hard; cd ..; umount m"
    );
    let of_dir = Filesystem::of_tests().dir_links(0);
    let wanted = format!(
        "file 33:34 644 2\ndir 33:34 755 {of_dir}\nlink 33:34 777 1\nfifo 33:34 644 1\ndir/hard 33:34 644 2\n"
    );
    assert_said(&in_namespace(&stack, &line), &wanted);
    for name in ["file", "dir", "link", "fifo"] {
        assert_eq!(owner(stack.upper().join(name)), (100_032, 100_033), "{name}");
    }
}

#[test]
fn m18_owners_of_mapped_users_are_shown_changed_and_copied_up() {
    let stack = three_layers();
    own_all(&stack);
    for name in ["by33", "by70000", "mode"] {
        write(stack.lower(1).join(name), name);
    }
    let (by33, mode) = (stack.lower(1).join("by33"), stack.lower(1).join("mode"));
    std::os::unix::fs::chown(&by33, Some(100_032), Some(100_033)).unwrap();
    std::os::unix::fs::chown(&mode, Some(100_032), Some(100_033)).unwrap();
    let line = format!(
        "{MOUNT}
        stat -c '%n %u:%g' m/by33 m/mode; chown 5:6 m/by33; chmod 600 m/mode
        setpriv --reuid=33 --regid=34 --clear-groups cat m/mode
        setpriv --reuid=5 --regid=6 --clear-groups cat m/by33
        setpriv --reuid=7 --regid=6 --clear-groups cat m/mode 2> /dev/null || echo refused
        stat -c '%n %u:%g %a' m/by33 m/mode; umount m"
    );
    let wanted = "m/by33 33:34\nm/mode 33:34\nmodeby33refused\nm/by33 5:6 644\nm/mode 33:34 600\n";
    assert_said(&in_namespace(&stack, &line), wanted);
    assert_eq!(owner(stack.upper().join("by33")), (100_004, 100_005));
    assert_eq!(owner(stack.upper().join("mode")), (100_032, 100_033));
}

#[test]
fn m18_supplementary_groups_and_set_gid_directories() {
    let stack = three_layers();
    let line = format!(
        "{MOUNT}
        mkdir m/shared; chgrp 44 m/shared; chmod 2770 m/shared; umask 002
        setpriv --reuid=33 --regid=33 --groups=44 sh -ec 'echo x > m/shared/by33; mkdir m/shared/dir'
        setpriv --reuid=34 --regid=34 --groups=44 sh -ec 'echo y >> m/shared/by33; chgrp 44 m/shared/by33 || :' 2> /dev/null
        setpriv --reuid=35 --regid=35 --clear-groups ls m/shared 2> /dev/null || echo refused
        cd m/shared; cat by33; stat -c '%n %u:%g %a' by33 dir; cd ../..; umount m"
    );
    assert_said(&in_namespace(&stack, &line), "refused\nx\ny\nby33 33:44 664\ndir 33:44 2775\n");
    assert_eq!(owner(stack.upper().join("shared/by33")), (100_032, 100_043));
}

#[test]
fn m18_marks_and_whiteouts_are_those_of_a_user_and_survive() {
    let stack = three_layers();
    write(stack.lower(1).join("dir/f"), "f");
    let line = format!(
        "{MOUNT}; rm m/top; mv m/dir m/moved; chmod 600 m/bottom; umount m
        {MOUNT}; ls m m/moved; stat -c %a m/bottom; umount m"
    );
    assert_said(&in_namespace(&stack, &line), "m:\nbottom\ncommon\nmoved\nupper\n\nm/moved:\nf\n600\n");
    assert!(place::is_whiteout(stack.upper().join("top")));
    assert!(xattr::lget(stack.upper().join("moved"), "user.overlay.redirect").is_ok());
}
