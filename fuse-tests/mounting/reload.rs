//! M17: SIGHUP drops what is known of lowers that somebody changed.

use super::*;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn stack() -> Stack {
    let stack = Stack::new(2);
    stack.opt_out(Check::LowersUnchanged);
    for name in ["d/stays", "d/gone", "d/changed", "d/replaced", "d/mode", "d/dir/x", "d/merged/top", "top"] {
        write(stack.lower(0).join(name), format!("old {name}"));
    }
    write(stack.lower(1).join("d/below"), "below");
    write(stack.upper().join("d/mine"), "mine");
    stack
}

/// Looks at everything, so that the kernel has it, absent names too.
fn look(m: &Mount) {
    dump(m.path());
    for name in ["new", "d/new", "d/newdir", "d/dir/new", "d/merged/low", "d/stays/below"] {
        assert!(fs::symlink_metadata(m.join(name)).is_err(), "{name}");
    }
}

fn change(stack: &Stack) {
    let lower = stack.lower(0);
    for name in ["new", "d/new", "d/newdir/inside", "d/dir/new"] {
        write(lower.join(name), "new");
    }
    write(stack.lower(1).join("d/merged/low"), "low");
    fs::remove_file(lower.join("d/gone")).unwrap();
    write(lower.join("d/changed"), "changed and longer");
    fs::remove_file(lower.join("d/replaced")).unwrap();
    write(lower.join("d/replaced/now"), "a directory");
    fs::set_permissions(lower.join("d/mode"), fs::Permissions::from_mode(0o600)).unwrap();
    write(lower.join("top"), "also");
}

/// What a mount of the layers as they are now shows.
fn wanted(stack: &Stack) -> String {
    let place = stack.base().join("fresh");
    fs::create_dir(&place).unwrap();
    let options = format!(
        "lowerdir={}:{}:{}",
        stack.upper().display(),
        stack.lower(0).display(),
        stack.lower(1).display()
    );
    assert_silent(&run(layerfs_command().arg(&place).args(["-o", &options]), LIMIT));
    let text = described(&place);
    sh("umount \"$1\"", &[&place]);
    text
}

fn described(root: &Path) -> String {
    dump_with(root, &DumpOptions { root: false, ..DumpOptions::default() })
}

fn hang_up(m: &Mount) {
    kill_process(Pid::from_raw(m.pid()).unwrap(), Signal::HUP).unwrap();
}

#[test]
fn m17_after_sighup_the_lowers_show_as_they_are() {
    let stack = stack();
    let m = stack.mount_as(Target::Layerfs, &[]);
    look(&m);
    let before = described(m.path());
    change(&stack);
    let wanted = wanted(&stack);
    assert_ne!(before, wanted);
    hang_up(&m);
    let mut last = String::new();
    let shown = wait_until(LIMIT, || {
        last = described(m.path());
        last == wanted
    });
    assert_same_text(&wanted, &last, "a new mount and this one");
    assert!(shown);
    for name in ["new", "d/new", "d/newdir/inside", "d/dir/new", "d/merged/low"] {
        assert!(m.join(name).exists(), "{name}");
    }
    assert_errno!(fs::read(m.join("d/gone")), Errno::NOENT);
    assert_eq!(fs::read(m.join("d/changed")).unwrap(), b"changed and longer");
    // And what was forgotten can be changed.
    fs::write(m.join("d/changed"), "by us").unwrap();
    fs::remove_dir_all(m.join("d/replaced")).unwrap();
    fs::remove_file(m.join("d/new")).unwrap();
    m.assert_whiteout("d/new");
    m.assert_upper_content("d/changed", "by us");
}

#[test]
fn m17_open_files_directories_and_what_is_mounted_inside_live_on() {
    let stack = stack();
    let m = stack.mount_as(Target::Layerfs, &[]);
    look(&m);
    let open = fs::File::open(m.join("d/changed")).unwrap();
    sh("mount -t tmpfs none \"$1\"/d/dir; echo inside > \"$1\"/d/dir/f", &[m.path()]);
    change(&stack);
    hang_up(&m);
    let shown = wait_until(LIMIT, || fs::read(m.join("d/new")).is_ok_and(|text| text == b"new"));
    assert!(shown, "not looked up anew");
    assert_eq!(fs::read(m.join("d/dir/f")).unwrap(), b"inside\n");
    let text = std::io::read_to_string(&open).unwrap();
    assert_eq!(text, "changed and longer");
    sh("umount \"$1\"/d/dir", &[m.path()]);
    assert_eq!(fs::read(m.join("d/dir/new")).unwrap(), b"new");
    fs::write(m.join("d/mine"), "still").unwrap();
    m.assert_upper_content("d/mine", "still");
}

#[test]
fn m17_more_absent_names_than_are_remembered() {
    let stack = stack();
    let m = stack.mount_as(Target::Layerfs, &[]);
    for n in 0..70_000 {
        assert!(fs::symlink_metadata(m.join(format!("absent-{n}"))).is_err());
    }
    write(stack.lower(0).join("absent-1"), "");
    write(stack.lower(0).join("absent-69999"), "");
    hang_up(&m);
    let shown = wait_until(LIMIT, || m.join("absent-69999").exists() && m.join("absent-1").exists());
    assert!(shown, "an absent name stays absent");
}
