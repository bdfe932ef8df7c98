//! Where the kernel's overlayfs legitimately answers otherwise than a plain directory. layerfs is held
//! to the plain directory, but for what an upper on xfs makes different for both.

use super::exec::Answer;
use super::op::Op;
use super::tree::OTHER_INO;
use crate::harness::{Errno, Filesystem};
use std::collections::HashMap;

/// Whether this difference is one of the known ones.
pub(crate) fn excused(side: &str, op: &Op, plain: &Answer, union: &Answer) -> bool {
    match side {
        "kernel" => reason(op, plain, union).is_some() || on_xfs(op, plain, union).is_some(),
        _ => on_xfs(op, plain, union).is_some(),
    }
}

fn on_xfs(op: &Op, plain: &Answer, union: &Answer) -> Option<&'static str> {
    match (op, plain, union) {
        _ if Filesystem::of_tests() != Filesystem::Xfs => None,
        (Op::Rename { .. }, Err(Errno::EXIST), Err(Errno::NOTEMPTY)) => Some(NOT_EMPTY),
        (Op::Stat { .. } | Op::FdStat { .. }, Ok(plain), Ok(union)) => {
            (swapped(plain, union).as_deref() == Some(union)).then_some(SWAPPED)
        }
        _ => None,
    }
}

const NOT_EMPTY: &str = "POSIX has either errno for the replacement of a directory that is not empty; xfs \
                         says EEXIST, the unions look first and say ENOTEMPTY";

const SWAPPED: &str = "a directory that is moved to a deleted name is exchanged for the whiteout there, and \
                       on xfs an exchange with another directory sets the mtime to now";

/// The plain tree's line with the union's time, where only that differs as in [`SWAPPED`].
fn swapped(plain: &str, union: &str) -> Option<String> {
    let directory = plain.contains("Directory ") && Filesystem::of_tests().moved_dirs_change();
    late_time(plain, union).filter(|_| directory)
}

fn reason(op: &Op, plain: &Answer, kernel: &Answer) -> Option<&'static str> {
    match (op, plain, kernel) {
        (Op::FdChmod { .. } | Op::FdChown { .. }, Ok(_), Err(_)) => Some(UNLINKED),
        (Op::FdStat { .. }, Ok(plain), Ok(_)) if plain.contains(" nlink=0 ") => Some(UNLINKED),
        (Op::Stat { .. } | Op::FdStat { .. }, Ok(plain), Ok(kernel)) => {
            (late_time(plain, kernel).as_deref() == Some(kernel)).then_some(LATE_TIME)
        }
        _ => None,
    }
}

/// layerfs can do it (I5).
const UNLINKED: &str = "a lower file that was unlinked while open cannot be copied up, so it keeps \
                        its attributes and its link count";

const LATE_TIME: &str = "bringing the data of a metacopied file, at open for writing or before its \
                         truncation, sets its mtime to now; a rename that is refused after a \
                         copy-up sets that of the old parent";

/// The plain tree's line with the kernel's time, where only that differs in the excused way.
fn late_time(plain: &str, kernel: &str) -> Option<String> {
    let set = kernel.contains(" mtime=now");
    let affected = plain.contains("RegularFile ") || plain.contains("Directory ");
    let at = plain.find(" mtime=").filter(|_| set && affected)?;
    let rest = &plain[at + 1..];
    let end = rest.find(' ').unwrap_or(rest.len());
    Some(format!("{} mtime=now{}", &plain[..at], &rest[end..]))
}

/// The plain tree with the excused lines of the union's tree taken over.
pub(crate) fn expected(side: &str, plain: &str, union: &str) -> String {
    let excused = if side == "kernel" { late_time } else { swapped };
    let path = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let by_path: HashMap<String, &str> = union.lines().map(|line| (path(line), line)).collect();
    joined(plain.lines().map(|line| {
        let union = by_path.get(&path(line));
        union.and_then(|union| excused(line, union)).unwrap_or_else(|| line.to_owned())
    }))
}

/// The kernel's tree without what it says of `d_ino`: in a directory that was not merged when it
/// was opened first it lists copied-up files with the upper's own numbers.
pub(crate) fn without_d_ino(tree: &str) -> String {
    let kept = tree.lines().filter(|line| !line.ends_with(OTHER_INO));
    joined(kept.map(ToOwned::to_owned))
}

fn joined(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}
