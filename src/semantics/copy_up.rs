//! What a copy-up must take, and what a change takes away: rules C2, C4, C6, A4.

use super::names::{XattrClass, classify_xattr};
use super::owners::OwnerXattr;
use crate::types::{FileKind, S_ISGID};

const S_ISUID: u32 = 0o4000;
const S_IXGRP: u32 = 0o0010;

/// Why an object is copied up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Its attributes, xattrs or name change: its data may stay where it is.
    Attributes,
    /// Its data changes: all of it must come.
    Data,
    /// It is cut to this size: no more than that must come.
    DataUpTo(u64),
}

/// How much data a copy-up brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyUpPlan {
    /// None: the upper file is marked metacopy.
    Metacopy,
    /// So many bytes.
    Data(u64),
    /// It has no data: not a regular file.
    Node,
}

/// How much data of an object of this kind and size must be brought.
pub fn plan_copy_up(kind: FileKind, size: u64, need: Need, metacopy: bool) -> CopyUpPlan {
    match (kind, need) {
        (FileKind::Regular, Need::Attributes) if metacopy && size > 0 => CopyUpPlan::Metacopy,
        (FileKind::Regular, Need::DataUpTo(cut)) => CopyUpPlan::Data(size.min(cut)),
        (FileKind::Regular, _) => CopyUpPlan::Data(size),
        _ => CopyUpPlan::Node,
    }
}

/// Whether a copy takes this xattr of an object of a layer that keeps owners in `owners`: all but marks.
pub fn takes_xattr(stored: &[u8], owners: Option<OwnerXattr>) -> bool {
    match classify_xattr(stored) {
        XattrClass::Shown(_) => true,
        XattrClass::Owners(xattr) => owners != Some(xattr),
        XattrClass::Mark(_) | XattrClass::Hidden => false,
    }
}

/// The mode after a change by someone who may not keep set-id bits.
pub fn without_set_id(mode: u32) -> u32 {
    let group = if mode & S_IXGRP != 0 { S_ISGID } else { 0 };
    mode & !(S_ISUID | group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c4_c6_as_little_data_comes_as_the_change_allows() {
        let reg = FileKind::Regular;
        assert_eq!(plan_copy_up(reg, 10, Need::Attributes, true), CopyUpPlan::Metacopy);
        assert_eq!(plan_copy_up(reg, 10, Need::Attributes, false), CopyUpPlan::Data(10));
        assert_eq!(plan_copy_up(reg, 0, Need::Attributes, true), CopyUpPlan::Data(0));
        assert_eq!(plan_copy_up(reg, 10, Need::Data, true), CopyUpPlan::Data(10));
        assert_eq!(plan_copy_up(reg, 10, Need::DataUpTo(3), true), CopyUpPlan::Data(3));
        assert_eq!(plan_copy_up(reg, 10, Need::DataUpTo(99), true), CopyUpPlan::Data(10));
        assert_eq!(plan_copy_up(FileKind::Symlink, 10, Need::Data, true), CopyUpPlan::Node);
    }

    #[test]
    fn a4_set_gid_without_group_execute_is_a_lock_mark_and_stays() {
        assert_eq!(without_set_id(0o6755), 0o755);
        assert_eq!(without_set_id(0o2644), 0o2644);
        assert_eq!(without_set_id(0o4644), 0o644);
    }
}
