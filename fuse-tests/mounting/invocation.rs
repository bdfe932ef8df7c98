//! The command line: operands, `-o`, paths, background and foreground, help.

use super::*;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

fn o(text: &str) -> &OsStr {
    OsStr::new(text)
}

#[test]
fn m1_operands_and_options_come_in_any_order() {
    let stack = three_layers();
    let all = stack.options();
    let (lowers, rest) = all.split_once(",upperdir").unwrap();
    let rest = format!("upperdir{rest}");
    let mnt = stack.mnt().as_os_str();
    let (dash, src) = (o("-o"), o("src"));
    let joined = format!("-o{all}");
    let orders: [&[&OsStr]; 7] = [
        &[src, mnt, dash, o(&all)],
        &[dash, o(&all), src, mnt],
        &[src, dash, o(&all), mnt],
        &[dash, o(lowers), src, dash, o(&rest), mnt],
        &[dash, o(&rest), src, mnt, dash, o(lowers)],
        &[o(&joined), src, mnt],
        &[dash, o(&all), o("--"), src, mnt],
    ];
    for arguments in orders {
        let outcome = layerfs(arguments);
        let m = stack.adopt(outcome);
        assert_silent(m.said());
        assert_three_layers(&m);
        assert_eq!(mount_line(stack.mnt()).unwrap()[0], "src", "{arguments:?}");
    }
}

#[test]
fn m2_the_table_of_mounts_shows_source_and_type() {
    let stack = three_layers();
    let options = stack.options();
    for source in ["layerfs", "none", "my source", "/dev/some:thing,else", "back\\slash"] {
        let arguments = [o(source), stack.mnt().as_os_str(), o("-o"), o(&options)];
        // Without an operand for it the source is the program's own name.
        let first = usize::from(source == "layerfs");
        let outcome = layerfs(&arguments[first..]);
        let m = stack.adopt(outcome);
        assert_silent(m.said());
        let [shown, place, kind, _] = mount_line(m.path()).unwrap();
        assert_eq!((shown.as_str(), kind.as_str()), (source, "fuse.layerfs"));
        assert_eq!(Path::new(&place), stack.mnt());
    }
}

#[test]
fn m3_escapes_stand_for_the_characters_themselves() {
    let stack = Stack::new(1);
    let base = stack.base();
    for name in ["co:lon", "com,ma", "back\\slash", "up:,\\per", "work:,\\dir"] {
        fs::create_dir(base.join(name)).unwrap();
        write(base.join(name).join(name), name);
    }
    fs::remove_file(base.join("work:,\\dir/work:,\\dir")).unwrap();
    let at = base.display();
    let options = format!(
        "lowerdir={at}/co\\:lon:{at}/com\\,ma:{at}/back\\\\slash,\
         upperdir={at}/up\\:\\,\\\\per,workdir={at}/work\\:\\,\\\\dir"
    );
    let outcome = layerfs(&[stack.mnt().as_os_str(), o("-o"), o(&options)]);
    let m = stack.adopt(outcome);
    assert_silent(m.said());
    for name in ["co:lon", "com,ma", "back\\slash", "up:,\\per"] {
        assert_eq!(fs::read_to_string(m.join(name)).unwrap(), name);
    }
    fs::write(m.join("made"), "").unwrap();
    assert!(base.join("up:,\\per/made").exists());
}

#[test]
fn m3_lowerdir_plus_appends_below() {
    let stack = Stack::new(4);
    for (i, lower) in stack.lowers().iter().enumerate() {
        write(lower.join(format!("only-{i}")), "");
        write(lower.join("common"), format!("{i}"));
        if i >= 2 {
            write(lower.join("low"), format!("{i}"));
        }
    }
    let l = |i: usize| stack.lower(i).display().to_string();
    let options = format!("lowerdir={}:{},lowerdir+={},lowerdir+={}", l(0), l(1), l(2), l(3));
    let plus_only = format!("lowerdir+={},lowerdir+={},lowerdir+={},lowerdir+={}", l(0), l(1), l(2), l(3));
    for options in [options, plus_only] {
        let outcome = layerfs(&[stack.mnt().as_os_str(), o("-o"), o(&options)]);
        let m = stack.adopt(outcome);
        assert_silent(m.said());
        assert_eq!(fs::read_to_string(m.join("common")).unwrap(), "0");
        assert_eq!(fs::read_to_string(m.join("low")).unwrap(), "2");
        assert!((0..4).all(|i| m.join(format!("only-{i}")).exists()));
    }
}

#[test]
fn m3_five_hundred_lowers() {
    let stack = Stack::new(500);
    for (i, lower) in stack.lowers().iter().enumerate() {
        write(lower.join(format!("dir/only-{i}")), format!("{i}"));
        write(lower.join("common"), format!("{i}"));
    }
    write(stack.lower(499).join("dir/deep/bottom"), "bottom");
    let m = stack.mount_as(Target::Layerfs, &[]);
    assert_eq!(fs::read_to_string(m.join("common")).unwrap(), "0");
    assert_eq!(fs::read_to_string(m.join("dir/deep/bottom")).unwrap(), "bottom");
    assert_eq!(fs::read_dir(m.join("dir")).unwrap().count(), 501);
    for i in [0, 250, 499] {
        assert_eq!(fs::read_to_string(m.join(format!("dir/only-{i}"))).unwrap(), format!("{i}"));
    }
    fs::write(m.join("dir/only-499"), "changed").unwrap();
    fs::remove_file(m.join("dir/only-250")).unwrap();
    assert_eq!(fs::read_dir(m.join("dir")).unwrap().count(), 500);
}

