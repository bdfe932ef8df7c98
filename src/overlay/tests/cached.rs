//! Which reads are answered from the page cache (rule F8).

use super::super::{Error, WriteHow};
use super::fixture::{FILE_SIZE, Lowers, World, known};
use crate::types::Ino;

#[test]
fn f8_data_of_a_lower_is_until_it_is_copied_up() {
    let lowers = Lowers::new();
    let world = World::new(&lowers);
    let overlay = world.open();
    let file = known(&overlay, "low/file");
    let cached = |offset, len| overlay.read_cached(file, offset, len).unwrap();
    assert_eq!(cached(0, FILE_SIZE).unwrap().bytes(), vec![b'f'; FILE_SIZE]);
    assert_eq!(cached(5000, 300).unwrap().bytes(), [b'f'; 300]);
    assert!(cached(5000, FILE_SIZE).is_none(), "beyond the end");
    overlay.write(file, 0, b"x", WriteHow { late: false, kill_set_id: false }).unwrap();
    assert!(cached(0, FILE_SIZE).is_none(), "the upper's data may change");
    let directory = overlay.read_cached(Ino::ROOT, 0, 1);
    assert!(matches!(directory, Err(Error::IsDirectory)), "{directory:?}");
}
