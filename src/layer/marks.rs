//! Reading and writing the marks of an object, in all dialects: rules U6 to U8.

use super::{Finding, Found, Origin};
use crate::semantics::names::{Mark, MarkSpace, XattrClass, classify_xattr};
use crate::semantics::owners::{OwnerXattr, Owners};
use crate::sys::{Errno, Ref, Result, XattrSet, get_xattr, list_xattrs, set_xattr, stat};
use crate::types::{Attr, DeviceNumber, FileKind};

/// The difference between the shown and the real number of names of an indexed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NlinkMark {
    /// To be added to the upper's.
    Upper(i64),
    /// To be added to the lower's.
    Lower(i64),
}

impl NlinkMark {
    fn parse(raw: &[u8]) -> Option<Self> {
        let delta = std::str::from_utf8(raw.get(1..)?).ok()?.parse().ok()?;
        match raw[0] {
            b'U' => Some(NlinkMark::Upper(delta)),
            b'L' => Some(NlinkMark::Lower(delta)),
            _ => None,
        }
    }

    /// The mark's value.
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            NlinkMark::Upper(delta) => format!("U{delta:+}"),
            NlinkMark::Lower(delta) => format!("L{delta:+}"),
        }
        .into_bytes()
    }
}

/// The marks of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// It hides the layers below.
    pub opaque: bool,
    /// Empty files in it that carry the whiteout mark are whiteouts.
    pub xattr_whiteouts: bool,
    /// It carries the whiteout mark.
    pub whiteout: bool,
    /// Its data is in a layer below.
    pub metacopy: bool,
    /// It holds copies with an origin.
    pub impure: bool,
    /// Where the layers below continue.
    pub redirect: Option<Box<[u8]>>,
    /// What it is a copy of.
    pub origin: Option<Origin>,
    /// How many names it is shown to have.
    pub nlink: Option<NlinkMark>,
    /// It stands for this device.
    pub device: Option<(FileKind, DeviceNumber)>,
    /// Owner and mode that count in place of its own.
    pub owners: Option<Owners>,
    /// It has xattrs that are no marks; not known of objects whose marks are not read.
    pub others: bool,
}

/// How the objects of a directory are to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Empty files in it that carry the whiteout mark are whiteouts.
    pub xattr_whiteouts: bool,
    /// The marks of every kind of object are read, not only of those on which marks change what is shown.
    pub all_marks: bool,
    /// The layer keeps owners and modes in this xattr.
    pub owners: Option<OwnerXattr>,
}

/// The marks of an object: one call where it has none.
pub fn read_marks(object: Ref<'_>) -> Result<Marks> {
    read_marks_and_owners(object, None)
}

fn read_marks_and_owners(object: Ref<'_>, owners: Option<OwnerXattr>) -> Result<Marks> {
    let mut marks = Marks::default();
    let names = list_xattrs(object)?;
    for name in names.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        match classify_xattr(name) {
            XattrClass::Mark(mark) => read_mark(object, name, mark, &mut marks)?,
            XattrClass::Owners(xattr) if owners == Some(xattr) => {
                marks.owners = get_xattr(object, name)?.as_deref().and_then(Owners::parse);
            }
            XattrClass::Owners(_) | XattrClass::Shown(_) => marks.others = true,
            XattrClass::Hidden => {}
        }
    }
    Ok(marks)
}

fn read_mark(object: Ref<'_>, name: &[u8], mark: Mark, marks: &mut Marks) -> Result<()> {
    match mark {
        Mark::Metacopy => marks.metacopy = true,
        Mark::Whiteout => marks.whiteout = true,
        Mark::Impure => marks.impure = true,
        Mark::Opaque | Mark::Redirect | Mark::Origin | Mark::Nlink | Mark::Device => {
            let value = get_xattr(object, name)?.unwrap_or_default();
            match mark {
                Mark::Opaque => {
                    marks.opaque |= value == b"y";
                    marks.xattr_whiteouts |= value == b"x";
                }
                Mark::Redirect => marks.redirect = marks.redirect.take().or(Some(value.into())),
                Mark::Origin => marks.origin = marks.origin.take().or_else(|| Origin::parse(&value)),
                Mark::Nlink => marks.nlink = marks.nlink.or_else(|| NlinkMark::parse(&value)),
                _ => marks.device = marks.device.or_else(|| parse_device(&value)),
            }
        }
    }
    Ok(())
}

