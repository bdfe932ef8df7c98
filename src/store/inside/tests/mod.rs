//! Looking into stacks, compared with what the kernel's overlayfs shows of them.

mod commands;
mod compared;
pub(crate) mod dump;
mod history;
pub(crate) mod random;
pub(crate) mod stack;
mod taken_out;
