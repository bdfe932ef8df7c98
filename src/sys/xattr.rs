//! Extended attributes of one object, named or nameless.
//!
//! Linux 6.13 has `*xattrat`; before it the path goes through `/proc/self/fd`.

use super::error::{Result, call, check};
use super::object::Ref;
use rustix::fd::AsRawFd;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};

const SYS_SETXATTRAT: libc::c_long = 463;
const SYS_GETXATTRAT: libc::c_long = 464;
const SYS_LISTXATTRAT: libc::c_long = 465;
const SYS_REMOVEXATTRAT: libc::c_long = 466;

/// Whether the kernel labels objects for SELinux, and says so here.
pub fn selinux_is_enabled() -> bool {
    rustix::fs::statfs("/sys/fs/selinux").is_ok_and(|found| found.f_type == libc::SELINUX_MAGIC)
}

/// Set once the kernel answered ENOSYS to a `*xattrat` call.
static NO_XATTRAT: AtomicBool = AtomicBool::new(false);

/// `struct xattr_args` of the kernel.
#[repr(C, align(8))]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

/// Whether the xattr must, may or must not exist already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrSet {
    /// Create or replace.
    Any,
    /// EEXIST if it exists.
    Create,
    /// ENODATA if it does not exist.
    Replace,
}

/// Tries the `*at` form, and where the kernel lacks it or the object is a nameless leaf the path form:
/// without a name the `*at` form takes open files, but of `O_PATH` descriptors only those of directories, as `.`.
fn either<T>(
    object: Ref<'_>,
    mut at: impl FnMut(libc::c_int, &CStr, libc::c_uint) -> rustix::io::Result<T>,
    by_path: impl FnOnce(&CStr) -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    if !NO_XATTRAT.load(Ordering::Relaxed) {
        let no_follow = AtFlags::SYMLINK_NOFOLLOW.bits();
        let done = match object {
            Ref::At(dir, name) => {
                let name = CString::new(name).map_err(|_| Errno::INVAL)?;
                at(dir.as_raw_fd(), &name, no_follow)
            }
            Ref::Fd(fd) => match at(fd.as_raw_fd(), c"", AtFlags::EMPTY_PATH.bits()) {
                Err(Errno::BADF) => at(fd.as_raw_fd(), c".", no_follow),
                done => done,
            },
        };
        match done {
            Err(Errno::NOSYS) => NO_XATTRAT.store(true, Ordering::Relaxed),
            Err(Errno::NOTDIR) if matches!(object, Ref::Fd(_)) => {}
            done => return done,
        }
    }
    by_path(&object.proc_path()?)
}

fn name_arg(name: &[u8]) -> rustix::io::Result<CString> {
    CString::new(name).map_err(|_| Errno::INVAL)
}

/// The names, each ended by NUL, into `buf`; answers their length, ERANGE if `buf` is too short.
#[allow(unsafe_code)]
fn list_into(object: Ref<'_>, buf: &mut [u8]) -> rustix::io::Result<usize> {
    let (ptr, len) = (buf.as_mut_ptr().cast::<libc::c_char>(), buf.len());
    either(
        object,
        |dir, name, flags| {
            // SAFETY: `name` is NUL-terminated, and `ptr`/`len` are one live mutable slice.
            check(unsafe { libc::syscall(SYS_LISTXATTRAT, dir, name.as_ptr(), flags, ptr, len) })
        },
        |path| match object {
            // SAFETY: as above; the last component is not followed.
            Ref::At(..) => check(unsafe { libc::llistxattr(path.as_ptr(), ptr, len) as libc::c_long }),
            // SAFETY: as above; the magic link leads to the open object itself.
            Ref::Fd(_) => check(unsafe { libc::listxattr(path.as_ptr(), ptr, len) as libc::c_long }),
        },
    )
}

/// All xattr names, each ended by NUL; empty where the filesystem has none.
pub fn list_xattrs(object: Ref<'_>) -> Result<Vec<u8>> {
    // Most objects have none or a few marks: one call with a small buffer on the stack.
    let mut small = [0u8; 256];
    let first = call("llistxattr", || match list_into(object, &mut small) {
        Err(Errno::OPNOTSUPP) => Ok(Some(0)),
        Err(Errno::RANGE) => Ok(None),
        done => done.map(Some),
    })?;
    if let Some(len) = first {
        return Ok(small[..len].to_vec());
    }
    // XATTR_LIST_MAX: the kernel never returns more.
    let mut large = vec![0u8; 65_536];
    let len = call("llistxattr", || list_into(object, &mut large))?;
    large.truncate(len);
    Ok(large)
}

/// The value of one xattr into `buf`; answers its length, or its whole length if `buf` is empty.
/// `None` if the object has no such xattr, ERANGE if `buf` is too short.
#[allow(unsafe_code)]
pub fn get_xattr_into(object: Ref<'_>, name: &[u8], buf: &mut [u8]) -> Result<Option<usize>> {
    let (ptr, len) = (buf.as_mut_ptr(), buf.len());
    call("lgetxattr", || {
        let key = name_arg(name)?;
        let mut args =
            XattrArgs { value: ptr as u64, size: u32::try_from(len).unwrap_or(u32::MAX), flags: 0 };
        let got = either(
            object,
            |dir, path, flags| {
                // SAFETY: the strings are NUL-terminated and `args` describes one live mutable slice.
                check(unsafe {
                    libc::syscall(
                        SYS_GETXATTRAT,
                        dir,
                        path.as_ptr(),
                        flags,
                        key.as_ptr(),
                        &raw mut args,
                        size_of::<XattrArgs>(),
                    )
                })
            },
            |path| match object {
                // SAFETY: as above; the last component is not followed.
                Ref::At(..) => check(unsafe {
                    libc::lgetxattr(path.as_ptr(), key.as_ptr(), ptr.cast(), len) as libc::c_long
                }),
                // SAFETY: as above; the magic link leads to the open object itself.
                Ref::Fd(_) => check(unsafe {
                    libc::getxattr(path.as_ptr(), key.as_ptr(), ptr.cast(), len) as libc::c_long
                }),
            },
        );
        match got {
            Err(Errno::NODATA) => Ok(None),
            done => done.map(Some),
        }
    })
}