/// The value of the device mark: `c MAJOR:MINOR` or `b MAJOR:MINOR`.
fn parse_device(raw: &[u8]) -> Option<(FileKind, DeviceNumber)> {
    let (kind, numbers) = std::str::from_utf8(raw).ok()?.split_once(' ')?;
    let (major, minor) = numbers.split_once(':')?;
    let rdev = DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? };
    match kind {
        "c" => Some((FileKind::CharDevice, rdev)),
        "b" => Some((FileKind::BlockDevice, rdev)),
        _ => None,
    }
}

/// Writes a mark.
pub fn write_mark(object: Ref<'_>, space: MarkSpace, mark: Mark, value: &[u8]) -> Result<()> {
    set_xattr(object, &mark.xattr(space), value, XattrSet::Any)
}

/// What stands at a name of a layer's directory.
pub fn find(object: Ref<'_>, how: Reading) -> Result<Finding> {
    let (real, mut attr) = match stat(object) {
        Ok(found) => found,
        Err(e) if e.errno == Errno::NOENT || e.errno == Errno::NOTDIR => {
            return Ok(Finding::Absent);
        }
        Err(e) => return Err(e),
    };
    if is_whiteout_device(&attr) {
        return Ok(Finding::Whiteout);
    }
    let mut marks = match attr.kind {
        FileKind::Regular | FileKind::Directory => read_marks_and_owners(object, how.owners)?,
        _ if how.all_marks || how.owners.is_some() => read_marks_and_owners(object, how.owners)?,
        _ => Marks::default(),
    };
    let empty_file = attr.kind == FileKind::Regular && attr.size == 0;
    if how.xattr_whiteouts && marks.whiteout && empty_file {
        return Ok(Finding::Whiteout);
    }
    if let Some(owners) = marks.owners {
        owners.apply(&mut attr);
        marks.device = marks.device.or(owners.stands_for.filter(|_| empty_file));
    }
    if let (Some((kind, rdev)), true) = (marks.device, empty_file) {
        attr.kind = kind;
        attr.rdev = rdev;
    }
    Ok(Finding::Found(Box::new(Found { real, attr, marks, implied: false })))
}

/// The xattr in which a layer keeps owners and modes, by its root: the first that it has.
pub(super) fn owners_of(root: Ref<'_>) -> Result<Option<OwnerXattr>> {
    for xattr in OwnerXattr::ALL {
        match get_xattr(root, xattr.name()) {
            Ok(Some(_)) => return Ok(Some(xattr)),
            Err(e) if !matches!(e.errno, Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => return Err(e),
            _ => {}
        }
    }
    Ok(None)
}

/// The kind of what stands at a name of a layer's directory: `None` for nothing, and whether it is a
/// whiteout. One call where whiteouts are devices.
pub fn probe_name(object: Ref<'_>, xattr_whiteouts: bool) -> Result<Option<(FileKind, bool)>> {
    if xattr_whiteouts {
        return Ok(match find(object, Reading { xattr_whiteouts, ..Reading::default() })? {
            Finding::Absent => None,
            Finding::Whiteout => Some((FileKind::CharDevice, true)),
            Finding::Found(found) => Some((found.attr.kind, false)),
        });
    }
    match stat(object) {
        Ok((_, attr)) => Ok(Some((attr.kind, is_whiteout_device(&attr)))),
        Err(e) if e.errno == Errno::NOENT || e.errno == Errno::NOTDIR => Ok(None),
        Err(e) => Err(e),
    }
}

fn is_whiteout_device(attr: &Attr) -> bool {
    attr.kind == FileKind::CharDevice && attr.rdev == DeviceNumber::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i4_nlink_marks_read_back() {
        for mark in [NlinkMark::Upper(-1), NlinkMark::Lower(2), NlinkMark::Upper(0)] {
            assert_eq!(NlinkMark::parse(&mark.to_bytes()), Some(mark));
        }
        assert_eq!(NlinkMark::Upper(0).to_bytes(), b"U+0");
        assert_eq!(NlinkMark::parse(b""), None);
        assert_eq!(NlinkMark::parse(b"X+1"), None);
    }

    #[test]
    fn a8_device_marks_read_back() {
        let zero = DeviceNumber::default();
        assert_eq!(parse_device(b"c 0:0"), Some((FileKind::CharDevice, zero)));
        assert_eq!(
            parse_device(b"b 8:1"),
            Some((FileKind::BlockDevice, DeviceNumber { major: 8, minor: 1 }))
        );
        assert_eq!(parse_device(b"c 0"), None);
    }
}
