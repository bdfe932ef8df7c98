//! What can go wrong in the cache: one line that names the thing and the way out.

use super::change::ChangeError;
use super::layer::LayerError;
use super::name::NameError;
use super::tar::TarError;
use crate::sys::SysError;
use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on the cache failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file of the cache, or one that was named, could not be used.
    #[error("cannot {doing} {path}: {error}", path = .path.display(), error = brief(.error))]
    Io {
        /// What was tried: "read", "create" and so on.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// Neither option, environment nor home directory say where the cache is.
    #[error("no place for the cache: give --root DIR, or set LAYERFS_ROOT or HOME")]
    NoRoot,
    /// The root is a directory with other things in it.
    #[error("{path} is neither empty nor an OCI image layout: name another directory with --root", path = .0.display())]
    NotALayout(PathBuf),
    /// The root's layout is of a version that this program does not know.
    #[error("{path}: image layout version {version} is not known here; 1.x.x is", path = .path.display())]
    LayoutVersion {
        /// The root.
        path: PathBuf,
        /// What it says.
        version: String,
    },
    /// The root may only be read.
    #[error("the cache {path} is read-only for this user: use --root, or become its owner", path = .0.display())]
    ReadOnly(PathBuf),
    /// A name is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Nothing has that name or id.
    #[error("no such image: {0} (`layerctl images` lists them)")]
    NoSuchImage(String),
    /// Several images have ids that begin so.
    #[error("{what} is the beginning of {count} image ids: give more digits")]
    Ambiguous {
        /// What was asked for.
        what: String,
        /// How many there are.
        count: usize,
    },
    /// No layer, or several, have digests that begin so.
    #[error("no such layer: {0}, or not the only one that begins so")]
    NoSuchLayer(String),
    /// What was to be loaded is nothing known.
    #[error(
        "{0} is no docker-archive, OCI archive or OCI directory; `layerctl import` takes the tar of one layer"
    )]
    UnknownArchive(String),
    /// An archive lacks a file that another of its files names.
    #[error("{archive}: {name} is missing: the archive is incomplete, save it again")]
    Missing {
        /// The archive.
        archive: String,
        /// The file.
        name: String,
    },
    /// An archive or one of its files ends early, or its compression is damaged.
    #[error("{archive}: {name} is damaged or cut short: {reason}")]
    Broken {
        /// The archive.
        archive: String,
        /// The file in it.
        name: String,
        /// What was found.
        reason: String,
    },
    /// A document cannot be understood.
    #[error("{what}: {reason}")]
    Document {
        /// Which document.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A digest is not that of the bytes.
    #[error("{what}: the digest is {found}, not {expected} as promised: nothing was stored")]
    WrongDigest {
        /// Whose digest.
        what: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A descriptor lies about the size.
    #[error("{what}: {found} bytes, not {expected} as promised: nothing was stored")]
    WrongSize {
        /// Whose size.
        what: String,
        /// What it should be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// Layers, diff ids and history do not go together.
    #[error("image {image}: {layers} layers, but {other}: nothing was stored")]
    LayerCount {
        /// The image.
        image: String,
        /// How many layers the manifest names.
        layers: usize,
        /// What the config says.
        other: String,
    },
    /// Something that is understood, but not done.
    #[error("{what}: {why}")]
    Unsupported {
        /// The thing.
        what: String,
        /// The reason, and the way out.
        why: &'static str,
    },
    /// A layer's tar is refused.
    #[error("layer {layer}: {error}")]
    Tar {
        /// The layer.
        layer: String,
        /// What is wrong, by the entry's name.
        error: TarError,
    },
    /// A layer of the cache cannot be used.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A blob that an image needs is not there.
    #[error("blob {0} is missing in the cache: `layerctl verify` tells which images need it")]
    MissingBlob(String),
    /// The image is mounted.
    #[error("image {image} is mounted on {at}: unmount it first (`layerctl umount {at}`)")]
    Mounted {
        /// The image, as it was named.
        image: String,
        /// The mount point.
        at: String,
    },
    /// The id is that of an image with several names.
    #[error(
        "conflict: unable to delete {0} (must be forced): image is referenced by several names; \
         name one of them, or force"
    )]
    SeveralNames(String),
    /// A `--change` makes no sense.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// What the cache had, and was therefore not read, went away each time.
    #[error("layers that are needed are being removed by another command: try again when it is done")]
    Busy,
    /// A thread of the pipeline ended without a result.
    #[error("a worker thread died")]
    Worker,
}

impl StoreError {
    /// Names a failed call on a path.
    pub(super) fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
        move |error| StoreError::Io { doing, path: path.into(), error }
    }

    /// The same for the wrappers of `sys`.
    pub(super) fn sys<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(SysError) -> StoreError + 'a {
        move |error| StoreError::Io { doing, path: path.into(), error: error.errno.into() }
    }

    /// Whether this is an I/O error of that kind.
    pub(super) fn is(&self, kind: io::ErrorKind) -> bool {
        matches!(self, StoreError::Io { error, .. } if error.kind() == kind)
    }
}

/// The text of an error without the number that the standard library adds.
fn brief(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// Result of an operation on the cache.
pub type Result<T> = std::result::Result<T, StoreError>;
