//! Inode numbers: rules I1 and I2.
//!
//! 1. *Layers on several filesystems use the same numbers.* The shown number holds the
//!    filesystem's place in the stack in its high bits, and the real number below; where all is on
//!    one filesystem the numbers are the real ones.
//! 2. *Numbers must survive a remount.* The place is counted from the bottom of the stack, so that
//!    it depends on nothing but the stack.
//! 3. *Some numbers do not fit.* They are hashed into a space of their own.

use crate::types::{Ino, RealId};
use std::hash::{Hash, Hasher};

/// Bits of the real number that are kept as they are.
const REAL_BITS: u32 = 48;
/// Set in numbers that are a hash.
const HASHED: u64 = 1 << 63;
/// Set, with [`HASHED`], in numbers given to a second object that claims a taken one.
const ALIAS: u64 = 1 << 62;

/// Gives each real inode its shown number.
#[derive(Debug)]
pub(super) struct InoMap {
    devices: Vec<u64>,
}

impl InoMap {
    /// A map for filesystems in the order of the stack from the bottom.
    pub(super) fn new(devices: impl IntoIterator<Item = u64>) -> Self {
        let mut known = Vec::new();
        for device in devices {
            if !known.contains(&device) {
                known.push(device);
            }
        }
        InoMap { devices: known }
    }

    /// The shown number of a real inode.
    pub(super) fn number(&self, real: RealId) -> Ino {
        let place = self.devices.iter().position(|d| *d == real.dev);
        match place {
            // Numbers 0 and 1 are the protocol's own.
            Some(place) if real.ino >> REAL_BITS == 0 && (place > 0 || real.ino > 1) => {
                Ino((place as u64) << REAL_BITS | real.ino)
            }
            _ => {
                // Fixed keys: the hash must be the same in each mount. A device number may change
                // between mounts, a place does not.
                let mut hasher = std::hash::DefaultHasher::new();
                place.map_or(real.dev, |p| p as u64).hash(&mut hasher);
                real.ino.hash(&mut hasher);
                Ino(HASHED | (hasher.finish() & !ALIAS))
            }
        }
    }

    /// Whether a number is one of [`InoMap::alias`].
    pub(super) fn is_alias(ino: Ino) -> bool {
        ino.0 & (HASHED | ALIAS) == HASHED | ALIAS
    }

    /// The n-th number for objects whose own is taken.
    pub(super) fn alias(n: u64) -> Ino {
        Ino(HASHED | ALIAS | n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i2_numbers_of_different_filesystems_differ() {
        let map = InoMap::new([7, 9, 7]);
        let number = |dev, ino| map.number(RealId { dev, ino }).0;
        assert_eq!(number(7, 12), 12);
        assert_eq!(number(9, 12), 1 << 48 | 12);
        assert_ne!(number(7, 1), 1);
        assert_ne!(number(7, 0), 0);
        assert_eq!(number(9, 1), 1 << 48 | 1);
        assert!(number(7, 1 << 50) & HASHED != 0);
        assert_ne!(number(7, 1 << 50), number(9, 1 << 50));
        assert!(number(1234, 5) & HASHED != 0);
    }
}
