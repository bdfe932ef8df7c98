//! The rules of the union: pure functions, no I/O, no lock, no descriptor.
//!
//! The numbered sentences are in docs/semantics.md; each module names those it holds.
//!
//! 1. *What does a name resolve to?* [`lookup::Search`] is fed what each layer says, top down.
//! 2. *How do listings merge?* [`listing::MergedName`].
//! 3. *What must be written for a name to vanish, to appear, to move?* [`change`].
//! 4. *What must a copy-up take?* [`copy_up`].
//! 5. *Which names and xattrs are ours?* [`names`].
//! 6. *Which mode and ACL does a new object get?* [`acl`].
//!
//! Deliberately elsewhere: reading the marks (`layer`), carrying the plans out (`overlay`).

pub mod acl;
pub mod change;
pub mod copy_up;
pub mod listing;
pub mod lookup;
#[cfg(test)]
mod model;
pub mod names;
pub mod owners;
