//! What the filesystem below the tests does its own way, where a rule leaves that to it.

use super::stack::test_dir;

/// A filesystem that the suite knows; ext4 stands for all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filesystem {
    Ext4,
    Btrfs,
    Xfs,
}

impl Filesystem {
    /// The one that tests make their directories on.
    pub fn of_tests() -> Self {
        match rustix::fs::statfs(test_dir()).unwrap().f_type {
            0x9123_683e => Self::Btrfs,
            0x5846_5342 => Self::Xfs,
            _ => Self::Ext4,
        }
    }

    /// The link count of a directory of one layer with this many subdirectories.
    pub fn dir_links(self, subdirs: u64) -> u64 {
        if self == Self::Btrfs { 1 } else { 2 + subdirs }
    }

    /// Blocks of 512 bytes that a file may have beyond its data: ext4 takes one of 4 KiB for xattrs that
    /// do not fit the inode; xfs reserves 128 KiB around each write to a reflinked file and past the end.
    pub fn spare_blocks(self) -> u64 {
        if self == Self::Xfs { 256 } else { 8 }
    }

    /// The length of the longest target of a symlink.
    pub fn longest_target(self) -> usize {
        if self == Self::Xfs { 1023 } else { 4095 }
    }

    /// The largest major and minor number of a device.
    pub fn largest_device(self) -> (u32, u32) {
        if self == Self::Xfs { (511, 262_143) } else { (4095, 1_048_575) }
    }

    /// Whether an exchange that gives a directory another parent changes its mtime.
    pub fn moved_dirs_change(self) -> bool {
        self == Self::Xfs
    }

    /// Whether new directories take over the flag `d` of chattr(1).
    pub fn hands_on_flags(self) -> bool {
        self != Self::Btrfs
    }
}
