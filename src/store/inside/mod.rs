//! Looking into a stack of layers without mounting it.
//!
//! 1. *What does the stack show at a path?* [`Tree`] answers by the rules of `semantics`; a tree of
//!    one layer alone also shows its whiteouts.
//! 2. *A person wants what the usual tools print.* [`ls`], [`cat`], [`find`], [`tree_view`], and
//!    [`cp`] for taking files out.
//! 3. *What did a layer do?* [`diff`] compares two trees, [`blame`] asks every layer of one path,
//!    [`hidden`] finds what later layers hid, [`du`] sums it up.
//! 4. *Plain directories are wanted after all.* [`unpack`] writes a tree below a directory of the
//!    host, out of which no name leads; what could not be kept is reported.
//!
//! Nothing here recurses, since the depth of a tree is what its maker chose.
//!
//! Deliberately elsewhere: where layers come from, and the command line.

pub mod blame;
pub mod cat;
pub(super) mod compare;
mod content_diff;
pub mod cp;
pub mod diff;
pub mod du;
mod error;
pub mod find;
pub mod hidden;
pub mod ls;
mod names;
mod node;
pub mod owners;
pub mod text;
mod tree;
pub mod tree_view;
pub mod unpack;
mod walk;

#[cfg(test)]
pub(super) mod tests;

pub use error::InsideError;
pub use node::{Child, LinkId, Node, Place};
pub use tree::{LastLink, Located, Name, Tree};
pub use walk::{Flow, Visit, walk};
