//! A hash table over the names of big directories, so that a lookup costs the same however big they are.
//!
//! A slot has the row plus one (0: free) and a tag. A name is in one of the [`REACH`] slots from where
//! its hash says, the first that was free when it came, in the order of rows; if none was, it has no
//! slot and is found by binary search among the sorted children. So whoever chooses names that hash
//! alike makes lookups as slow as a binary search, and no slower.

use super::format::SLOT;

/// Directories with more children have slots: below, a binary search touches fewer pages.
pub(super) const BIG_DIRECTORY: u32 = 64;
/// How many slots are looked at. With half of them free, longer runs are rare.
const REACH: u32 = 16;

/// One name in a table.
pub(super) struct Slots<'a> {
    /// How many slots there are; a power of two.
    pub(super) count: u32,
    /// Row of the directory.
    pub(super) parent: u32,
    pub(super) name: &'a [u8],
}

impl Slots<'_> {
    /// FNV-1a, 64 bits, over the parent's row in little-endian and the name.
    fn hash(&self) -> u64 {
        let bytes = self.parent.to_le_bytes();
        bytes.iter().chain(self.name).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// What a slot of this name holds besides the row: the high half of the hash.
    pub(super) fn tag(&self) -> u32 {
        (self.hash() >> 32) as u32
    }

    /// The slots in which it may be, in their order. They begin at the low half of the hash, both
    /// halves mixed, modulo the number of slots.
    pub(super) fn candidates(&self) -> impl Iterator<Item = u32> + use<> {
        let hash = self.hash();
        let (first, count) = ((hash ^ hash >> 32) as u32, self.count);
        (0..REACH.min(count)).map(move |step| first.wrapping_add(step) & (count - 1))
    }
}

/// How many slots so many names need: at least half of them stay free.
pub(super) fn count_for(names: u32) -> Option<u32> {
    match names {
        0 => Some(0),
        _ => names.checked_mul(2)?.checked_next_power_of_two(),
    }
}

/// Puts the row of a name into a table.
pub(super) fn insert(table: &mut [u8], slots: &Slots<'_>, row: u32) {
    for slot in slots.candidates() {
        let raw = &mut table[slot as usize * SLOT..][..SLOT];
        if raw[..4] == [0; 4] {
            raw[..4].copy_from_slice(&(row + 1).to_le_bytes());
            raw[4..].copy_from_slice(&slots.tag().to_le_bytes());
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::store::index::Index;
    use crate::store::tar::testing::{TarBuilder, index_of, rows_as_text};

    fn find(index: &Index, name: &str) -> Option<u32> {
        index.find(1, name.as_bytes()).unwrap()
    }

    #[test]
    fn names_of_small_and_big_directories_are_found_and_others_are_not() {
        for count in [1, 63, 64, 65, 66, 100, 3000] {
            let tar = (0..count).fold(TarBuilder::new(), |tar, n| tar.file(&format!("d/{n}"), ""));
            let index = index_of(&tar.end()).unwrap();
            index.check().unwrap();
            for n in 0..count {
                let row = find(&index, &n.to_string()).unwrap();
                assert_eq!(index.name(&index.row(row).unwrap()).unwrap(), n.to_string().as_bytes());
                assert_eq!(find(&index, &format!("{n}x")), None);
            }
            assert_eq!(find(&index, ""), None);
        }
    }

    #[test]
    fn a_table_without_room_leaves_names_to_the_binary_search() {
        let mut table = vec![0; 16 * super::SLOT];
        let name = |n: u32| super::Slots { count: 16, parent: 1, name: if n < 16 { b"a" } else { b"b" } };
        (0..17).for_each(|n| super::insert(&mut table, &name(n), n));
        let rows: Vec<u8> = table.chunks(super::SLOT).map(|slot| slot[0]).collect();
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (1..=16).collect::<Vec<u8>>());
    }

    #[test]
    fn a_directory_in_a_big_one_has_its_own_names() {
        let tar = (0..70).fold(TarBuilder::new().file("d/5/7", ""), |tar, n| tar.dir(&format!("d/{n}")));
        let index = index_of(&tar.end()).unwrap();
        let five = find(&index, "5").unwrap();
        let seven = index.find(five, b"7").unwrap().unwrap();
        assert_ne!(find(&index, "7"), Some(seven));
        assert!(rows_as_text(&index).ends_with("/d/5/7 Regular 644\n"));
    }
}
