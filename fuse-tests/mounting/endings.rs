//! How a mount ends, what is written by then, and what the next mount finds.

use super::*;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

/// How long the program may take to write back and go.
const GOODBYE: Duration = Duration::from_secs(10);

fn assert_gone(m: Mount, pid: i32) {
    assert!(wait_until(GOODBYE, || !process_alive(pid)), "process {pid} is still there");
    m.ended();
}

fn end_by(m: &Mount, way: &str) {
    let send = |signal| kill_process(Pid::from_raw(m.pid()).unwrap(), signal).unwrap();
    match way {
        "SIGTERM" => send(Signal::TERM),
        "SIGINT" => send(Signal::INT),
        "umount" => drop(sh("umount \"$1\"", &[m.path()])),
        "fusermount3" => drop(sh("fusermount3 -u \"$1\"", &[m.path()])),
        _ => panic!("no such way: {way}"),
    }
}

const WAYS: [&str; 4] = ["umount", "fusermount3", "SIGTERM", "SIGINT"];

#[test]
fn m7_each_way_of_ending_writes_back_what_is_dirty_and_ends_the_process() {
    for way in WAYS {
        let stack = three_layers();
        let m = stack.mount_as(Target::Layerfs, &[]);
        let pid = m.pid();
        let data = vec![b'd'; 3_000_000];
        fs::write(m.join("dirty"), &data).unwrap();
        fs::write(m.join("bottom"), "changed").unwrap();
        File::options().append(true).open(m.join("top")).unwrap().write_all(b" more").unwrap();
        fs::remove_file(m.join("common")).unwrap();
        // Another test's child may hold the descriptors for a moment; umount would be busy.
        std::thread::sleep(Duration::from_millis(50));
        end_by(&m, way);
        assert!(wait_until(GOODBYE, || !is_mounted(m.path())), "{way}: still mounted");
        assert_gone(m, pid);
        let upper = |name: &str| fs::read(stack.upper().join(name)).unwrap();
        assert!(upper("dirty") == data, "{way}: dirty data is lost");
        assert_eq!(upper("bottom"), b"changed", "{way}");
        assert_eq!(upper("top"), b"top more", "{way}");
        assert!(place::is_whiteout(stack.upper().join("common")), "{way}");
    }
}

#[test]
fn m7_a_signal_ends_even_a_mount_in_use() {
    for way in ["SIGTERM", "SIGINT"] {
        let stack = three_layers();
        let m = stack.mount_as(Target::Layerfs, &[]);
        let pid = m.pid();
        let open = File::options().write(true).open(m.join("bottom")).unwrap();
        open.write_all_at(b"written by an open file", 0).unwrap();
        end_by(&m, way);
        assert!(wait_until(GOODBYE, || !is_mounted(m.path())), "{way}: still mounted");
        assert_gone(m, pid);
        let upper = fs::read(stack.upper().join("bottom")).unwrap();
        assert_eq!(upper, b"written by an open file", "{way}: dirty data is lost");
        drop(open);
    }
}

#[test]
fn m7_umount_of_a_mount_in_use_is_busy_and_changes_nothing() {
    let m = three_layers().mount_as(Target::Layerfs, &[]);
    let open = File::open(m.join("common")).unwrap();
    let outcome = run(Command::new("umount").arg(m.path()), LIMIT);
    assert!(!outcome.success() && outcome.stderr.contains("busy"), "{outcome:?}");
    assert_three_layers(&m);
    drop(open);
}

#[test]
fn m7_in_the_foreground_it_exits_with_0_after_umount_and_signals() {
    for way in WAYS {
        let stack = three_layers();
        let mut child = stack.layerfs_command(&[]).arg("-f").spawn().unwrap();
        assert!(wait_until(LIMIT, || is_mounted(stack.mnt())), "{way}: not mounted");
        let m = stack.adopt(run(&mut Command::new("true"), LIMIT));
        assert_three_layers(&m);
        std::thread::sleep(Duration::from_millis(50));
        end_by(&m, way);
        let mut status = None;
        let ended = wait_until(GOODBYE, || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended && status.unwrap().success(), "{way}: {status:?}");
        m.ended();
    }
}

#[test]
fn m7_after_a_lazy_umount_the_process_ends_with_the_last_file() {
    let stack = three_layers();
    let m = stack.mount_as(Target::Layerfs, &[]);
    let pid = m.pid();
    let mut open = File::options().append(true).open(m.join("common")).unwrap();
    sh("umount -l \"$1\"", &[m.path()]);
    open.write_all(b" after").unwrap();
    assert!(process_alive(pid), "it went although a file is open");
    drop(open);
    assert_gone(m, pid);
    assert_eq!(fs::read(stack.upper().join("common")).unwrap(), b"upper after");
}

#[test]
fn m8_leftovers_in_the_workdir_are_removed_at_the_next_mount() {
    let stack = three_layers();
    let work = stack.work().join("work");
    write(work.join("#half-copied"), vec![b'x'; 100_000]);
    write(work.join("#dir/with/files"), "x");
    write(work.join("#dir/more"), "x");
    sh("mknod \"$1\"/#whiteout c 0 0; ln -s x \"$1\"/#link; chmod 000 \"$1\"/#dir/with", &[&work]);
    let m = stack.mount_as(Target::Layerfs, &[]);
    let left: Vec<_> = fs::read_dir(&work).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with("#w")), "{left:?}");
    for name in ["#half-copied", "#dir", "#whiteout", "#link"] {
        assert!(!place::exists(work.join(name)), "{name} is still there");
    }
    assert_three_layers(&m);
}

#[test]
fn k1_after_a_kill_the_same_stack_mounts_again() {
    let mut m = three_layers().mount_as(Target::Layerfs, &[]);
    fs::write(m.join("synced"), "synced").unwrap();
    File::open(m.join("synced")).unwrap().sync_all().unwrap();
    fs::rename(m.join("bottom"), m.join("moved")).unwrap();
    m.kill_daemon();
    m.remount(&[]);
    assert_eq!(fs::read(m.join("synced")).unwrap(), b"synced");
    assert_eq!(fs::read(m.join("moved")).unwrap(), b"bottom");
    assert!(!m.join("bottom").exists());
}
