//! M12 to M14: in the place of fuse-overlayfs, remounting, labels.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

/// The program under test under the name of fuse-overlayfs.
fn fuse_overlayfs(stack: &Stack) -> Command {
    let link = stack.base().join("fuse-overlayfs");
    if !link.exists() {
        symlink(layerfs_bin(), &link).unwrap();
    }
    Command::new(link)
}

/// Mounts a stack by the command line of fuse-overlayfs, runs `body`, and unmounts.
fn with_mount(stack: &Stack, options: &str, body: impl FnOnce(&Outcome)) {
    let all = format!("{}{options}", stack.options());
    let outcome = run(fuse_overlayfs(stack).args(["-o", &all]).arg(stack.mnt()), LIMIT);
    assert!(outcome.success(), "{outcome:?}");
    body(&outcome);
    sh("umount \"$1\"", &[stack.mnt()]);
}

#[test]
fn m12_the_version_is_one_that_podman_and_its_kin_read() {
    let stack = Stack::new(1);
    for flag in ["--version", "-V"] {
        let outcome = run(fuse_overlayfs(&stack).arg(flag), LIMIT);
        assert!(outcome.success(), "{outcome:?}");
        let line = outcome.stdout.lines().find(|line| line.contains("fuse-overlayfs: version ")).unwrap();
        let version = line.rsplit(' ').next().unwrap();
        assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{line}");
    }
    for flag in ["--help", "-h"] {
        assert!(run(fuse_overlayfs(&stack).arg(flag), LIMIT).success());
    }
}

#[test]
fn m12_every_option_of_fuse_overlayfs_is_taken_without_a_word() {
    let stack = three_layers();
    let options = ",static_nlink,xino=auto,ino32_t,threaded=1,max_idle_threads=5,noacl,volatile,fsync=0,\
        redirect_dir=off,timeout=3,writeback=1,fast_ino=1,noxattrs=0,squash_to_root,\
        uidmapping=0:0:4294967295,gidmapping=0:0:4294967295,clone_fd,allow_other,nodev,suid";
    with_mount(&stack, options, |outcome| {
        assert_silent(outcome);
        assert_eq!(fs::read(stack.mnt().join("common")).unwrap(), b"upper");
    });
}

#[test]
fn m12_unknown_options_are_ignored_and_plugins_refused_by_name() {
    let stack = three_layers();
    with_mount(&stack, ",frobnicate=1", |outcome| {
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        assert!(outcome.stderr.contains("frobnicate"), "{outcome:?}");
    });
    let all = format!("{},plugins=/x.so", stack.options());
    let outcome = run(fuse_overlayfs(&stack).args(["-o", &all]).arg(stack.mnt()), LIMIT);
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("plugins") && !is_mounted(stack.mnt()), "{outcome:?}");
}

#[test]
fn m12_source_type_and_flags_are_those_of_fuse_overlayfs() {
    let stack = three_layers();
    with_mount(&stack, "", |_| {
        let [source, _, kind, options] = mount_line(stack.mnt()).unwrap();
        assert_eq!((&*source, &*kind), ("fuse-overlayfs", "fuse.fuse-overlayfs"));
        for option in ["rw", "noatime", "default_permissions", "allow_other"] {
            assert!(options.split(',').any(|shown| shown == option), "{option}: {options}");
        }
    });
}

#[test]
fn m12_the_upper_holds_nothing_that_fuse_overlayfs_does_not_know() {
    let stack = three_layers();
    write(stack.lower(1).join("dir/f"), "f");
    with_mount(&stack, "", |_| {
        let (from, to) = (stack.mnt().join("dir"), stack.mnt().join("moved"));
        assert_errno!(fs::rename(from, to), Errno::XDEV);
        sh("chmod 600 \"$1\"/bottom; mv \"$1\"/dir \"$1\"/moved", &[stack.mnt()]);
    });
    assert_eq!(fs::read(stack.upper().join("bottom")).unwrap(), b"bottom");
    assert!(!place::is_metacopy(stack.upper().join("bottom")));
    assert_eq!(place::redirect(stack.upper().join("moved")), None);
    assert_eq!(fs::read(stack.upper().join("moved/f")).unwrap(), b"f");
}

#[test]
fn m13_root_changes_the_flags_of_a_live_mount() {
    let m = three_layers().mount_as(Target::Layerfs, &["nodev"]);
    let shown = || {
        let [.., options] = mount_line(m.path()).unwrap();
        options.split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    let remount = |options: &str| {
        let mut command = layerfs_command();
        run(command.arg(m.path()).args(["-o", &format!("remount,{options}")]), LIMIT)
    };
    assert_silent(&remount("ro,noexec"));
    for option in ["ro", "noexec", "nodev"] {
        assert!(shown().iter().any(|o| o == option), "{option}: {:?}", shown());
    }
    assert_errno!(fs::write(m.join("common"), "x"), Errno::ROFS);
    assert_silent(&remount("rw,exec,noatime"));
    assert!(shown().iter().all(|o| o != "ro" && o != "noexec"), "{:?}", shown());
    fs::write(m.join("common"), "changed").unwrap();
    m.assert_upper_content("common", "changed");
    assert_silent(&remount("atime"));
    assert!(shown().iter().any(|o| o == "relatime"), "{:?}", shown());
}

#[test]
fn m13_mount_8_passes_a_remount_on() {
    let m = three_layers().mount_as(Target::Layerfs, &[]);
    let bin = bin_dir(m.stack());
    let line = "mount --bind \"$1\" /usr/local/bin; mount -o remount,ro \"$2\"; \
        grep \" $2 \" /proc/self/mounts";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", line, "sh"]);
    let outcome = run(command.arg(&bin).arg(m.path()), LIMIT);
    assert!(outcome.success() && outcome.stdout.contains(" ro,"), "{outcome:?}");
}

#[test]
fn m13_what_is_no_mount_of_ours_and_who_is_not_root_is_refused() {
    let stack = three_layers();
    let mut command = layerfs_command();
    let outcome = run(command.arg(stack.mnt()).args(["-o", "remount,ro"]), LIMIT);
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    let m = stack.mount_as(Target::Layerfs, &[]);
    let bin = bin_dir(&stack);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=1000", "--regid=1000", "--clear-groups"]).arg(bin.join("layerfs"));
    let outcome = run(command.arg(m.path()).args(["-o", "remount,ro"]), LIMIT);
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("root"), "{outcome:?}");
    fs::write(m.join("common"), "x").unwrap();
}

#[test]
fn m14_labels_are_refused_where_the_kernel_has_no_selinux() {
    let has = fs::read_to_string("/proc/filesystems").unwrap().contains("selinuxfs");
    let label = "context=\"system_u:object_r:container_file_t:s0:c1,c2\"";
    match three_layers().try_mount(&[label]) {
        Ok(m) => {
            let [.., options] = mount_line(m.path()).unwrap();
            assert!(has && options.contains("c1,c2"), "{options}");
        }
        Err(outcome) => {
            assert!(!has, "{outcome:?}");
            assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
            assert!(outcome.stderr.contains("context") && outcome.stderr.contains("SELinux"), "{outcome:?}");
        }
    }
}
