//! What can go wrong while looking into a stack of layers.

use super::text::PathText;
use crate::sys::SysError;
use std::path::PathBuf;

/// An error of looking into a stack; names the path it is about.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
    /// Nothing stands at the path.
    #[error("{0}: no such file or directory")]
    NotFound(PathText),
    /// The layer has a whiteout at the path.
    #[error("{0}: this layer deletes it, and has nothing there itself")]
    Whiteout(PathText),
    /// A component of the path that is no directory.
    #[error("{0}: not a directory")]
    NotDirectory(PathText),
    /// A directory where a file is wanted.
    #[error("{0}: is a directory")]
    IsDirectory(PathText),
    /// Something without data where data is wanted.
    #[error("{0}: not a regular file")]
    NotRegular(PathText),
    /// The symlinks on the path go in circles.
    #[error("{0}: too many levels of symbolic links")]
    TooManyLinks(PathText),
    /// A redirect mark that is no path.
    #[error("{0}: its redirect mark is no path; the layer is damaged")]
    BadRedirect(PathText),
    /// A file marked metacopy whose data no layer has.
    #[error("{0}: its data is in a layer that is not here; give all layers of the stack")]
    DataMissing(PathText),
    /// A file that has less data than its size says.
    #[error("{0}: became shorter while it was read; try again when nothing writes to it")]
    Shortened(PathText),
    /// A layer could not be read.
    #[error("{path}: reading its layer: {error}")]
    Layer {
        /// The path asked for.
        path: PathText,
        /// What failed.
        error: SysError,
    },
    /// The output could not be written.
    #[error("writing the output: {0}")]
    Output(#[from] std::io::Error),
    /// An object of the host could not be written.
    #[error("{}: {error}", path.display())]
    Host {
        /// Its path.
        path: PathBuf,
        /// What failed.
        error: SysError,
    },
    /// A destination that does not suit what is to be written there.
    #[error("{}: {why}", path.display())]
    Destination {
        /// Its path.
        path: PathBuf,
        /// What is wrong, and the way out.
        why: &'static str,
    },
    /// A test of `find` that cannot be read.
    #[error("{test}: {why}")]
    BadTest {
        /// As it was given.
        test: String,
        /// What is wrong with it, and what is right.
        why: String,
    },
}

impl InsideError {
    /// For `map_err` on calls into a layer.
    pub(crate) fn layer(path: &[u8]) -> impl Fn(SysError) -> InsideError + '_ {
        move |error| InsideError::Layer { path: path.into(), error }
    }

    /// Whether the reader of the output went away, which is no failure of ours.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, InsideError::Output(e) if e.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// Result of looking into a stack.
pub(super) type Result<T> = std::result::Result<T, InsideError>;
