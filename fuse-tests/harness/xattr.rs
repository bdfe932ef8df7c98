//! Extended attributes of a path itself (links are not followed), with the exact errno.

#![allow(unsafe_code)]

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The value, whole.
pub fn lget(path: impl AsRef<Path>, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 1 << 16];
    let size = rustix::fs::lgetxattr(path.as_ref(), name, value.as_mut_slice())?;
    value.truncate(size);
    Ok(value)
}

/// What getxattr answers for a buffer of `room` bytes (0 asks for the size).
pub fn lget_sized(path: impl AsRef<Path>, name: &str, room: usize) -> Result<usize, Errno> {
    // Not by rustix, which answers 0 for an empty buffer whatever the kernel says.
    let (path, name) = (c_path(path.as_ref()), CString::new(name).unwrap());
    let mut value = vec![0_u8; room];
    // SAFETY: both strings live and end with a zero byte; the buffer has `room` bytes.
    answer(unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), room) })
}

/// Sets the value, whether it was there or not.
pub fn lset(path: impl AsRef<Path>, name: &str, value: &[u8]) -> Result<(), Errno> {
    lset_flags(path, name, value, XattrFlags::empty())
}

/// Sets the value with XATTR_CREATE or XATTR_REPLACE.
pub fn lset_flags(path: impl AsRef<Path>, name: &str, value: &[u8], flags: XattrFlags) -> Result<(), Errno> {
    rustix::fs::lsetxattr(path.as_ref(), name, value, flags)
}

/// The names, sorted.
pub fn llist(path: impl AsRef<Path>) -> Result<Vec<String>, Errno> {
    let mut bytes = vec![0_u8; 1 << 16];
    let size = rustix::fs::llistxattr(path.as_ref(), bytes.as_mut_slice())?;
    let mut names: Vec<String> = bytes[..size]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// What listxattr answers for a buffer of `room` bytes (0 asks for the size).
pub fn llist_sized(path: impl AsRef<Path>, room: usize) -> Result<usize, Errno> {
    let path = c_path(path.as_ref());
    let mut names = vec![0_u8; room];
    // SAFETY: the string lives and ends with a zero byte; the buffer has `room` bytes.
    answer(unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), room) })
}

/// Removes the attribute.
pub fn lremove(path: impl AsRef<Path>, name: &str) -> Result<(), Errno> {
    rustix::fs::lremovexattr(path.as_ref(), name)
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn answer(size: isize) -> Result<usize, Errno> {
    usize::try_from(size)
        .map_err(|_| Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap()))
}
