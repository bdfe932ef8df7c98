//! The `overlay.origin` mark: which lower object an upper object is a copy of (rule C9).
//!
//! Format: the kernel's `struct ovl_fb`, all bytes: version 0, magic 0xfb, whole length, flags
//! (1: big-endian handle, 2: any endian, 4: an upper's handle), handle type, UUID of the
//! filesystem (16), handle. The name of an index entry is the hex of these bytes.

use crate::sys::Handle;

const VERSION: u8 = 0;
const MAGIC: u8 = 0xfb;
const HEADER: usize = 21;
const FLAG_BIG_ENDIAN: u8 = 1;
const FLAG_ANY_ENDIAN: u8 = 2;

/// Handle types whose bytes hold the inode number, from the kernel's `exportfs.h`.
const INO32_GEN: u8 = 1;
const INO32_GEN_PARENT: u8 = 2;
const XFS_INO64_GEN: u8 = 0x81;
const BTRFS_WITHOUT_PARENT: u8 = 0x4d;
/// Our own, for objects of cached layers: the inode number. The kernel's types for filesystems of
/// others end at 0xfe and it gives out none near this one.
const CACHED_LAYER: u8 = 0xf1;

/// The origin of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    raw: Box<[u8]>,
}

impl Origin {
    /// The origin for an object with this handle on a filesystem with this UUID.
    pub fn new(handle: &Handle, uuid: [u8; 16]) -> Option<Self> {
        let len = u8::try_from(HEADER + handle.data.len()).ok()?;
        let endian = if cfg!(target_endian = "big") { FLAG_BIG_ENDIAN } else { 0 };
        let mut raw = vec![VERSION, MAGIC, len, endian, handle.kind];
        raw.extend_from_slice(&uuid);
        raw.extend_from_slice(&handle.data);
        Some(Origin { raw: raw.into() })
    }

    /// The origin for an object of a cached layer: its inode number there, and the layer's UUID.
    pub fn of_cached_layer(ino: u64, uuid: [u8; 16]) -> Option<Self> {
        Origin::new(&Handle { kind: CACHED_LAYER, data: ino.to_ne_bytes().to_vec() }, uuid)
    }

    /// Reads the mark; `None` if it is empty (the kernel's "origin unknown") or not of this format.
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let ours = if cfg!(target_endian = "big") { FLAG_BIG_ENDIAN } else { 0 };
        let endian_fits = |flags: u8| flags & FLAG_ANY_ENDIAN != 0 || flags & FLAG_BIG_ENDIAN == ours;
        match raw {
            [VERSION, MAGIC, len, flags, ..]
                if raw.len() > HEADER && usize::from(*len) == raw.len() && endian_fits(*flags) =>
            {
                Some(Origin { raw: raw.into() })
            }
            _ => None,
        }
    }

    /// The mark's value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// The UUID of the filesystem of the origin.
    pub fn uuid(&self) -> &[u8] {
        &self.raw[5..HEADER]
    }

    /// The name of the index entry of the object.
    pub fn index_name(&self) -> Vec<u8> {
        let hex = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        self.raw.iter().flat_map(|b| [hex(b >> 4), hex(b & 15)]).collect()
    }

    /// The inode number of the origin, where the handle's type is known to hold it.
    pub fn inode_number(&self) -> Option<u64> {
        let handle = &self.raw[HEADER..];
        let word = |at: usize| handle.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let long = |at: usize| handle.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes);
        match (self.raw[4], handle.len()) {
            // ext4, f2fs and their like: number, generation.
            (INO32_GEN, 8) | (INO32_GEN_PARENT, 16) => word(0).map(u64::from),
            // tmpfs: generation, number.
            (INO32_GEN, 12) => Some(u64::from(word(4)?) | u64::from(word(8)?) << 32),
            (XFS_INO64_GEN, 12) => long(0),
            (BTRFS_WITHOUT_PARENT, 20) => long(0),
            (CACHED_LAYER, 8) => long(0),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c9_an_origin_reads_back_and_names_its_index_entry() {
        let handle = Handle { kind: INO32_GEN, data: [7u32.to_ne_bytes(), 9u32.to_ne_bytes()].concat() };
        let origin = Origin::new(&handle, [0xab; 16]).unwrap();
        assert_eq!(Origin::parse(origin.as_bytes()), Some(origin.clone()));
        assert_eq!(origin.inode_number(), Some(7));
        assert_eq!(origin.as_bytes().len(), 29);
        assert!(origin.index_name().starts_with(b"00fb1d0001abab"));
    }

    #[test]
    fn c9_origins_in_cached_layers_give_their_number() {
        let origin = Origin::of_cached_layer(1 << 33 | 7, [0xcd; 16]).unwrap();
        assert_eq!(Origin::parse(origin.as_bytes()).unwrap().inode_number(), Some(1 << 33 | 7));
        assert_eq!(origin.uuid(), [0xcd; 16]);
    }

    #[test]
    fn c9_what_is_no_origin_is_none() {
        for raw in [&b""[..], &[0, 0xfb, 3], &[1; 40], &[0, 0xfb, 99, 0, 1, 0, 0, 0]] {
            assert_eq!(Origin::parse(raw), None);
        }
    }
}
