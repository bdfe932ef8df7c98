//! What can go wrong, by meaning, and the errno each meaning has.

use crate::layer::UpperError;
use crate::sys::{Errno, SysError};

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The mount shows no such name.
    #[error("no such name")]
    NotFound,
    /// The mount shows the name already.
    #[error("the name exists")]
    Exists,
    /// A directory is needed.
    #[error("not a directory")]
    NotDirectory,
    /// A directory cannot be used here.
    #[error("is a directory")]
    IsDirectory,
    /// The directory shows names.
    #[error("directory not empty")]
    NotEmpty,
    /// The mount is read-only.
    #[error("read-only mount")]
    ReadOnly,
    /// The name is longer than 255 bytes.
    #[error("name too long")]
    NameTooLong,
    /// The name begins with `.wh.`.
    #[error("name is reserved for whiteouts")]
    ReservedName,
    /// The request makes no sense.
    #[error("invalid request")]
    Invalid,
    /// A directory with a lower part cannot be renamed without redirect marks.
    #[error("redirect_dir=off forbids to rename a directory of a lower")]
    RedirectOff,
    /// The layer that holds the data of a metacopied file is missing it.
    #[error("no layer has the data of this metacopied file")]
    DataMissing,
    /// A redirect mark is no path inside the layers.
    #[error("a redirect mark is not a path")]
    BadRedirect,
    /// The object has no such xattr.
    #[error("no such xattr")]
    NoXattr,
    /// The xattr's name belongs to a union filesystem.
    #[error("xattr name is reserved")]
    ReservedXattr,
    /// The caller's buffer is too small.
    #[error("buffer too small")]
    TooSmall,
    /// The kernel named an inode that it was never given.
    #[error("unknown inode")]
    UnknownInode,
    /// The operation is not offered.
    #[error("not supported")]
    Unsupported,
    /// A syscall failed.
    #[error(transparent)]
    Sys(#[from] SysError),
}

/// Result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The errno that the caller of the filesystem sees.
    pub fn errno(self) -> Errno {
        match self {
            Error::NotFound => Errno::NOENT,
            Error::Exists => Errno::EXIST,
            Error::NotDirectory => Errno::NOTDIR,
            Error::IsDirectory => Errno::ISDIR,
            Error::NotEmpty => Errno::NOTEMPTY,
            Error::ReadOnly => Errno::ROFS,
            Error::NameTooLong => Errno::NAMETOOLONG,
            Error::ReservedName | Error::Invalid => Errno::INVAL,
            Error::RedirectOff => Errno::XDEV,
            Error::DataMissing | Error::BadRedirect => Errno::IO,
            Error::NoXattr => Errno::NODATA,
            Error::ReservedXattr => Errno::PERM,
            Error::TooSmall => Errno::RANGE,
            Error::UnknownInode => Errno::STALE,
            Error::Unsupported => Errno::OPNOTSUPP,
            Error::Sys(e) => e.errno,
        }
    }
}

/// Why a mount is refused: one line that names the thing and the way out (rule M5).
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A lower cannot be opened.
    #[error("lowerdir {path}: {error}")]
    Lower {
        /// The path as given.
        path: String,
        /// What open answered.
        error: SysError,
    },
    /// A layer of the cache was not handed over.
    #[error("lowerdir {digest}: no such layer in the cache: see layerctl images")]
    NotCached {
        /// The digest as given.
        digest: String,
    },
    /// The mount would stand in its own way.
    #[error(
        "mount point {mount_point} is inside lowerdir {path}: mount elsewhere, or with the right to mount"
    )]
    Inside {
        /// The mount point.
        mount_point: String,
        /// The path of the lower.
        path: String,
    },
    /// The upper cannot be used.
    #[error("upperdir {upper}, workdir {work}: {error}")]
    Upper {
        /// The path as given.
        upper: String,
        /// The path as given.
        work: String,
        /// Why.
        error: UpperError,
    },
}
