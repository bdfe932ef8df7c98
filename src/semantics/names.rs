//! Which names and xattrs are reserved: rules U6 to U9, A7, A11.

use super::owners::OwnerXattr;

/// The longest name of a Linux filesystem, in bytes.
pub const NAME_MAX: usize = 255;
/// Begins the names of whiteouts in the form of AUFS and OCI.
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The file that makes its directory opaque in the form of AUFS and OCI.
pub const OPAQUE_FILE: &[u8] = b".wh..wh..opq";

const TRUSTED: &[u8] = b"trusted.overlay.";
const USER: &[u8] = b"user.overlay.";
const OWN: &[u8] = b"user.layerfs.";
const FUSE_OVERLAYFS: &[u8] = b"user.fuseoverlayfs.";
/// Stands between the prefix and the rest in the stored form of a user's own `overlay` xattr.
const ESCAPE: &[u8] = b"overlay.";

/// What a name in a layer's directory means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameClass<'a> {
    /// An ordinary name.
    Plain,
    /// `.wh.NAME`: hides NAME in the layers below.
    Hides(&'a [u8]),
    /// `.wh..wh..opq`: hides all of the directory in the layers below.
    Opaque,
    /// Another `.wh.` name: bookkeeping of AUFS, shown to nobody.
    Reserved,
}

/// Classifies a name of a layer's directory.
pub fn classify_name(name: &[u8]) -> NameClass<'_> {
    match name.strip_prefix(WHITEOUT_PREFIX) {
        None => NameClass::Plain,
        Some(_) if name == OPAQUE_FILE => NameClass::Opaque,
        Some(rest) if rest.is_empty() || rest.starts_with(WHITEOUT_PREFIX) => NameClass::Reserved,
        Some(rest) => NameClass::Hides(rest),
    }
}

/// Which family of xattrs the marks are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkSpace {
    /// `trusted.overlay.*`: needs CAP_SYS_ADMIN.
    Trusted,
    /// `user.overlay.*`.
    User,
    /// `user.layerfs.*`: where a union below keeps the others to itself.
    Own,
}

impl MarkSpace {
    /// All, in the order in which they are tried.
    pub const ALL: [MarkSpace; 3] = [MarkSpace::Trusted, MarkSpace::User, MarkSpace::Own];
}

/// A mark, without its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Hides the layers below a directory.
    Opaque,
    /// Where the layers below continue.
    Redirect,
    /// The data is in a layer below.
    Metacopy,
    /// Which lower object this is a copy of.
    Origin,
    /// The directory holds copies with an origin.
    Impure,
    /// In an opaque-`x` directory: this empty file is a whiteout.
    Whiteout,
    /// Difference between the shown and the real number of names of an indexed file.
    Nlink,
    /// This empty file is a device node that the layer cannot hold as one.
    Device,
}

impl Mark {
    const ALL: [(Mark, &'static str); 8] = [
        (Mark::Opaque, "opaque"),
        (Mark::Redirect, "redirect"),
        (Mark::Metacopy, "metacopy"),
        (Mark::Origin, "origin"),
        (Mark::Impure, "impure"),
        (Mark::Whiteout, "whiteout"),
        (Mark::Nlink, "nlink"),
        (Mark::Device, "layerfs.device"),
    ];

    /// The xattr that holds this mark.
    pub fn xattr(self, space: MarkSpace) -> Vec<u8> {
        let prefix = match space {
            MarkSpace::Trusted => TRUSTED,
            MarkSpace::User => USER,
            MarkSpace::Own => OWN,
        };
        let suffix = Mark::ALL.iter().find(|(mark, _)| *mark == self).map_or("", |(_, suffix)| suffix);
        [prefix, suffix.as_bytes()].concat()
    }
}

/// What an xattr found on a layer's object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XattrClass {
    /// The user's own, shown under this name.
    Shown(Vec<u8>),
    /// A mark we know.
    Mark(Mark),
    /// Keeps owner and mode, in layers that do so.
    Owners(OwnerXattr),
    /// A mark we do not know; hidden.
    Hidden,
}

/// Classifies an xattr found on a layer's object.
pub fn classify_xattr(stored: &[u8]) -> XattrClass {
    if let Some(xattr) = OwnerXattr::of_name(stored) {
        return XattrClass::Owners(xattr);
    }
    for prefix in [TRUSTED, USER, OWN] {
        if let Some(rest) = stored.strip_prefix(prefix) {
            return match rest.strip_prefix(ESCAPE) {
                Some(own) => XattrClass::Shown([prefix, own].concat()),
                None => Mark::ALL
                    .iter()
                    .find(|(_, suffix)| suffix.as_bytes() == rest)
                    .map_or(XattrClass::Hidden, |(mark, _)| XattrClass::Mark(*mark)),
            };
        }
    }
    match stored.strip_prefix(FUSE_OVERLAYFS) {
        Some(b"opaque") => XattrClass::Mark(Mark::Opaque),
        Some(_) => XattrClass::Hidden,
        None => XattrClass::Shown(stored.to_vec()),
    }
}

/// The name under which an xattr that a user names is stored; `None` if it cannot be.
pub fn stored_xattr(shown: &[u8]) -> Option<Vec<u8>> {
    for prefix in [TRUSTED, USER, OWN] {
        if let Some(rest) = shown.strip_prefix(prefix) {
            return Some([prefix, ESCAPE, rest].concat());
        }
    }
    if shown.starts_with(FUSE_OVERLAYFS) { None } else { Some(shown.to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u6_u7_u9_names_are_classified() {
        assert_eq!(classify_name(b"a"), NameClass::Plain);
        assert_eq!(classify_name(b".wha"), NameClass::Plain);
        assert_eq!(classify_name(b".wh.a"), NameClass::Hides(b"a"));
        assert_eq!(classify_name(b".wh..a"), NameClass::Hides(b".a"));
        assert_eq!(classify_name(b".wh."), NameClass::Reserved);
        assert_eq!(classify_name(b".wh..wh..opq"), NameClass::Opaque);
        assert_eq!(classify_name(b".wh..wh.plnk"), NameClass::Reserved);
    }

    #[test]
    fn a7_what_a_user_sets_is_never_a_mark_and_comes_back_under_its_name() {
        for name in [
            &b"user.x"[..],
            b"trusted.overlay.opaque",
            b"user.overlay.redirect",
            b"trusted.overlay.overlay.opaque",
        ] {
            let stored = stored_xattr(name).unwrap();
            assert_eq!(classify_xattr(&stored), XattrClass::Shown(name.to_vec()));
        }
        assert_eq!(stored_xattr(b"user.fuseoverlayfs.opaque"), None);
    }

    #[test]
    fn u8_marks_are_known_in_every_space() {
        for (mark, _) in Mark::ALL {
            for space in MarkSpace::ALL {
                assert_eq!(classify_xattr(&mark.xattr(space)), XattrClass::Mark(mark));
            }
        }
        assert_eq!(classify_xattr(b"user.fuseoverlayfs.opaque"), XattrClass::Mark(Mark::Opaque));
        assert_eq!(classify_xattr(b"trusted.overlay.uuid"), XattrClass::Hidden);
        assert_eq!(classify_xattr(b"user.fuseoverlayfs.origin"), XattrClass::Hidden);
    }
}
