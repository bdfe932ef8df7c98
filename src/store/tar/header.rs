//! One header block.

use super::Problem;
use super::number;
use super::source::Block;
use crate::types::{DeviceNumber, Timestamp};
use ::tar::Header as Raw;

/// The fields of a header that pax records do not replace as a whole.
#[derive(Debug)]
pub(super) struct Header {
    /// The type as it stands there.
    pub(super) kind: u8,
    /// Name, with the prefix of ustar.
    pub(super) name: Vec<u8>,
    /// Target of links.
    pub(super) link: Vec<u8>,
    /// Bytes of data that follow.
    pub(super) size: u64,
    /// Permission bits with set-id and sticky.
    pub(super) mode: u16,
    /// Owner.
    pub(super) uid: i64,
    /// Group.
    pub(super) gid: i64,
    /// Last change of the contents.
    pub(super) mtime: Timestamp,
    /// Last access, where the format has it.
    pub(super) atime: Option<Timestamp>,
}

impl Header {
    /// Reads a block that is not all zeros.
    pub(super) fn parse(block: &Block) -> Result<Self, Problem> {
        let raw = Raw::from_byte_slice(block);
        let old = raw.as_old();
        let number = |field: &[u8], what| number::field(field).ok_or(Problem::Number(what));
        let size = u64::try_from(number(&old.size, "size")?).map_err(|_| Problem::Range("size"))?;
        let mode = number(&old.mode, "mode")?;
        let time = |secs| Timestamp { secs, nanos: 0 };
        let atime = match raw.as_gnu() {
            // Written by incremental backups only; empty otherwise.
            Some(gnu) => number::field(&gnu.atime).filter(|secs| *secs != 0),
            None => None,
        };
        Ok(Header {
            kind: block[156],
            name: raw.path_bytes().into_owned(),
            link: raw.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default(),
            size,
            // Some writers add the bits of the type.
            mode: (mode & 0o7777) as u16,
            uid: number(&old.uid, "owner")?,
            gid: number(&old.gid, "group")?,
            mtime: time(number(&old.mtime, "mtime")?),
            atime: atime.map(time),
        })
    }
}

/// Whether the sum of the block's bytes is the one it says. Some old writers summed signed bytes.
pub(super) fn checksum_fits(block: &Block) -> bool {
    let Some(stated) = number::field(&block[148..156]) else {
        return false;
    };
    let spaced = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
    let bytes = || block.iter().enumerate().map(|(at, byte)| spaced(at, *byte));
    let unsigned: i64 = bytes().map(i64::from).sum();
    stated == unsigned || stated == bytes().map(|byte| i64::from(byte.cast_signed())).sum::<i64>()
}

/// The device number of a header of a device.
pub(super) fn device_number(block: &Block) -> Result<DeviceNumber, Problem> {
    // The kernel has 12 bits for the one and 20 for the other.
    let part = |range: std::ops::Range<usize>, most: u32| {
        let value = number::field(&block[range]).ok_or(Problem::Number("device number"))?;
        u32::try_from(value).ok().filter(|value| *value <= most).ok_or(Problem::Range("device number"))
    };
    Ok(DeviceNumber { major: part(329..337, 0xfff)?, minor: part(337..345, 0xf_ffff)? })
}
