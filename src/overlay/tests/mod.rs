//! The engine without a mount: each operation through [`Overlay`](super::Overlay), its layers looked
//! at after.
//!
//! 1. *Every step may fail, and the process may die at every step.* [`faults`] runs each of the
//!    [`cases`] once for each syscall it makes, with that call failing or the last one made.
//! 2. *All or nothing must be seen in all that is shown.* [`dump`] gives the merged tree as text; the
//!    one after a failure must be the one before the operation, or the one after it.
//! 3. *Requests come from many threads.* [`threads`].
//!
//! Deliberately elsewhere: what operations do when nothing fails (`fuse-tests`).

mod ahead;
mod cached;
mod cases;
mod dump;
mod faults;
mod fixture;
mod listing;
mod outdated;
mod threads;
