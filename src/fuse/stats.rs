//! Counts of requests by kind.

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

const NAMES: [&str; 34] = [
    "LOOKUP",
    "FORGET",
    "GETATTR",
    "SETATTR",
    "READLINK",
    "MKNOD",
    "MKDIR",
    "UNLINK",
    "RMDIR",
    "SYMLINK",
    "RENAME",
    "LINK",
    "OPEN",
    "READ",
    "WRITE",
    "STATFS",
    "RELEASE",
    "FSYNC",
    "SETXATTR",
    "GETXATTR",
    "LISTXATTR",
    "REMOVEXATTR",
    "FLUSH",
    "OPENDIR",
    "READDIR",
    "READDIRPLUS",
    "RELEASEDIR",
    "FSYNCDIR",
    "ACCESS",
    "CREATE",
    "IOCTL",
    "FALLOCATE",
    "LSEEK",
    "COPY_FILE_RANGE",
];

/// The counts of one mount.
#[derive(Debug)]
pub(super) struct Stats {
    counts: [AtomicU64; NAMES.len()],
}

impl Default for Stats {
    fn default() -> Self {
        Stats { counts: [const { AtomicU64::new(0) }; NAMES.len()] }
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
        for (at, name) in NAMES.iter().enumerate() {
            let count = self.counts[at].load(Ordering::Relaxed);
            if count > 0 && writeln!(text, "{name} {count}").is_ok() && at != Op::Forget as usize {
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
    fn each_kind_is_counted_under_its_name() {
        let stats = Stats::default();
        stats.count(Op::Lookup);
        stats.count(Op::CopyFileRange);
        stats.count(Op::CopyFileRange);
        stats.count(Op::Forget);
        assert_eq!(stats.report(), "LOOKUP 1\nFORGET 1\nCOPY_FILE_RANGE 2\ntotal 3\n");
    }
}
