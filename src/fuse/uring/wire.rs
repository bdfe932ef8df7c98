//! The structures of the FUSE protocol as they lie in an entry of the ring. Names as in `linux/fuse.h`.

use crate::types::{Attr, FileKind, FsStats, Ino, SetAttr, SetTime, Timestamp};
use std::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// fsync_flags: only the data.
pub(super) const FUSE_FSYNC_FDATASYNC: u32 = 1 << 0;

/// Declares structures that are read from a request.
macro_rules! received {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
        pub(super) struct $name { $(pub(super) $field: $kind),* }
    )*};
}

received! {
    /// fuse_in_header
    InHeader { len: u32, opcode: u32, unique: u64, node: u64, uid: u32, gid: u32, pid: u32, extra: u32 }
    /// fuse_setattr_in
    SetAttrIn {
        valid: u32, padding: u32, fh: u64, size: u64, lock_owner: u64, atime: u64, mtime: u64, ctime: u64,
        atime_nanos: u32, mtime_nanos: u32, ctime_nanos: u32, mode: u32, unused: u32, uid: u32, gid: u32,
        unused_too: u32,
    }
    /// fuse_mknod_in
    MkNodIn { mode: u32, rdev: u32, umask: u32, padding: u32 }
    /// fuse_mkdir_in
    MkDirIn { mode: u32, umask: u32 }
    /// fuse_rename2_in
    Rename2In { to: u64, flags: u32, padding: u32 }
    /// fuse_link_in
    LinkIn { node: u64 }
    /// fuse_read_in
    ReadIn { fh: u64, offset: u64, size: u32, read_flags: u32, lock_owner: u64, flags: u32, padding: u32 }
    /// fuse_write_in
    WriteIn { fh: u64, offset: u64, size: u32, write_flags: u32, lock_owner: u64, flags: u32, padding: u32 }
    /// fuse_fsync_in
    FSyncIn { fh: u64, flags: u32, padding: u32 }
    /// fuse_setxattr_in without FUSE_SETXATTR_EXT
    SetXAttrIn { size: u32, flags: u32 }
    /// fuse_getxattr_in
    GetXAttrIn { size: u32, padding: u32 }
    /// fuse_ioctl_in
    IoctlIn { fh: u64, flags: u32, request: u32, arg: u64, in_size: u32, out_size: u32 }
    /// fuse_fallocate_in
    FAllocateIn { fh: u64, offset: u64, len: u64, mode: u32, padding: u32 }
    /// fuse_lseek_in
    LSeekIn { fh: u64, offset: u64, whence: u32, padding: u32 }
    /// fuse_copy_file_range_in
    CopyFileRangeIn { fh_in: u64, from: u64, node_to: u64, fh_out: u64, to: u64, len: u64, flags: u64 }
}

/// Declares structures that are written to a reply.
macro_rules! sent {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Default, IntoBytes, Immutable)]
        pub(super) struct $name { $(pub(super) $field: $kind),* }
    )*};
}

sent! {
    /// fuse_attr
    AttrOut {
        ino: u64, size: u64, blocks: u64, atime: i64, mtime: i64, ctime: i64, atime_nanos: u32,
        mtime_nanos: u32, ctime_nanos: u32, mode: u32, nlink: u32, uid: u32, gid: u32, rdev: u32, blksize: u32,
        flags: u32,
    }
    /// fuse_attr_out
    AttrReply { valid: u64, valid_nanos: u32, dummy: u32, attr: AttrOut }
    /// fuse_entry_out
    EntryOut {
        node: u64, generation: u64, entry_valid: u64, attr_valid: u64, entry_valid_nanos: u32,
        attr_valid_nanos: u32, attr: AttrOut,
    }
    /// fuse_dirent without its name
    DirentOut { ino: u64, next: u64, name_len: u32, kind: u32 }
    /// fuse_write_out
    WriteOut { size: u32, padding: u32 }
    /// fuse_getxattr_out
    GetXAttrOut { size: u32, padding: u32 }
    /// fuse_ioctl_out
    IoctlOut { result: i32, flags: u32, in_iovs: u32, out_iovs: u32 }
    /// fuse_lseek_out
    LSeekOut { offset: i64 }
    /// fuse_kstatfs
    StatFsOut {
        blocks: u64, free: u64, available: u64, files: u64, files_free: u64, block_size: u32, name_max: u32,
        fragment_size: u32, padding: u32, spare: [u32; 6],
    }
}

/// fuse_uring_req_header: the header of an entry.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct EntryHeader {
    pub(super) request: InHeader,
    unused: [u8; 88],
    /// The structure that goes with the kind of request.
    pub(super) argument: [u8; 128],
    flags: u64,
    /// What the reply is committed by.
    pub(super) commit_id: u64,
    /// How much of the payload is in use.
    pub(super) payload_len: u32,
    padding: u32,
    reserved: u64,
}

impl EntryHeader {
    /// Replaces the request by its reply: an error (0 or negative), or so much payload.
    pub(super) fn reply(&mut self, error: i32, payload_len: u32) {
        // fuse_out_header lies where the request's header does: length, error, and the same `unique`.
        self.request.opcode = error.cast_unsigned();
        self.payload_len = payload_len;
    }
}

