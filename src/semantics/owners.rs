//! Owner, mode and kind of an object kept in an xattr of it: rule M15.
//!
//! Format: `UID:GID:MODE[:KIND]`, ids decimal, MODE octal (bits of the type in it mean nothing), KIND one
//! of `file`, `dir`, `symlink`, `pipe`, `socket`, `char-MAJOR-MINOR`, `block-MAJOR-MINOR`. Written as
//! fuse-overlayfs 1.x writes it: files and directories without KIND, with the type in MODE.

use crate::types::{Attr, DeviceNumber, FileKind};

/// Which xattr keeps them; one for all objects of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerXattr {
    /// `security.fuseoverlayfs.override_stat`: needs CAP_SYS_ADMIN.
    Privileged,
    /// `user.containers.override_stat`: that of containers/storage.
    Containers,
    /// `user.fuseoverlayfs.override_stat`: that of fuse-overlayfs 1.x for others than root.
    User,
}

impl OwnerXattr {
    /// In the order in which a layer's root is asked for them.
    pub const ALL: [OwnerXattr; 3] = [OwnerXattr::Privileged, OwnerXattr::Containers, OwnerXattr::User];

    /// Its name.
    pub fn name(self) -> &'static [u8] {
        match self {
            OwnerXattr::Privileged => b"security.fuseoverlayfs.override_stat",
            OwnerXattr::Containers => b"user.containers.override_stat",
            OwnerXattr::User => b"user.fuseoverlayfs.override_stat",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        OwnerXattr::ALL.into_iter().find(|xattr| xattr.name() == name)
    }
}

/// What the xattr says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owners {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// The kind, and the number of a device, that an empty file stands for.
    pub stands_for: Option<(FileKind, DeviceNumber)>,
}

impl Owners {
    /// Those of an object as it is shown.
    pub fn of(attr: &Attr) -> Self {
        let stands_for = match attr.kind {
            FileKind::Regular | FileKind::Directory | FileKind::Symlink => None,
            kind => Some((kind, attr.rdev)),
        };
        Owners { uid: attr.uid, gid: attr.gid, mode: attr.mode & 0o7777, stands_for }
    }

    /// Reads the xattr; `None` if it is not of this format.
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(raw).ok()?.split(':');
        let uid = id(parts.next()?)?;
        let gid = id(parts.next()?)?;
        let mode = u32::from_str_radix(parts.next()?, 8).ok()? & 0o7777;
        Some(Owners { uid, gid, mode, stands_for: parts.next().and_then(stands_for) })
    }

    /// The xattr's value on an object whose backing is of this kind.
    pub fn to_bytes(&self, backing: FileKind) -> Vec<u8> {
        let Owners { uid, gid, mode, .. } = self;
        match (self.stands_for, backing) {
            (Some((kind, rdev)), _) => format!("{uid}:{gid}:{mode:04o}:{}", name_of(kind, rdev)),
            (None, FileKind::Directory) => format!("{uid}:{gid}:{:o}", 0o040_000 | mode),
            (None, FileKind::Regular) => format!("{uid}:{gid}:{:o}", 0o100_000 | mode),
            (None, _) => format!("{uid}:{gid}:{mode:o}"),
        }
        .into_bytes()
    }

    /// Shows an object as this says.
    pub fn apply(&self, attr: &mut Attr) {
        (attr.uid, attr.gid, attr.mode) = (self.uid, self.gid, self.mode);
        if let (Some((kind, rdev)), FileKind::Regular, 0) = (self.stands_for, attr.kind, attr.size) {
            (attr.kind, attr.rdev) = (kind, rdev);
        }
    }
}

/// An id; fuse-overlayfs 1.10 writes -1 for one that chown left alone, and shows it as nobody's.
fn id(text: &str) -> Option<u32> {
    match text.parse::<i64>().ok()? {
        -1 => Some(65_534),
        id => u32::try_from(id).ok(),
    }
}

fn stands_for(kind: &str) -> Option<(FileKind, DeviceNumber)> {
    let device = |kind, numbers: &str| {
        let (major, minor) = numbers.split_once('-')?;
        Some((kind, DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? }))
    };
    match kind.split_once('-') {
        Some(("char", numbers)) => device(FileKind::CharDevice, numbers),
        Some(("block", numbers)) => device(FileKind::BlockDevice, numbers),
        None if kind == "pipe" => Some((FileKind::Fifo, DeviceNumber::default())),
        None if kind == "socket" => Some((FileKind::Socket, DeviceNumber::default())),
        _ => None,
    }
}

fn name_of(kind: FileKind, rdev: DeviceNumber) -> String {
    match kind {
        FileKind::CharDevice => format!("char-{}-{}", rdev.major, rdev.minor),
        FileKind::BlockDevice => format!("block-{}-{}", rdev.major, rdev.minor),
        FileKind::Fifo => "pipe".into(),
        FileKind::Socket => "socket".into(),
        FileKind::Symlink => "symlink".into(),
        FileKind::Directory => "dir".into(),
        FileKind::Regular => "file".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m15_what_is_written_reads_back() {
        let device = DeviceNumber { major: 8, minor: 300 };
        for stands_for in [
            None,
            Some((FileKind::CharDevice, device)),
            Some((FileKind::BlockDevice, device)),
            Some((FileKind::Fifo, DeviceNumber::default())),
            Some((FileKind::Socket, DeviceNumber::default())),
        ] {
            let owners = Owners { uid: 12, gid: 0, mode: 0o4755, stands_for };
            for backing in [FileKind::Regular, FileKind::Directory, FileKind::Symlink] {
                assert_eq!(Owners::parse(&owners.to_bytes(backing)), Some(owners));
            }
        }
    }

    #[test]
    fn m15_the_forms_of_others_are_read() {
        let plain = |uid, gid, mode| Some(Owners { uid, gid, mode, stands_for: None });
        for (raw, owners) in [
            ("0:0:40755", plain(0, 0, 0o755)),
            ("0:0:755", plain(0, 0, 0o755)),
            ("5:-1:104755", plain(5, 65_534, 0o4755)),
            ("1:2:0640:file", plain(1, 2, 0o640)),
            ("1:2:0640:dir", plain(1, 2, 0o640)),
            ("", None),
            ("0:0", None),
            ("0:0:9", None),
            ("a:0:755", None),
        ] {
            assert_eq!(Owners::parse(raw.as_bytes()), owners, "{raw}");
        }
    }
}
