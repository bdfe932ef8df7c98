//! U15: the forms in which whiteouts are written, and which is chosen where.

use super::*;
use crate::harness::{Check, Target, place, run, write};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

const LOWER: &[&str] =
    &["d/file", "d/dir/x", "d/again", "d/dir_again/x", "d/moved", "d/target", "d/void/x", "d/stays", "top"];

/// Makes, replaces and moves whiteouts in every way.
fn use_whiteouts(root: &Path) {
    fs::remove_file(root.join("d/file")).unwrap();
    fs::remove_dir_all(root.join("d/dir")).unwrap();
    fs::remove_file(root.join("d/again")).unwrap();
    fs::write(root.join("d/again"), "again").unwrap();
    fs::remove_dir_all(root.join("d/dir_again")).unwrap();
    fs::create_dir(root.join("d/dir_again")).unwrap();
    write(root.join("d/dir_again/new"), "new");
    fs::rename(root.join("d/moved"), root.join("d/target")).unwrap();
    // A file and a directory over whiteouts, one of them renamed away again.
    fs::rename(root.join("d/target"), root.join("d/file")).unwrap();
    fs::rename(root.join("d/dir_again"), root.join("d/dir")).unwrap();
    // A directory over one of nothing but whiteouts.
    fs::remove_file(root.join("d/void/x")).unwrap();
    fs::rename(root.join("d/dir"), root.join("d/void")).unwrap();
    fs::hard_link(root.join("d/again"), root.join("d/moved")).unwrap();
    fs::remove_file(root.join("top")).unwrap();
}

fn assert_used(root: &Path) {
    assert_eq!(names(root.join("d")), ["again", "file", "moved", "stays", "void"]);
    assert_eq!(names(root.join("d/void")), ["new"]);
    assert_eq!((text(root.join("d/file")), text(root.join("d/moved"))), ("d/moved".into(), "again".into()));
    assert!(absent(root.join("top")));
}

/// Removes a merged directory with changes in it, and one that was made in its place.
fn remove_all(root: &Path) {
    fs::remove_dir_all(root.join("d")).unwrap();
    fs::create_dir(root.join("d")).unwrap();
    assert_eq!(names(root.join("d")).len(), 0);
    fs::remove_dir(root.join("d")).unwrap();
}

/// Which forms of whiteouts are in a tree: devices, marked files, `.wh.` files.
fn forms(dir: &Path) -> (usize, usize, usize) {
    let mut found = (0, 0, 0);
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let beside = path.file_name().unwrap().to_str().unwrap().starts_with(".wh.");
        match (place::is_whiteout(&path), lstat(&path).is_file()) {
            (true, true) => found.1 += 1,
            (true, false) => found.0 += 1,
            (false, _) => found.2 += usize::from(beside),
        }
        if lstat(&path).is_dir() {
            let inside = forms(&path);
            found = (found.0 + inside.0, found.1 + inside.1, found.2 + inside.2);
        }
    }
    found
}

fn stack() -> Stack {
    let stack = stack_with(LOWER);
    stack.opt_out(Check::UpperNames);
    stack
}

#[test]
fn u15_each_form_does_all_that_the_others_do() {
    for form in ["device", "xattr", "file"] {
        let stack = stack();
        let option = format!("whiteouts={form}");
        let mut m = stack.mount_as(Target::Layerfs, &[&option]);
        use_whiteouts(m.path());
        assert_used(m.path());
        let before = dump(m.path());
        m.remount(&[&option]);
        assert_same_text(&before, &dump(m.path()), form);
        let found = forms(stack.upper());
        let only = match form {
            "device" => found.0 > 3 && found.1 + found.2 == 0,
            "xattr" => found.1 > 3 && found.0 + found.2 == 0,
            _ => found.2 > 3 && found.0 + found.1 == 0,
        };
        assert!(only, "{form}: {found:?}: {}", paths(stack.upper()));
        // Whoever comes next reads what it finds, and goes on in its own form.
        m.remount(&[]);
        assert_same_text(&before, &dump(m.path()), form);
        remove_all(m.path());
        m.remount(&[&option]);
        assert_eq!(names(m.path()).len(), 0, "{form}");
    }
}

