//! The test suite that runs through a real mount. One test binary, ordinary libtest harness, so
//! that `cargo test --test fuse-tests m6_` picks the tests of one rule of `docs/semantics.md`.
//!
//! `LAYERFS_BIN` names the program under test (default: the one cargo built),
//! `LAYERFS_TEST_TARGET=layerfs|kernel|plain` what the tests run on,
//! `LAYERFS_TEST_DIR` where their directories are made (an ext4 or similar, not an overlay).

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::let_underscore_must_use
)]

mod crash;
mod harness;
mod layerctl;
mod mounting;
mod oracle;
mod semantics;
mod stress;
mod syscalls;
