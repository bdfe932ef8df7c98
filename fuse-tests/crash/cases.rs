//! The operations of the crash tests: what each needs, does, and shows before and after.

use crate::harness::{write, xattr};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::OnceLock;

/// Big enough that a death often falls into its copy.
const BIG: usize = 2 << 20;

/// What an operation shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Before,
    After,
}

/// One kind of operation: its objects in the two lowers, what it does, and what it shows.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// Whether it is done for good when the call returns; else a death may undo it.
    pub(super) kept: bool,
    pub(super) prepare: fn(&Path, &Path),
    pub(super) act: fn(&Path) -> io::Result<()>,
    pub(super) state: fn(&Path) -> State,
}

/// Every kind of operation that the series is made of.
pub(super) fn kinds() -> Vec<Kind> {
    vec![
        kind("rename_merged_dir", two_trees, rename_tree, tree_moved),
        kind("exchange_dirs", two_trees, exchange_trees, trees_swapped),
        kind("exchange_files", files, exchange_files, files_swapped),
        kind("rename_over", files, rename_over, renamed_over),
        kind("unlink_lower", files, unlink, unlinked),
        kind("rmdir_merged", two_trees, remove_tree, tree_removed),
        kind("copy_up", big, write_big, big_written).undone(),
        kind("copy_up_synced", big, write_big_synced, big_written),
        kind("truncate", big, truncate, truncated),
        kind("chmod", big, chmod, chmodded),
        kind("link", big, link, linked),
        kind("hard_links", big_links, write_big_synced, links_written),
        kind("replace", files, replace, replaced),
        kind("opaque", two_trees, make_again, made_again),
    ]
}

fn kind(
    name: &'static str,
    prepare: fn(&Path, &Path),
    act: fn(&Path) -> io::Result<()>,
    state: fn(&Path) -> State,
) -> Kind {
    Kind { name, kept: true, prepare, act, state }
}

impl Kind {
    /// Data that was not synced may be lost.
    fn undone(self) -> Kind {
        Kind { kept: false, ..self }
    }
}

fn big_content() -> Vec<u8> {
    static CONTENT: OnceLock<Vec<u8>> = OnceLock::new();
    CONTENT.get_or_init(|| (0..BIG).map(|i| (i % 253) as u8 + 1).collect()).clone()
}

fn two_trees(top: &Path, bottom: &Path) {
    for tree in ["one", "two"] {
        write(top.join(tree).join("top"), tree);
        write(bottom.join(tree).join("bottom"), tree);
        write(bottom.join(tree).join("sub/deep"), tree);
    }
}

fn files(top: &Path, bottom: &Path) {
    write(top.join("a"), "a");
    write(bottom.join("a"), "hidden");
    write(bottom.join("b"), "b");
}

fn big(_: &Path, bottom: &Path) {
    write(bottom.join("big"), big_content());
    xattr::lset(bottom.join("big"), "user.kept", b"1").unwrap();
}

fn big_links(_: &Path, bottom: &Path) {
    write(bottom.join("big"), big_content());
    fs::hard_link(bottom.join("big"), bottom.join("big2")).unwrap();
}

/// Whether the tree is there whole, with the content `was`; anything in between fails.
fn whole_tree(dir: &Path, was: &str) -> bool {
    if fs::symlink_metadata(dir).is_err() {
        return false;
    }
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bottom", "sub", "top"], "{}", dir.display());
    let contents = ["top", "bottom", "sub/deep"].map(|f| fs::read_to_string(dir.join(f)).unwrap());
    if contents.iter().any(|content| content != was) {
        assert!(contents.iter().all(|c| *c == contents[0]), "mixed: {contents:?}");
        return false;
    }
    true
}

fn one_of(before: bool, after: bool) -> State {
    assert!(before != after, "neither done nor not done: before {before}, after {after}");
    if after { State::After } else { State::Before }
}

