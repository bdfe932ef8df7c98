//! What must hold after every clean unmount, whatever the test was about.

use super::dump::{DumpOptions, assert_same_text, dump_with};
use super::stack::{Stack, Target};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A check that a special test may leave out by [`Stack::opt_out`].
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// `w/work` is absent or empty, and nothing is staged beside it.
    WorkEmpty,
    /// Every entry of `w/index` is a link of an upper file or stands for names that are left.
    IndexLinks,
    /// Nothing in the upper is named `.wh.*` or `#*`.
    UpperNames,
    /// The lowers are as they were at the mount, ctimes included.
    LowersUnchanged,
    /// The daemon is gone within ten seconds.
    DaemonGone,
}

impl Check {
    pub(super) fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

/// Lowers with more entries than this are not compared, to keep the suite fast.
const COMPARED_ENTRIES: usize = 2000;

/// The lowers as text, or nothing if that is not wanted or too much.
pub(super) fn lowers_before(stack: &Stack) -> Option<String> {
    if !stack.wants(Check::LowersUnchanged) {
        return None;
    }
    let mut text = String::new();
    for lower in stack.lowers() {
        if count_entries(lower, COMPARED_ENTRIES) >= COMPARED_ENTRIES {
            return None;
        }
        text += &dump_with(lower, &DumpOptions::everything());
    }
    Some(text)
}

fn count_entries(dir: &Path, enough: usize) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(dir).unwrap().flatten() {
        count += 1;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            count += count_entries(&entry.path(), enough);
        }
        if count >= enough {
            break;
        }
    }
    count
}

/// Checks the directories of a stack that was just unmounted.
pub(super) fn after_umount(stack: &Stack, target: Target, before: Option<&str>) {
    if target == Target::Layerfs && stack.wants(Check::WorkEmpty) {
        check_work(stack.work());
    }
    if target == Target::Layerfs && stack.wants(Check::IndexLinks) {
        check_index(stack.work());
    }
    if stack.wants(Check::UpperNames) {
        check_names(stack.upper());
    }
    if let (Some(before), Some(after)) = (before, lowers_before(stack)) {
        assert_same_text(before, &after, "the lowers before the mount and after it");
    }
}

fn check_work(work: &Path) {
    let names = |dir: &Path| -> Vec<_> {
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
    };
    let mut left = names(&work.join("work"));
    left.extend(names(work).into_iter().filter(|name| name.as_encoded_bytes().starts_with(b"#")));
    assert!(left.is_empty(), "left in {}: {left:?}", work.display());
}

fn check_index(work: &Path) {
    let Ok(entries) = fs::read_dir(work.join("index")) else {
        return;
    };
    for entry in entries.flatten() {
        let meta = entry.path().symlink_metadata().unwrap();
        let used = meta.is_dir() || meta.nlink() >= 2 || names_left(&entry.path(), meta.nlink()) > 0;
        assert!(used, "{}: an index entry for no name", entry.path().display());
    }
}

/// The names a file has in the union by its mark `nlink`: `U+1` is one more than its links in the
/// upper's filesystem, `L-1` one less than the lower file had. After an unlink of one of several
/// lower names the kernel leaves such an entry without an upper file, and so do we.
fn names_left(entry: &Path, links: u64) -> i64 {
    let Some(mark) = super::place::mark(entry, "nlink") else { return 0 };
    let mark = String::from_utf8_lossy(&mark).into_owned();
    let (base, difference) = mark.split_at(1);
    let difference: i64 = difference.parse().unwrap_or_else(|_| panic!("nlink mark {mark}"));
    match base {
        "U" => links as i64 + difference,
        // How many links the lower had is not known here; a mark is only written above none.
        _ => 1,
    }
}

fn check_names(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let stray = name.starts_with(b".wh.") || name.starts_with(b"#");
        assert!(!stray, "left in the upper: {}", entry.path().display());
        if entry.file_type().unwrap().is_dir() {
            check_names(&entry.path());
        }
    }
}
