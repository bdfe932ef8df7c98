//! Mutations of valid tars and indexes, the same in each run.

use super::{fuzz_index, fuzz_tar, index_seeds, tar_seeds};
use crate::store::tar::index_tar;

/// SplitMix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n as u64) as usize
    }
}

/// Changes a few things at random: bytes, numbers at their edges, blocks that move, an early end.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    const EDGES: [&[u8]; 8] = [
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\x80",
        b"77777777777",
        b"..",
        b"/",
        b".wh.",
        b"\x7f\xff\xff\xff",
    ];
    const KINDS: &[u8] = b"01234567LKxgSDVX\0Z";
    for _ in 0..1 + random.below(4) {
        if bytes.len() < 1024 {
            return;
        }
        // In whole blocks, whatever an earlier change left.
        let at = random.below(bytes.len() / 512 * 512 - 16);
        let block = at / 512 * 512;
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => {
                let edge = EDGES[random.below(EDGES.len())];
                bytes[at..at + edge.len()].copy_from_slice(edge);
            }
            2 => bytes[block + 156] = KINDS[random.below(KINDS.len())],
            3 => bytes.truncate(at),
            4 => {
                let from = random.below(other.len() / 512) * 512;
                let piece = other[from..from + 512].to_vec();
                bytes.splice(block..block, piece);
            }
            5 => drop(bytes.drain(block..block + 512)),
            // Sizes: where most that follows depends on.
            _ => bytes[block + 124 + random.below(12)] = b'0' + random.below(8) as u8,
        }
    }
}

#[test]
fn seeds_are_sound() {
    for (n, tar) in tar_seeds().iter().enumerate() {
        assert_eq!(index_tar(&mut &tar[..]).err().map(|e| e.to_string()), None, "seed {n}");
        assert_eq!(fuzz_tar(tar), Ok(()), "seed {n}");
    }
    assert_eq!(index_seeds().len(), tar_seeds().len() + 1);
}

#[test]
fn mutated_tars_are_refused_or_give_a_sound_index() {
    let seeds = tar_seeds();
    for run in 0..15_000 {
        let mut random = Random(run);
        let mut tar = seeds[random.below(seeds.len())].clone();
        mutate(&mut tar, &seeds[random.below(seeds.len())], &mut random);
        assert_eq!(fuzz_tar(&tar), Ok(()), "run {run}");
    }
}

#[test]
fn mutated_indexes_are_read_or_found_damaged() {
    let seeds = index_seeds();
    for run in 0..15_000 {
        let mut random = Random(run);
        let mut index = seeds[random.below(seeds.len())].clone();
        mutate(&mut index, &seeds[random.below(seeds.len())], &mut random);
        fuzz_index(&index);
    }
}