#[test]
fn u15_the_kernel_reads_marked_files_as_whiteouts_of_a_lower() {
    let stack = stack();
    let m = stack.mount_as(Target::Layerfs, &["whiteouts=xattr", "metacopy=off"]);
    fs::remove_file(m.join("d/file")).unwrap();
    fs::remove_dir_all(m.join("d/dir")).unwrap();
    fs::remove_file(m.join("top")).unwrap();
    let options = DumpOptions { dir_mtime: false, nlink: false, root: false, ..DumpOptions::default() };
    let shown = dump_with(m.path(), &options);
    m.umount();
    let line = "mount -t overlay overlay \"$1\" -o \"lowerdir=$2:$3\"";
    sh(line, &[stack.mnt(), stack.upper(), stack.lower(0)]);
    let by_kernel = dump_with(stack.mnt(), &options);
    sh("umount \"$1\"", &[stack.mnt()]);
    assert_same_text(&shown, &by_kernel, "layerfs and the kernel over its upper");
}

#[test]
fn u15_the_environment_of_fuse_overlayfs_asks_for_wh_files() {
    let stack = stack();
    let mut command = stack.layerfs_command(&[]);
    let m = stack.adopt(run(command.env("FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT", "1"), LIMIT));
    use_whiteouts(m.path());
    assert_used(m.path());
    let found = forms(stack.upper());
    assert!(found.2 > 3 && found.0 + found.1 == 0, "{found:?}");
}

#[test]
fn u15_fuse_overlayfs_reads_wh_files_and_opaque_marks() {
    crate::harness::need_program("fuse-overlayfs", "fuse-overlayfs");
    let stack = stack();
    let m = stack.mount_as(Target::Layerfs, &["whiteouts=file", "redirect_dir=off", "metacopy=off"]);
    fs::remove_file(m.join("d/file")).unwrap();
    fs::remove_dir_all(m.join("d/dir")).unwrap();
    fs::create_dir(m.join("d/dir")).unwrap();
    write(m.join("d/dir/new"), "new");
    let options = DumpOptions { dir_mtime: false, nlink: false, root: false, ..DumpOptions::default() };
    let shown = dump_with(m.path(), &options);
    m.umount();
    let line = "fuse-overlayfs -o \"lowerdir=$2,upperdir=$3,workdir=$4\" \"$1\"";
    sh(line, &[stack.mnt(), stack.lower(0), stack.upper(), stack.work()]);
    let theirs = dump_with(stack.mnt(), &options);
    sh("umount \"$1\"", &[stack.mnt()]);
    assert_same_text(&shown, &theirs, "layerfs and fuse-overlayfs over its upper");
}

/// Runs a shell script as user 1000, or in a user namespace of it; `$1` is the base directory.
fn as_1000(stack: &Stack, within: &[&str], script: &str) -> String {
    let program = stack.base().join("layerfs");
    if !program.exists() {
        fs::copy(crate::harness::layerfs_bin(), &program).unwrap();
        sh("chmod 755 \"$1\"/layerfs; chown -R 1000:1000 \"$1\"", &[stack.base()]);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=1000", "--regid=1000", "--clear-groups"]).args(within);
    let outcome = run(command.args(["sh", "-ec", script, "sh"]).arg(stack.base()), LIMIT);
    assert!(outcome.success(), "{outcome:?}");
    outcome.stdout
}

const SCRIPT: &str = r#"cd "$1"
./layerfs m -o lowerdir=l0,upperdir=u,workdir=w
rm m/d/file; rm -r m/d/dir; mkdir m/d/dir; mv m/d/moved m/d/target; rm m/top
ls m m/d m/d/dir; cat m/d/target
umount m 2>/dev/null || fusermount3 -u m
"#;

#[test]
fn u15_an_ordinary_user_writes_whiteouts_without_a_namespace_and_within_one() {
    for within in [&[][..], &["unshare", "-Urm"][..]] {
        let stack = stack();
        let shown = as_1000(&stack, within, SCRIPT);
        let wanted = "m:\nd\n\nm/d:\nagain\ndir\ndir_again\nstays\ntarget\nvoid\n\nm/d/dir:\nd/moved";
        assert_eq!(shown, wanted, "{within:?}");
        assert!(place::is_whiteout(stack.upper().join("d/file")), "{within:?}");
        assert!(place::is_opaque(stack.upper().join("d/dir")), "{within:?}");
        assert!(place::is_whiteout(stack.upper().join("d/moved")), "{within:?}");
    }
}
