//! Where the bytes live: questions to ask of a path inside an upper or lower directory.

use super::xattr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Whether something of this name exists, of any kind.
pub fn exists(path: impl AsRef<Path>) -> bool {
    path.as_ref().symlink_metadata().is_ok()
}

/// Whether this is a whiteout: a character device 0:0, or an empty file with the whiteout xattr.
pub fn is_whiteout(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    let Ok(meta) = path.symlink_metadata() else {
        return false;
    };
    let device = meta.file_type().is_char_device() && meta.rdev() == 0;
    device || (meta.is_file() && meta.len() == 0 && mark(path, "whiteout").is_some())
}

/// Whether this directory hides everything below it.
pub fn is_opaque(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    mark(path, "opaque").as_deref() == Some(b"y") || exists(path.join(".wh..wh..opq"))
}

/// Whether this file holds attributes only.
pub fn is_metacopy(path: impl AsRef<Path>) -> bool {
    mark(path, "metacopy").is_some()
}

/// The redirect mark, if any.
pub fn redirect(path: impl AsRef<Path>) -> Option<Vec<u8>> {
    mark(path, "redirect")
}

/// The value of a mark, `trusted.overlay.NAME` before `user.overlay.NAME`.
pub fn mark(path: impl AsRef<Path>, name: &str) -> Option<Vec<u8>> {
    let path = path.as_ref();
    ["trusted", "user"].iter().find_map(|space| xattr::lget(path, &format!("{space}.overlay.{name}")).ok())
}

/// The number of 512-byte blocks a file occupies.
pub fn blocks(path: impl AsRef<Path>) -> u64 {
    path.as_ref().symlink_metadata().expect("lstat for its blocks").blocks()
}