#[test]
fn m1_relative_paths_and_symlinks_are_resolved_where_it_is_started() {
    let stack = three_layers();
    symlink("l1", stack.base().join("link")).unwrap();
    let options = "lowerdir=l0:./link,upperdir=u,workdir=w";
    let outcome = layerfs_in(stack.base(), &[o("m"), o("-o"), o(options)]);
    let m = stack.adopt(outcome);
    assert_silent(m.said());
    assert_three_layers(&m);
    fs::write(m.join("made"), "").unwrap();
    m.assert_upper("made");
}

#[test]
fn m9_in_the_background_it_has_no_terminal_and_works_in_the_root_directory() {
    let stack = three_layers();
    let m = stack.mount_as(Target::Layerfs, &[]);
    let pid = m.pid();
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
    let (session, terminal) = session_and_terminal(&pid.to_string());
    assert_eq!(terminal, "0", "it has a controlling terminal");
    // Shown as 0 where the session of the tests began outside of their PID namespace.
    let (ours, _) = session_and_terminal("self");
    assert_ne!(session, ours, "it is in the session of whoever started it");
    assert_eq!(fs::read_link(format!("/proc/{pid}/fd/0")).unwrap(), Path::new("/dev/null"));
}

/// The session and the controlling terminal of a process, as `/proc/PID/stat` numbers them.
fn session_and_terminal(pid: &str) -> (String, String) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[3].to_owned(), fields[4].to_owned())
}

#[test]
fn m9_in_the_background_it_lets_go_of_stdout_and_stderr() {
    let stack = three_layers();
    let line = "timeout 15 sh -c '\"$1\" \"$2\" -o \"$3\" 2>&1 | cat' sh \"$1\" \"$2\" \"$3\"";
    // Waits for both ends of the pipe: 124 from timeout if the daemon keeps one.
    let options = PathBuf::from(stack.options());
    let said = sh(line, &[&layerfs_bin(), stack.mnt(), &options]);
    assert_eq!(said, "");
    drop(stack.adopt(run(&mut Command::new("true"), LIMIT)));
}

/// Starts it with these arguments before the usual ones; its stderr goes to `BASE/stderr`.
fn start(stack: &Stack, arguments: &[&str], further: &[&str]) -> Child {
    let stderr = File::create(stack.base().join("stderr")).unwrap();
    let mut command = stack.layerfs_command(further);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let child = command.spawn().unwrap();
    let answers = || is_mounted(stack.mnt()) && stack.mnt().join("common").exists();
    assert!(wait_until(LIMIT, answers), "not mounted: {}", stderr_of(stack));
    child
}

fn stderr_of(stack: &Stack) -> String {
    fs::read_to_string(stack.base().join("stderr")).unwrap()
}

fn terminate(child: &mut Child) {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
    let mut status = None;
    let ended = wait_until(LIMIT, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert!(ended && status.unwrap().success(), "after SIGTERM: {status:?}");
}

#[test]
fn m9_f_stays_in_the_foreground() {
    for flag in ["-f", "--foreground"] {
        let stack = three_layers();
        let mut child = start(&stack, &[flag], &[]);
        let m = stack.adopt(run(&mut Command::new("true"), LIMIT));
        assert_eq!(m.pid(), child.id() as i32, "{flag}: another process serves");
        assert_three_layers(&m);
        assert!(child.try_wait().unwrap().is_none());
        terminate(&mut child);
        m.ended();
        assert_eq!(stderr_of(&stack), "", "{flag}");
    }
}

#[test]
fn m9_d_and_debug_stay_in_the_foreground_and_log_each_request() {
    for (arguments, further) in [(vec!["-d"], vec![]), (vec![], vec!["debug"])] {
        let stack = three_layers();
        let mut child = start(&stack, &arguments, &further);
        let m = stack.adopt(run(&mut Command::new("true"), LIMIT));
        assert_eq!(m.pid(), child.id() as i32, "another process serves");
        let before = stderr_of(&stack).lines().count();
        for i in 0..20 {
            assert!(!m.join(format!("absent-{i}")).exists());
        }
        let logged = || stderr_of(&stack).lines().count() >= before + 20;
        assert!(wait_until(LIMIT, logged), "20 lookups, logged: {}", stderr_of(&stack));
        terminate(&mut child);
        m.ended();
    }
}

#[test]
fn m1_version_and_help() {
    for flag in ["--version", "-V"] {
        let outcome = layerfs(&[o(flag)]);
        assert!(outcome.success() && outcome.stderr.is_empty(), "{outcome:?}");
        let mut words = outcome.stdout.split_whitespace();
        assert_eq!(words.next(), Some("layerfs"));
        let version = words.next().unwrap();
        assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{version}");
    }
    for flag in ["--help", "-h"] {
        let outcome = layerfs(&[o(flag)]);
        assert!(outcome.success() && outcome.stderr.is_empty(), "{outcome:?}");
        for word in ["lowerdir", "upperdir", "workdir", "MOUNTPOINT", "-f", "-d"] {
            assert!(outcome.stdout.contains(word), "{flag} does not tell of {word}");
        }
    }
}
