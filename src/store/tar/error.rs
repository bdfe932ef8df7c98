//! What is wrong with an archive.

use std::fmt;
use std::io;

/// An archive that is refused: names the entry and what is wrong with it.
#[derive(Debug)]
pub struct TarError {
    /// The entry as the archive names it; `None` before the first one is known.
    pub entry: Option<Box<[u8]>>,
    /// Where its header is, or was expected, in bytes from the start of the archive.
    pub at: u64,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(name) => write!(f, "{}: {} (at byte {})", Quoted(name), self.problem, self.at),
            None => write!(f, "{} (at byte {})", self.problem, self.at),
        }
    }
}

impl std::error::Error for TarError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Read(e) => Some(e),
            _ => None,
        }
    }
}

/// A name of an archive for people: quoted, and what cannot be printed escaped.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name of 1 MiB is no help in a message.
        const SHOWN: usize = 300;
        write!(f, "{:?}", String::from_utf8_lossy(&self.0[..self.0.len().min(SHOWN)]))?;
        if self.0.len() > SHOWN { f.write_str("…") } else { Ok(()) }
    }
}

/// What is wrong with an entry.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The archive could not be read.
    #[error("the archive could not be read: {0}")]
    Read(io::Error),
    /// The archive ends inside of something.
    #[error("the archive is truncated: it ends inside {0}")]
    Truncated(&'static str),
    /// The first block is no header.
    #[error("this is no tar archive")]
    NotATar,
    /// A header whose checksum does not fit.
    #[error("the checksum of its header is wrong: the archive is damaged")]
    Checksum,
    /// One block of zeros, and then more headers.
    #[error("a block of zeros stands between the entries: the archive is damaged, or several were joined")]
    LoneZeroBlock,
    /// A field that is no number.
    #[error("its {0} is no number")]
    Number(&'static str),
    /// A number that cannot be.
    #[error("its {0} is out of range")]
    Range(&'static str),
    /// A type nobody knows how to extract.
    #[error("its type {0:?} is unknown")]
    UnknownType(char),
    /// A header that continues others, longer than any real one.
    #[error("its {what} of {len} bytes is too long: at most {most} are taken")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length.
        len: u64,
        /// What is taken.
        most: u64,
    },
    /// A pax header that is not made of records.
    #[error("its pax header is damaged: {0}")]
    Pax(&'static str),
    /// A map of a sparse file that cannot be.
    #[error("its sparse map is wrong: {0}")]
    Sparse(&'static str),
    /// No name at all.
    #[error("an entry has no name")]
    NoName,
    /// `..` out of the root.
    #[error("its {0} leaves the root of the layer by ..")]
    Leaves(&'static str),
    /// NUL in a name.
    #[error("its {0} contains NUL")]
    Nul(&'static str),
    /// A name over 255 bytes.
    #[error("a name in its {0} is longer than 255 bytes")]
    NameTooLong(&'static str),
    /// `.wh.`, `.wh..` or `.wh...`.
    #[error("it is a whiteout of nothing")]
    WhiteoutOfNothing,
    /// A path with a whiteout before its end.
    #[error("it lies inside a whiteout")]
    InsideWhiteout,
    /// The root as something else than a directory.
    #[error("it is the root of the layer, which must be a directory")]
    RootNotDirectory,
    /// A symlink to nothing.
    #[error("it is a symlink without a target")]
    NoTarget,
    /// A parent that another entry made a file.
    #[error("its parent is no directory")]
    ParentNotDirectory,
    /// A parent that leads through too many symlinks.
    #[error("its parent leads through too many symlinks")]
    SymlinkLoop,
    /// A hard link to nothing.
    #[error("it is a hard link to {}, which is not in the archive", Quoted(.0))]
    LinkMissing(Box<[u8]>),
    /// A hard link to a directory.
    #[error("it is a hard link to {}, which is a directory", Quoted(.0))]
    LinkToDirectory(Box<[u8]>),
    /// Hard links that lead to each other.
    #[error("it is a hard link to {}, which leads back to it", Quoted(.0))]
    LinkLoop(Box<[u8]>),
    /// More than the index can number.
    #[error("the archive has more {0} than an index can hold")]
    TooMany(&'static str),
}