impl SetAttrIn {
    /// What is to change.
    pub(super) fn change(&self) -> SetAttr {
        const MODE: u32 = 1 << 0;
        const UID: u32 = 1 << 1;
        const GID: u32 = 1 << 2;
        const SIZE: u32 = 1 << 3;
        const ATIME: u32 = 1 << 4;
        const MTIME: u32 = 1 << 5;
        const ATIME_NOW: u32 = 1 << 7;
        const MTIME_NOW: u32 = 1 << 8;
        let has = |bit: u32| self.valid & bit != 0;
        let time = |set, now, secs: u64, nanos| match (has(set), has(now)) {
            (false, _) => SetTime::Omit,
            (true, true) => SetTime::Now,
            (true, false) => SetTime::To(Timestamp { secs: secs.cast_signed(), nanos }),
        };
        SetAttr {
            mode: has(MODE).then_some(self.mode),
            uid: has(UID).then_some(self.uid),
            gid: has(GID).then_some(self.gid),
            size: has(SIZE).then_some(self.size),
            atime: time(ATIME, ATIME_NOW, self.atime, self.atime_nanos),
            mtime: time(MTIME, MTIME_NOW, self.mtime, self.mtime_nanos),
        }
    }
}

impl AttrOut {
    pub(super) fn of(ino: Ino, attr: &Attr) -> Self {
        AttrOut {
            ino: ino.0,
            size: attr.size,
            blocks: attr.blocks,
            atime: attr.atime.secs,
            mtime: attr.mtime.secs,
            ctime: attr.ctime.secs,
            atime_nanos: attr.atime.nanos,
            mtime_nanos: attr.mtime.nanos,
            ctime_nanos: attr.ctime.nanos,
            mode: (kind_bits(attr.kind) << 12) | (attr.mode & 0o7777),
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            rdev: attr.rdev.to_fuse(),
            blksize: attr.blksize,
            flags: 0,
        }
    }
}

impl AttrReply {
    pub(super) fn of(ino: Ino, attr: &Attr, remember: Duration) -> Self {
        let attr = AttrOut::of(ino, attr);
        AttrReply { valid: remember.as_secs(), valid_nanos: remember.subsec_nanos(), dummy: 0, attr }
    }
}

impl EntryOut {
    /// Node ids are inode numbers, and none is used for a second object while the kernel knows it: there
    /// are no generations.
    pub(super) fn of(ino: Ino, attr: &Attr, remember: Duration) -> Self {
        EntryOut { node: ino.0, attr: AttrOut::of(ino, attr), ..EntryOut::absent(remember) }
    }

    /// A name that is not there, which may be remembered: node 0.
    pub(super) fn absent(remember: Duration) -> Self {
        let (secs, nanos) = (remember.as_secs(), remember.subsec_nanos());
        EntryOut {
            entry_valid: secs,
            attr_valid: secs,
            entry_valid_nanos: nanos,
            attr_valid_nanos: nanos,
            ..EntryOut::default()
        }
    }
}

impl StatFsOut {
    pub(super) fn of(stats: &FsStats) -> Self {
        StatFsOut {
            blocks: stats.blocks,
            free: stats.free,
            available: stats.available,
            files: stats.files,
            files_free: stats.files_free,
            block_size: stats.block_size,
            name_max: stats.name_max,
            fragment_size: stats.fragment_size,
            padding: 0,
            spare: [0; 6],
        }
    }
}

/// The file type bits of a mode, moved down: what a dirent calls the type.
pub(super) fn kind_bits(kind: FileKind) -> u32 {
    match kind {
        FileKind::Fifo => 0o01,
        FileKind::CharDevice => 0o02,
        FileKind::Directory => 0o04,
        FileKind::BlockDevice => 0o06,
        FileKind::Regular => 0o10,
        FileKind::Symlink => 0o12,
        FileKind::Socket => 0o14,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_as_long_as_the_kernels() {
        assert_eq!(size_of::<InHeader>(), 40);
        assert_eq!(size_of::<SetAttrIn>(), 88);
        assert_eq!(size_of::<ReadIn>(), 40);
        assert_eq!(size_of::<WriteIn>(), 40);
        assert_eq!(size_of::<IoctlIn>(), 32);
        assert_eq!(size_of::<CopyFileRangeIn>(), 56);
        assert_eq!(size_of::<EntryHeader>(), crate::sys::RING_HEADER_LEN);
        assert_eq!(size_of::<AttrOut>(), 88);
        assert_eq!(size_of::<AttrReply>(), 104);
        assert_eq!(size_of::<EntryOut>(), 128);
        assert_eq!(size_of::<DirentOut>(), 24);
        assert_eq!(size_of::<StatFsOut>(), 80);
    }

    #[test]
    fn a_reply_keeps_the_number_of_its_request() {
        let mut bytes = [0; crate::sys::RING_HEADER_LEN];
        let head = EntryHeader::mut_from_bytes(&mut bytes).unwrap();
        (head.request.unique, head.request.opcode, head.payload_len) = (77, 1, 5);
        head.reply(-2, 9);
        assert_eq!(bytes[4..16], [&(-2i32).to_ne_bytes()[..], &77u64.to_ne_bytes()].concat());
        assert_eq!(bytes[272..276], 9u32.to_ne_bytes());
    }

    #[test]
    fn only_what_is_marked_valid_changes_and_times_before_the_epoch_stay_exact() {
        let mut given = SetAttrIn::read_from_bytes(&[0xff; 88]).unwrap();
        given.valid = 0;
        assert_eq!(given.change(), SetAttr::NOTHING);
        given.valid = (1 << 3) | (1 << 4) | (1 << 5) | (1 << 8);
        (given.size, given.atime, given.atime_nanos) = (7, u64::MAX, 5);
        let change = SetAttr {
            size: Some(7),
            atime: SetTime::To(Timestamp { secs: -1, nanos: 5 }),
            mtime: SetTime::Now,
            ..SetAttr::NOTHING
        };
        assert_eq!(given.change(), change);
    }
}
