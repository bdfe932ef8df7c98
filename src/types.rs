//! Plain data that every folder may name: no behaviour beyond conversion.

use std::ops::Deref;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use triomphe::ThinArc;

/// The inode number that the mount shows; also the kernel's node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ino(pub u64);

impl Ino {
    /// The root of the mount, by the FUSE protocol.
    pub const ROOT: Ino = Ino(1);
}

/// A name in a directory, shared. There are two for each object that the kernel knows, so that its size
/// counts: with one pointer it is half as large as an `Arc<[u8]>`.
#[derive(Clone, Debug)]
pub struct FileName(ThinArc<(), u8>);

impl From<&[u8]> for FileName {
    fn from(name: &[u8]) -> Self {
        FileName(ThinArc::from_header_and_slice((), name))
    }
}

impl Deref for FileName {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.slice
    }
}

/// A lower layer of the stack; 0 is the topmost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerIdx(pub u16);

/// The bit of a mode by which a file runs with its group, and a directory hands its group on.
pub const S_ISGID: u32 = 0o2000;

/// An inode of a backing filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealId {
    /// Device number of the filesystem.
    pub dev: u64,
    /// Inode number in it.
    pub ino: u64,
}

/// What kind of object a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Unix domain socket.
    Socket,
}

impl FileKind {
    /// Whether this is a directory.
    pub fn is_dir(self) -> bool {
        self == FileKind::Directory
    }
}

/// The form in which whiteouts are written (rule U15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhiteoutForm {
    /// A character device 0:0 at the name.
    Device,
    /// An empty file with a mark at the name, in a directory that is marked to hold such.
    Xattr,
    /// A file `.wh.NAME` beside the name.
    File,
}

/// A device number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeviceNumber {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl DeviceNumber {
    /// From the 32-bit form of the FUSE protocol.
    pub fn from_fuse(raw: u32) -> Self {
        DeviceNumber { major: (raw >> 8) & 0xfff, minor: (raw & 0xff) | ((raw >> 12) & 0xf_ff00) }
    }

    /// To the 32-bit form of the FUSE protocol.
    pub fn to_fuse(self) -> u32 {
        (self.minor & 0xff) | (self.major << 8) | ((self.minor & !0xff) << 12)
    }
}

/// A point in time to the nanosecond, before the epoch too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub secs: i64,
    /// Nanoseconds within the second, 0 to 999,999,999.
    pub nanos: u32,
}

impl From<Timestamp> for SystemTime {
    fn from(t: Timestamp) -> SystemTime {
        let nanos = Duration::from_nanos(u64::from(t.nanos));
        match u64::try_from(t.secs) {
            Ok(secs) => UNIX_EPOCH + Duration::from_secs(secs) + nanos,
            Err(_) => UNIX_EPOCH - Duration::from_secs(t.secs.unsigned_abs()) + nanos,
        }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(t: SystemTime) -> Timestamp {
        match t.duration_since(UNIX_EPOCH) {
            Ok(d) => {
                Timestamp { secs: i64::try_from(d.as_secs()).unwrap_or(i64::MAX), nanos: d.subsec_nanos() }
            }
            Err(before) => {
                let d = before.duration();
                let whole = i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
                match d.subsec_nanos() {
                    0 => Timestamp { secs: -whole, nanos: 0 },
                    nanos => Timestamp { secs: -whole - 1, nanos: 1_000_000_000 - nanos },
                }
            }
        }
    }
}

/// The attributes of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Kind of object.
    pub kind: FileKind,
    /// Permission bits with set-id and sticky, 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Allocated blocks of 512 bytes.
    pub blocks: u64,
    /// Preferred I/O size in bytes.
    pub blksize: u32,
    /// Number of names.
    pub nlink: u32,
    /// Device number, of devices.
    pub rdev: DeviceNumber,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last change of the attributes.
    pub ctime: Timestamp,
}

/// One range of a mapping of user or group ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first id as the layers store it.
    pub stored: u32,
    /// The first id as the mount shows it.
    pub shown: u32,
    /// How many there are.
    pub count: u32,
}

/// Which ids the mount shows for those that are stored (rule M11).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    /// The one id shown for all.
    pub squash: Option<u32>,
    /// The ranges that are mapped; none: all ids are shown as they are.
    pub ranges: Vec<IdRange>,
}