fn content(path: &Path) -> Option<String> {
    match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn exchange(dir: &Path, a: &str, b: &str) -> io::Result<()> {
    Ok(renameat_with(CWD, dir.join(a), CWD, dir.join(b), RenameFlags::EXCHANGE)?)
}

fn rename_tree(dir: &Path) -> io::Result<()> {
    fs::rename(dir.join("one"), dir.join("moved"))
}

fn tree_moved(dir: &Path) -> State {
    assert!(whole_tree(&dir.join("two"), "two"));
    one_of(whole_tree(&dir.join("one"), "one"), whole_tree(&dir.join("moved"), "one"))
}

fn exchange_trees(dir: &Path) -> io::Result<()> {
    exchange(dir, "one", "two")
}

fn trees_swapped(dir: &Path) -> State {
    let is = |name: &str, was: &str| whole_tree(&dir.join(name), was);
    one_of(is("one", "one") && is("two", "two"), is("one", "two") && is("two", "one"))
}

fn exchange_files(dir: &Path) -> io::Result<()> {
    exchange(dir, "a", "b")
}

fn ab(dir: &Path) -> (Option<String>, Option<String>) {
    (content(&dir.join("a")), content(&dir.join("b")))
}

fn some(a: &str, b: &str) -> (Option<String>, Option<String>) {
    (Some(a.to_owned()), Some(b.to_owned()))
}

fn files_swapped(dir: &Path) -> State {
    one_of(ab(dir) == some("a", "b"), ab(dir) == some("b", "a"))
}

fn rename_over(dir: &Path) -> io::Result<()> {
    fs::rename(dir.join("a"), dir.join("b"))
}

fn renamed_over(dir: &Path) -> State {
    one_of(ab(dir) == some("a", "b"), ab(dir) == (None, Some("a".to_owned())))
}

fn unlink(dir: &Path) -> io::Result<()> {
    fs::remove_file(dir.join("a"))
}

fn unlinked(dir: &Path) -> State {
    one_of(ab(dir) == some("a", "b"), ab(dir) == (None, Some("b".to_owned())))
}

/// Not atomic as a whole; its last step is what counts, and what went stays away.
fn remove_tree(dir: &Path) -> io::Result<()> {
    fs::remove_dir_all(dir.join("one"))
}

fn tree_removed(dir: &Path) -> State {
    assert!(whole_tree(&dir.join("two"), "two"));
    if fs::symlink_metadata(dir.join("one")).is_ok() { State::Before } else { State::After }
}

fn write_big(dir: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(dir.join("big"))?.write_all_at(b"NEW DATA", 100)
}

fn write_big_synced(dir: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(dir.join("big"))?;
    file.write_all_at(b"NEW DATA", 100)?;
    file.sync_all()
}

fn written(path: &Path) -> State {
    let mut expected = big_content();
    let found = fs::read(path).unwrap();
    let before = found == expected;
    expected[100..108].copy_from_slice(b"NEW DATA");
    one_of(before, found == expected)
}

fn big_written(dir: &Path) -> State {
    assert_eq!(xattr::lget(dir.join("big"), "user.kept").unwrap(), b"1");
    written(&dir.join("big"))
}

fn links_written(dir: &Path) -> State {
    let (one, two) = (dir.join("big"), dir.join("big2"));
    let meta = [&one, &two].map(|path| fs::symlink_metadata(path).unwrap());
    assert_eq!(meta[0].ino(), meta[1].ino(), "two names of one file");
    assert_eq!(meta[0].nlink(), 2);
    assert_eq!(written(&one), written(&two));
    written(&one)
}

fn truncate(dir: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(dir.join("big"))?.set_len(5000)
}

fn truncated(dir: &Path) -> State {
    let found = fs::read(dir.join("big")).unwrap();
    let all = big_content();
    one_of(found == all, found == all[..5000])
}

fn chmod(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir.join("big"), fs::Permissions::from_mode(0o600))
}

fn chmodded(dir: &Path) -> State {
    assert!(fs::read(dir.join("big")).unwrap() == big_content());
    let mode = fs::symlink_metadata(dir.join("big")).unwrap().mode() & 0o7777;
    one_of(mode == 0o644, mode == 0o600)
}

fn link(dir: &Path) -> io::Result<()> {
    fs::hard_link(dir.join("big"), dir.join("big2"))
}

fn linked(dir: &Path) -> State {
    let (one, two) = (dir.join("big"), dir.join("big2"));
    assert!(fs::read(&one).unwrap() == big_content());
    let meta = fs::symlink_metadata(&one).unwrap();
    match fs::symlink_metadata(&two) {
        Err(_) => one_of(meta.nlink() == 1, false),
        Ok(other) => one_of(false, meta.ino() == other.ino() && meta.nlink() == 2),
    }
}

/// The way programs save a file: a new one, synced, renamed over the old one.
fn replace(dir: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(dir.join("tmp"))?;
    file.write_all_at(&[b'n'; 100_000], 0)?;
    file.sync_all()?;
    fs::rename(dir.join("tmp"), dir.join("a"))
}

fn replaced(dir: &Path) -> State {
    let a = content(&dir.join("a")).unwrap();
    one_of(a == "a", a == "n".repeat(100_000))
}

/// Removes a merged directory and makes a new one of its name; the old names must not come back.
fn make_again(dir: &Path) -> io::Result<()> {
    fs::remove_dir_all(dir.join("one"))?;
    fs::create_dir(dir.join("one"))?;
    fs::rename(dir.join("one"), dir.join("new"))
}

fn made_again(dir: &Path) -> State {
    match fs::read_dir(dir.join("new")) {
        Err(_) => State::Before,
        Ok(entries) => one_of(fs::symlink_metadata(dir.join("one")).is_ok(), entries.count() == 0),
    }
}
