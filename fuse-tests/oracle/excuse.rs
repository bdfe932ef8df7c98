//! Where the kernel's overlayfs legitimately answers otherwise than a plain directory. layerfs has
//! no entry here: it is held to the plain directory.

use super::exec::Answer;
use super::op::Op;
use super::tree::OTHER_INO;
use std::collections::HashMap;

/// Whether this difference is one of the known ones.
pub(crate) fn excused(side: &str, op: &Op, plain: &Answer, union: &Answer) -> bool {
    side == "kernel" && reason(op, plain, union).is_some()
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

/// The plain tree with the excused lines of the running kernel's tree taken over.
pub(crate) fn expected(side: &str, plain: &str, union: &str) -> String {
    if side != "kernel" {
        return plain.to_owned();
    }
    let path = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let by_path: HashMap<String, &str> = union.lines().map(|line| (path(line), line)).collect();
    joined(plain.lines().map(|line| {
        let kernel = by_path.get(&path(line));
        kernel.and_then(|kernel| late_time(line, kernel)).unwrap_or_else(|| line.to_owned())
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