/// The value of one xattr, `None` if the object has no such xattr.
pub fn get_xattr(object: Ref<'_>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut small = [0u8; 256];
    match get_xattr_into(object, name, &mut small) {
        Ok(found) => return Ok(found.map(|len| small[..len].to_vec())),
        Err(e) if e.errno == Errno::RANGE => {}
        Err(e) => return Err(e),
    }
    // XATTR_SIZE_MAX: the kernel never returns more.
    let mut large = vec![0u8; 65_536];
    let found = get_xattr_into(object, name, &mut large)?;
    Ok(found.map(|len| {
        large.truncate(len);
        large
    }))
}

/// The same, `None` too where the filesystem has no xattrs of that kind.
pub fn get_xattr_if_any(object: Ref<'_>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    match get_xattr(object, name) {
        Err(e) if e.errno == Errno::OPNOTSUPP => Ok(None),
        read => read,
    }
}

/// Sets one xattr.
#[allow(unsafe_code)]
pub fn set_xattr(object: Ref<'_>, name: &[u8], value: &[u8], how: XattrSet) -> Result<()> {
    let flags = match how {
        XattrSet::Any => 0,
        XattrSet::Create => libc::XATTR_CREATE,
        XattrSet::Replace => libc::XATTR_REPLACE,
    };
    let (ptr, len) = (value.as_ptr(), value.len());
    call("lsetxattr", || {
        let key = name_arg(name)?;
        let size = u32::try_from(len).map_err(|_| Errno::TOOBIG)?;
        let args = XattrArgs { value: ptr as u64, size, flags: flags.unsigned_abs() };
        either(
            object,
            |dir, path, at| {
                // SAFETY: the strings are NUL-terminated and `args` describes one live slice.
                check(unsafe {
                    libc::syscall(
                        SYS_SETXATTRAT,
                        dir,
                        path.as_ptr(),
                        at,
                        key.as_ptr(),
                        &raw const args,
                        size_of::<XattrArgs>(),
                    )
                })
            },
            |path| match object {
                // SAFETY: as above; the last component is not followed.
                Ref::At(..) => check(unsafe {
                    libc::lsetxattr(path.as_ptr(), key.as_ptr(), ptr.cast(), len, flags).into()
                }),
                // SAFETY: as above; the magic link leads to the open object itself.
                Ref::Fd(_) => check(unsafe {
                    libc::setxattr(path.as_ptr(), key.as_ptr(), ptr.cast(), len, flags).into()
                }),
            },
        )
        .map(drop)
    })
}

/// Removes one xattr; ENODATA if the object has no such xattr.
#[allow(unsafe_code)]
pub fn remove_xattr(object: Ref<'_>, name: &[u8]) -> Result<()> {
    call("lremovexattr", || {
        let key = name_arg(name)?;
        either(
            object,
            |dir, path, at| {
                // SAFETY: the strings are NUL-terminated.
                check(unsafe { libc::syscall(SYS_REMOVEXATTRAT, dir, path.as_ptr(), at, key.as_ptr()) })
            },
            |path| match object {
                // SAFETY: as above; the last component is not followed.
                Ref::At(..) => check(unsafe { libc::lremovexattr(path.as_ptr(), key.as_ptr()).into() }),
                // SAFETY: as above; the magic link leads to the open object itself.
                Ref::Fd(_) => check(unsafe { libc::removexattr(path.as_ptr(), key.as_ptr()).into() }),
            },
        )
        .map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::{AsFd, OwnedFd};
    use rustix::fs::{Mode, OFlags, open};

    #[test]
    fn xattrs_are_set_and_read_by_each_kind_of_reference() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let open = |name: &str, flags| open(dir.path().join(name), flags, Mode::empty()).unwrap();
        let opened: [OwnedFd; 4] = [
            open(".", OFlags::PATH),
            open(".", OFlags::RDONLY),
            open("file", OFlags::PATH),
            open("file", OFlags::RDWR),
        ];
        let named = [Ref::At(opened[0].as_fd(), b"file"), Ref::At(opened[1].as_fd(), b"file")];
        let all = opened.iter().map(|fd| Ref::Fd(fd.as_fd())).chain(named);
        for (number, object) in all.enumerate() {
            set_xattr(object, b"user.x", &[number as u8], XattrSet::Create).unwrap();
            assert_eq!(list_xattrs(object).unwrap(), b"user.x\0", "{object:?}");
            assert_eq!(get_xattr(object, b"user.x").unwrap(), Some(vec![number as u8]), "{object:?}");
            remove_xattr(object, b"user.x").unwrap();
            assert_eq!(get_xattr(object, b"user.x").unwrap(), None, "{object:?}");
        }
    }
}
