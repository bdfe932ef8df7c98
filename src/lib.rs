//! layerfs: a union filesystem in userspace.
//!
//! Arrows point down, never up (`scripts/check-layering`):
//!
//! ```text
//! bin/layerfs        bin/layerctl     arguments -> settings -> wiring
//!     |     \            |
//!   fuse     \           |            kernel protocol <-> our types
//!     |       \          |
//!  overlay     `----- store           the live union | the layer cache
//!      \              /
//!       `--- layer --'                one layer: a directory, a cached tar, the upper
//!           /      \
//!     semantics    sys                pure rules | syscalls
//!           \      /
//!            types                    plain data, settings
//! ```
//!
//! The rules are in docs/semantics.md, the formats in docs/formats.md.

pub mod config;
pub mod fuse;
pub mod layer;
pub mod overlay;
pub mod semantics;
pub mod store;
pub mod sys;
pub mod types;
