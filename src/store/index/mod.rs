//! The index of a layer: its tree, found without reading the tar.
//!
//! 1. *Mounting must not cost what is in the layer.* The index is a memory map; nothing is parsed,
//!    and a lookup is a binary search, in a layer of 100 entries and of 1,000,000.
//! 2. *A file on disk is not to be trusted.* The header has a checksum and so has each page, looked
//!    at when the page is first read; every offset is checked before it is followed. What does not
//!    fit is [`IndexError::Damaged`], and the layer makes the index anew from the tar.
//! 3. *Two imports of one tar must agree.* The index is a function of the tar: same tar, same bytes.
//!
//! 4. *Big directories cost no more than small ones.* Their names are in a hash table as well
//!    (`slots`); the children of every directory are next to each other and sorted.
//!
//! `order` puts the names in order, `build` makes the bytes, `read` reads them, `format` says what
//! stands where:
//!
//! ```text
//! page 0                     header: magic, version, of which tar, how much of everything, checksums
//! from byte 4096 on          a CRC-32 for each page of the body; zeros up to the next page
//! from the next page on      the body, zeros up to the end of its last page
//!                              rows      88 bytes each, breadth first; row 0 is the root
//!                              extents   24 bytes each: the pieces of sparse files
//!                              xattrs    16 bytes each: name and value, in the strings
//!                              slots      8 bytes each: row by the hash of a name
//!                              strings   names, then values of xattrs and targets of symlinks
//! ```
//!
//! All numbers are little-endian; pages have 4096 bytes. The fields are listed in docs/formats.md.

mod build;
mod format;
mod order;
mod read;
mod slots;

pub use build::IndexImage;
pub(in crate::store) use build::build;
#[cfg(any(test, fuzzing))]
pub(in crate::store) use format::seal;
pub use format::{ROOT_ROW, Row, RowKind};
pub use read::{Index, IndexError};