impl IdMap {
    /// What Linux shows for an id that a mapping lacks.
    const OVERFLOW: u32 = 65_534;

    /// The id shown for a stored one.
    pub fn shown(&self, id: u32) -> u32 {
        match self.squash {
            Some(squashed) => squashed,
            None => self.translate(id, |range| (range.stored, range.shown)),
        }
    }

    /// The id to be stored for one as the mount's users know it. Squashing is for the view only.
    pub fn stored(&self, id: u32) -> u32 {
        self.translate(id, |range| (range.shown, range.stored))
    }

    fn translate(&self, id: u32, ends: impl Fn(&IdRange) -> (u32, u32)) -> u32 {
        if self.ranges.is_empty() {
            return id;
        }
        let mapped = self.ranges.iter().find_map(|range| {
            let (from, to) = ends(range);
            id.checked_sub(from).filter(|at| *at < range.count).map(|at| to.saturating_add(at))
        });
        mapped.unwrap_or(Self::OVERFLOW)
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Filesystem user id.
    pub uid: u32,
    /// Filesystem group id.
    pub gid: u32,
    /// Process id, as seen from here; 0 if it is not to be seen.
    pub pid: u32,
    /// Umask of the request; 0 where the request has none.
    pub umask: u32,
}

impl Caller {
    /// Whether the caller is taken to have all capabilities: the protocol does not tell.
    pub fn is_privileged(&self) -> bool {
        self.uid == 0
    }
}

/// A time to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// Leave as it is.
    Omit,
    /// The time of the change.
    Now,
    /// This time.
    To(Timestamp),
}

/// A change of attributes: what is `None` stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetAttr {
    /// New permission bits.
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New size in bytes.
    pub size: Option<u64>,
    /// New access time.
    pub atime: SetTime,
    /// New modification time.
    pub mtime: SetTime,
}

impl SetAttr {
    /// A change of nothing.
    pub const NOTHING: SetAttr =
        SetAttr { mode: None, uid: None, gid: None, size: None, atime: SetTime::Omit, mtime: SetTime::Omit };

    /// Whether the modification time is all that is set.
    pub fn only_modification_time(&self) -> bool {
        let others = self.mode.is_some() || self.uid.is_some() || self.gid.is_some() || self.size.is_some();
        !others && self.atime == SetTime::Omit && self.mtime != SetTime::Omit
    }

    /// Whether a time is set.
    pub fn sets_times(&self) -> bool {
        self.atime != SetTime::Omit || self.mtime != SetTime::Omit
    }
}

/// Figures of a filesystem, as statfs gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsStats {
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Free blocks for unprivileged users.
    pub available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Block size in bytes.
    pub block_size: u32,
    /// Fragment size in bytes.
    pub fragment_size: u32,
    /// Longest name in bytes.
    pub name_max: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive_the_fuse_form() {
        for (major, minor) in [(0, 0), (1, 3), (8, 255), (8, 256), (0xfff, 0xf_ffff), (259, 65_537)] {
            let dev = DeviceNumber { major, minor };
            assert_eq!(DeviceNumber::from_fuse(dev.to_fuse()), dev);
        }
    }

    #[test]
    fn m11_ids_are_mapped_both_ways_and_squashed_one_way() {
        let ranges = vec![
            IdRange { stored: 0, shown: 10, count: 100 },
            IdRange { stored: 100, shown: 10_000, count: 2000 },
        ];
        let mut map = IdMap { squash: None, ranges };
        for (stored, shown) in [(0, 10), (99, 109), (100, 10_000), (2099, 11_999)] {
            assert_eq!((map.shown(stored), map.stored(shown)), (shown, stored));
        }
        assert_eq!((map.shown(2100), map.stored(0)), (65_534, 65_534));
        map.squash = Some(7);
        assert_eq!((map.shown(2100), map.stored(10)), (7, 0));
        assert_eq!(IdMap::default().shown(12), 12);
    }

    #[test]
    fn times_before_and_after_the_epoch_survive_system_time() {
        for (secs, nanos) in
            [(0, 0), (1, 1), (-1, 0), (-1, 999_999_999), (-5, 3), (4_102_444_800, 123_456_789)]
        {
            let t = Timestamp { secs, nanos };
            assert_eq!(Timestamp::from(SystemTime::from(t)), t);
        }
    }
}
