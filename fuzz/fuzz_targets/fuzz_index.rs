//! Any bytes as an index with right checksums: read, or found damaged, without a panic.
#![no_main]

use layerfs::store::fuzz::{fuzz_index, index_seeds};

mod seeds;

libfuzzer_sys::fuzz_target!(init: seeds::write(&index_seeds()), |data: &[u8]| fuzz_index(data));
