//! The face: the kernel's FUSE protocol on one side, the overlay on the other.
//!
//! 1. *Each operation is one call of the overlay* ([`operations`]), and a transport converts and replies
//!    ([`face`], [`uring`]). What needs an `if` about layers is in the wrong file.
//! 2. *The kernel's caches do the work.* [`capabilities`] says what it may remember and what it must not
//!    ask.
//! 3. *An error becomes an errno in one place*, which also logs it ([`convert`]).
//! 4. *A mount must come and go cleanly* ([`serve`]): it answers before the command returns, and
//!    nothing stays behind.
//! 5. *The fewest messages win*: they are counted by kind ([`stats`]).
//!
//! Deliberately elsewhere: what operations do (`overlay`).

mod buffer;
mod capabilities;
mod control;
mod convert;
mod face;
mod operations;
mod refresh;
mod reload;
mod remount;
mod seeks;
mod serve;
mod stats;
mod uring;

pub use control::query_stats;
pub use remount::remount;
pub use serve::{Device, Served, mount_and_serve};
