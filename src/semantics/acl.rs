//! Which mode and ACL a new object gets from its directory: rule A2.
//!
//! The backing filesystem applies default ACLs where an object is made in place. A staged object
//! is made in workdir, whose ACL is not the parent's: this computes what it must get.
//!
//! Format: the kernel's `posix_acl_xattr`, version 2: a header of 4 bytes, then entries of tag
//! (2 bytes), permissions (2 bytes) and id (4 bytes), little-endian.

/// The xattr of the ACL that is checked on access.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// The xattr of the ACL that new objects of a directory inherit.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

/// Whether an xattr is an ACL.
pub fn is_acl(name: &[u8]) -> bool {
    name == ACCESS || name == DEFAULT
}

const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    perm: u16,
    id: u32,
}

fn parse(raw: &[u8]) -> Option<Vec<Entry>> {
    let (header, body) = raw.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*header) != VERSION || body.len() % 8 != 0 {
        return None;
    }
    let entry = |e: &[u8]| Entry {
        tag: u16::from_le_bytes([e[0], e[1]]),
        perm: u16::from_le_bytes([e[2], e[3]]),
        id: u32::from_le_bytes([e[4], e[5], e[6], e[7]]),
    };
    Some(body.chunks_exact(8).map(entry).collect())
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut raw = VERSION.to_le_bytes().to_vec();
    for e in entries {
        raw.extend_from_slice(&e.tag.to_le_bytes());
        raw.extend_from_slice(&e.perm.to_le_bytes());
        raw.extend_from_slice(&e.id.to_le_bytes());
    }
    raw
}

/// What a new object gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// Its permission bits.
    pub mode: u32,
    /// Its access ACL, where the mode alone does not say it.
    pub access: Option<Vec<u8>>,
}

/// Mode and access ACL of an object made with `mode` in a directory with this default ACL.
pub fn inherit(mode: u32, umask: u32, default_acl: Option<&[u8]>) -> Inherited {
    let Some(mut entries) = default_acl.and_then(parse).filter(|e| !e.is_empty()) else {
        return Inherited { mode: mode & !umask, access: None };
    };
    let masked = |perm: u16, shift: u32| perm & u16::try_from((mode >> shift) & 7).unwrap_or(0);
    let has_mask = entries.iter().any(|e| e.tag == MASK);
    let mut granted = mode & !0o777;
    for e in &mut entries {
        let shift = match e.tag {
            USER_OBJ => 6,
            MASK => 3,
            GROUP_OBJ if !has_mask => 3,
            OTHER => 0,
            _ => continue,
        };
        e.perm = masked(e.perm, shift);
        granted |= u32::from(e.perm) << shift;
    }
    // Three entries say no more than the mode does.
    let access = (entries.len() > 3).then(|| encode(&entries));
    Inherited { mode: granted, access }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        encode(&entries.iter().map(|&(tag, perm, id)| Entry { tag, perm, id }).collect::<Vec<_>>())
    }

    #[test]
    fn a2_without_a_default_acl_the_umask_counts() {
        assert_eq!(inherit(0o1777, 0o022, None), Inherited { mode: 0o1755, access: None });
        assert_eq!(inherit(0o666, 0o022, Some(b"junk")).mode, 0o644);
    }

    #[test]
    fn a2_a_default_acl_counts_instead_of_the_umask() {
        let minimal = acl(&[(USER_OBJ, 7, u32::MAX), (GROUP_OBJ, 7, u32::MAX), (OTHER, 5, u32::MAX)]);
        assert_eq!(inherit(0o666, 0o077, Some(&minimal)), Inherited { mode: 0o664, access: None });
    }

    #[test]
    fn a2_the_mask_takes_the_group_bits() {
        const USER: u16 = 2;
        let full = acl(&[
            (USER_OBJ, 7, u32::MAX),
            (USER, 7, 1000),
            (GROUP_OBJ, 5, u32::MAX),
            (MASK, 7, u32::MAX),
            (OTHER, 0, u32::MAX),
        ]);
        let got = inherit(0o640, 0o077, Some(&full));
        assert_eq!(got.mode, 0o640);
        let entries = parse(&got.access.unwrap()).unwrap();
        assert_eq!(entries.iter().map(|e| e.perm).collect::<Vec<_>>(), [6, 7, 5, 4, 0]);
    }
}
