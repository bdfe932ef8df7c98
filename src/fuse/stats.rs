//! The kinds of requests, and how many came of each.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Op {
    Lookup,
    Forget,
    GetAttr,
    SetAttr,
    ReadLink,
    MkNod,
    MkDir,
    Unlink,
    RmDir,
    SymLink,
    Rename,
    Link,
    Open,
    Read,
    Write,
    StatFs,
    Release,
    FSync,
    SetXAttr,
    GetXAttr,
    ListXAttr,
    RemoveXAttr,
    Flush,
    OpenDir,
    ReadDir,
    ReadDirPlus,
    ReleaseDir,
    FSyncDir,
    Access,
    Create,
    IoCtl,
    FAllocate,
    LSeek,
    CopyFileRange,
}

/// Each kind with its name and its number in the protocol.
const KINDS: [(Op, &str, u32); 34] = [
    (Op::Lookup, "LOOKUP", 1),
    (Op::Forget, "FORGET", 2),
    (Op::GetAttr, "GETATTR", 3),
    (Op::SetAttr, "SETATTR", 4),
    (Op::ReadLink, "READLINK", 5),
    (Op::MkNod, "MKNOD", 8),
    (Op::MkDir, "MKDIR", 9),
    (Op::Unlink, "UNLINK", 10),
    (Op::RmDir, "RMDIR", 11),
    (Op::SymLink, "SYMLINK", 6),
    (Op::Rename, "RENAME", 12),
    (Op::Link, "LINK", 13),
    (Op::Open, "OPEN", 14),
    (Op::Read, "READ", 15),
    (Op::Write, "WRITE", 16),
    (Op::StatFs, "STATFS", 17),
    (Op::Release, "RELEASE", 18),
    (Op::FSync, "FSYNC", 20),
    (Op::SetXAttr, "SETXATTR", 21),
    (Op::GetXAttr, "GETXATTR", 22),
    (Op::ListXAttr, "LISTXATTR", 23),
    (Op::RemoveXAttr, "REMOVEXATTR", 24),
    (Op::Flush, "FLUSH", 25),
    (Op::OpenDir, "OPENDIR", 27),
    (Op::ReadDir, "READDIR", 28),
    (Op::ReadDirPlus, "READDIRPLUS", 44),
    (Op::ReleaseDir, "RELEASEDIR", 29),
    (Op::FSyncDir, "FSYNCDIR", 30),
    (Op::Access, "ACCESS", 34),
    (Op::Create, "CREATE", 35),
    (Op::IoCtl, "IOCTL", 39),
    (Op::FAllocate, "FALLOCATE", 43),
    (Op::LSeek, "LSEEK", 46),
    (Op::CopyFileRange, "COPY_FILE_RANGE", 47),
];
/// The number of a rename with flags.
pub(super) const FUSE_RENAME2: u32 = 45;

/// The kinds by their numbers.
const BY_NUMBER: [Option<Op>; 48] = {
    let mut kinds = [None; 48];
    let mut at = 0;
    while at < KINDS.len() {
        kinds[KINDS[at].2 as usize] = Some(KINDS[at].0);
        at += 1;
    }
    kinds[FUSE_RENAME2 as usize] = Some(Op::Rename);
    kinds
};

impl Op {
    /// The kind with a number of the protocol; `None`: nobody needs it.
    pub(super) fn of(number: u32) -> Option<Op> {
        BY_NUMBER.get(number as usize).copied().flatten()
    }

    /// Its name in the protocol.
    pub(super) fn name(self) -> &'static str {
        KINDS[self as usize].1
    }
}

/// The counts of one mount.
#[derive(Debug)]
pub(super) struct Stats {
    counts: [AtomicU64; KINDS.len()],
}

impl Default for Stats {
    fn default() -> Self {
        Stats { counts: [const { AtomicU64::new(0) }; KINDS.len()] }
    }
}

impl Stats {
    /// Counts a request.
    pub(super) fn count(&self, op: Op) {
        self.counts[op as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// One line `NAME COUNT` for each kind that was seen, then `total COUNT` without forgets, which
    /// the kernel sends on its own account and nobody waits for.
    pub(super) fn report(&self) -> String {
        let mut text = String::new();
        let mut total = 0;
        for (op, name, _) in KINDS {
            let count = self.counts[op as usize].load(Ordering::Relaxed);
            if count > 0 && writeln!(text, "{name} {count}").is_ok() && op != Op::Forget {
                total += count;
            }
        }
        text + &format!("total {total}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_lies_at_its_place_and_has_its_number() {
        for (at, (op, name, number)) in KINDS.iter().enumerate() {
            assert_eq!((*op as usize, op.name(), Op::of(*number)), (at, *name, Some(*op)));
        }
        assert_eq!(Op::of(FUSE_RENAME2), Some(Op::Rename));
        // POLL.
        assert_eq!(Op::of(40), None);
        assert_eq!(Op::of(u32::MAX), None);
    }

    #[test]
    fn each_kind_is_counted_under_its_name() {
        let stats = Stats::default();
        stats.count(Op::Lookup);
        stats.count(Op::CopyFileRange);
        stats.count(Op::CopyFileRange);
        stats.count(Op::Forget);
        assert_eq!(stats.report(), "LOOKUP 1\nFORGET 1\nCOPY_FILE_RANGE 2\ntotal 3\n");
    }
}
