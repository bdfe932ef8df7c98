//! What is refused: with exit code 1, one line that names the culprit, and nothing changed.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

/// Runs layerfs with `-o options` at `mount_point`, where `@` stands for the base directory, and
/// checks that it refuses and that its line contains all of `names`.
fn assert_refused(stack: &Stack, mount_point: &str, options: &str, names: &[&str]) {
    let at = |text: &str| text.replace('@', stack.base().to_str().unwrap());
    let mut command = layerfs_command();
    command.arg("src").arg(at(mount_point)).arg("-o").arg(at(options));
    assert_refusal(stack, &mut command, names, options);
}

fn assert_refusal(stack: &Stack, command: &mut Command, names: &[&str], title: &str) {
    let before = world(stack);
    let outcome = run(command, LIMIT);
    assert_eq!(outcome.status.code(), Some(1), "{title}: {outcome:?}");
    assert_eq!(outcome.stdout, "", "{title}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{title}: {}", outcome.stderr);
    for name in names {
        let name = name.replace('@', stack.base().to_str().unwrap());
        assert!(outcome.stderr.contains(&name), "{title}: no {name} in: {}", outcome.stderr);
    }
    assert_same_text(&before, &world(stack), title);
}

/// All that a refusal must leave alone: the directories with marks and ctimes, and the mounts.
fn world(stack: &Stack) -> String {
    let base = stack.base().to_str().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let ours = mounts.lines().filter(|line| line.contains(base)).map(|line| format!("{line}\n"));
    let tree = dump_with(stack.base(), &DumpOptions::everything());
    ours.collect::<String>() + &tree
}

fn stack() -> Stack {
    let stack = three_layers();
    for dir in ["l0/in", "u/in", "w/in"] {
        fs::create_dir(stack.base().join(dir)).unwrap();
    }
    write(stack.base().join("file"), "not a directory");
    stack
}

const GOOD: &str = "lowerdir=@/l0,upperdir=@/u,workdir=@/w";

#[test]
fn m6_no_lowerdir() {
    let stack = stack();
    assert_refused(&stack, "@/m", "upperdir=@/u,workdir=@/w", &["lowerdir"]);
    assert_refused(&stack, "@/m", "ro", &["lowerdir"]);
    assert_refused(&stack, "@/m", "lowerdir=", &["lowerdir"]);
    let mut bare = layerfs_command();
    bare.arg(stack.mnt());
    assert_refusal(&stack, &mut bare, &["lowerdir"], "no options at all");
}

#[test]
fn m6_no_mount_point() {
    let stack = stack();
    assert_refusal(&stack, &mut layerfs_command(), &["mount point"], "no arguments");
    let mut command = layerfs_command();
    command.args(["a", "b", "c", "-o", "lowerdir=/tmp"]);
    assert_refusal(&stack, &mut command, &["c"], "three operands");
}

