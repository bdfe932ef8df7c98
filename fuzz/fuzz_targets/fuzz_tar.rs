//! Any bytes as a layer tar: refused, or an index that can be read whole.
#![no_main]

use layerfs::store::fuzz::{fuzz_tar, tar_seeds};

mod seeds;

libfuzzer_sys::fuzz_target!(init: seeds::write(&tar_seeds()), |data: &[u8]| {
    if let Err(wrong) = fuzz_tar(data) {
        panic!("{wrong}");
    }
});