#[test]
fn m6_directories_that_do_not_exist() {
    let stack = stack();
    assert_refused(&stack, "@/m", "lowerdir=@/none,upperdir=@/u,workdir=@/w", &["@/none"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l0:@/none:@/l1", &["lowerdir", "@/none"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l0,lowerdir+=@/none", &["@/none"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l0,upperdir=@/none,workdir=@/w", &["@/none"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l0,upperdir=@/u,workdir=@/none", &["@/none"]);
    assert_refused(&stack, "@/none", GOOD, &["@/none"]);
}

#[test]
fn m6_what_is_no_directory() {
    let stack = stack();
    assert_refused(&stack, "@/m", "lowerdir=@/file", &["lowerdir", "@/file"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l0,upperdir=@/file,workdir=@/w", &["@/file"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l0,upperdir=@/u,workdir=@/file", &["@/file"]);
    assert_refused(&stack, "@/file", GOOD, &["@/file"]);
}

#[test]
fn m6_upper_without_work() {
    assert_refused(&stack(), "@/m", "lowerdir=@/l0,upperdir=@/u", &["workdir"]);
}

#[test]
fn m6_work_on_another_filesystem() {
    let stack = stack();
    let other = Tmpfs::at(&stack.base().join("other"), "size=1m");
    let options = "lowerdir=@/l0,upperdir=@/u,workdir=@/other";
    assert_refused(&stack, "@/m", options, &["workdir", "@/other"]);
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "something left in the workdir");
}

#[test]
fn m6_upper_and_work_equal_or_one_inside_the_other() {
    let stack = stack();
    assert_refused(&stack, "@/m", "lowerdir=@/l0,upperdir=@/u,workdir=@/u", &["@/u"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l0,upperdir=@/u,workdir=@/u/in", &["@/u/in"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l0,upperdir=@/w/in,workdir=@/w", &["@/w/in"]);
    symlink("u", stack.base().join("alias")).unwrap();
    assert_refused(&stack, "@/m", "lowerdir=@/l0,upperdir=@/u,workdir=@/alias", &["workdir"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l0,upperdir=@/u,workdir=@/alias/in", &["workdir"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l0,upperdir=@/u,workdir=@/w/../u", &["workdir"]);
}

#[test]
fn m6_upper_or_work_inside_a_lower_and_a_lower_inside_work() {
    let stack = stack();
    assert_refused(&stack, "@/m", "lowerdir=@/l0,upperdir=@/l0/in,workdir=@/w", &["@/l0/in"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l0,upperdir=@/u,workdir=@/l0/in", &["@/l0/in"]);
    assert_refused(&stack, "@/m", "lowerdir=@/u,upperdir=@/u,workdir=@/w", &["@/u"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l1:@,upperdir=@/u,workdir=@/w", &["@"]);
    assert_refused(&stack, "@/m", "lowerdir=@/l0:@/w/in,upperdir=@/u,workdir=@/w", &["@/w/in"]);
    assert_refused(&stack, "@/m", "lowerdir=@/w,upperdir=@/u,workdir=@/w", &["@/w"]);
}

#[test]
fn m6_upper_or_work_in_use_by_a_live_mount() {
    let stack = stack();
    for dir in ["m2", "u2", "w2"] {
        fs::create_dir(stack.base().join(dir)).unwrap();
    }
    let mut m = stack.mount_as(Target::Layerfs, &[]);
    assert_refused(&stack, "@/m2", "lowerdir=@/l0,upperdir=@/u,workdir=@/w", &["in use"]);
    assert_refused(&stack, "@/m2", "lowerdir=@/l0,upperdir=@/u,workdir=@/w2", &["@/u"]);
    assert_refused(&stack, "@/m2", "lowerdir=@/l0,upperdir=@/u2,workdir=@/w", &["@/w"]);
    assert_three_layers(&m);
    m.remount(&[]);
    assert_three_layers(&m);
    m.kill_daemon();
    m.remount(&[]);
    assert_three_layers(&m);
}

#[test]
fn m6_an_unknown_option_is_refused_by_name() {
    let stack = stack();
    for option in ["frobnicate", "frobnicate=7", "lowerdirs=/x", "no-such", "metacopyy=on", "Ro"] {
        let name = option.split('=').next().unwrap();
        assert_refused(&stack, "@/m", &format!("{GOOD},{option}"), &[name]);
        assert_refused(&stack, "@/m", &format!("{option},{GOOD}"), &[name]);
    }
}

#[test]
fn m6_an_unknown_flag_is_refused_by_name() {
    let stack = stack();
    let mut command = stack.layerfs_command(&[]);
    command.arg("--frobnicate");
    assert_refusal(&stack, &mut command, &["--frobnicate"], "--frobnicate");
}

#[test]
fn m6_a_missing_dev_fuse() {
    let stack = stack();
    let mut command = Command::new("unshare");
    let line = "mount -t tmpfs none /dev; exec \"$0\" src \"$1\" -o \"$2\"";
    command.args(["--mount", "sh", "-c", line]).arg(layerfs_bin()).arg(stack.mnt());
    command.arg(stack.options());
    assert_refusal(&stack, &mut command, &["/dev/fuse"], "no /dev/fuse");
}

#[test]
fn m5_a_refusal_in_the_foreground_is_the_same() {
    let stack = stack();
    let mut command = layerfs_command();
    command.args(["-f", "src"]).arg(stack.mnt()).args(["-o", "lowerdir=/none/such"]);
    assert_refusal(&stack, &mut command, &["/none/such"], "-f");
}

/// Whoever waits for the command finds the line there, also where the process in the background takes its
/// time: here it cannot write, since the pipe is full.
#[test]
fn m5_the_refusal_is_written_before_the_command_ends() {
    let stack = stack();
    let (mut read, mut write) = std::io::pipe().unwrap();
    let room = rustix::pipe::fcntl_getpipe_size(&write).unwrap();
    std::io::Write::write_all(&mut write, &vec![b'.'; room]).unwrap();
    let options = format!("lowerdir=sha256:{}", "0".repeat(64));
    let mut command = layerfs_command();
    let mut child = command.arg(stack.mnt()).arg("-o").arg(options).stderr(write).spawn().unwrap();
    drop(command);
    assert!(!wait_until(Duration::from_millis(500), || child.try_wait().unwrap().is_some()));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut read, &mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let line = said.trim_start_matches('.');
    assert!(line.starts_with("layerfs: ") && line.lines().count() == 1, "{line}");
}
