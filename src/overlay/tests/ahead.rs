//! What is read ahead, and that nothing of it stays (rule F9).

use super::super::Overlay;
use super::fixture::{Lowers, World, known};
use crate::layer::FdKey;
use crate::types::{FileKind, Ino};
use std::time::Duration;

/// The files of a directory, which the kernel knows all, in the order of its listing.
fn files(overlay: &Overlay, directory: Ino) -> Vec<Ino> {
    let mut files = Vec::new();
    let listed = overlay.read_dir_plus(directory, 0, |entry, found| {
        if let Some(found) = found {
            found.node.into_kernel();
        }
        files.extend((entry.kind == FileKind::Regular).then_some(entry.ino));
        Ok(())
    });
    listed.unwrap();
    files
}

fn is_open(overlay: &Overlay, file: Ino) -> bool {
    overlay.pool.peek(FdKey::LowerData(file)).is_some()
}

#[test]
fn f9_the_next_is_open_for_its_reader_but_not_once_it_is_forgotten() {
    let lowers = Lowers::new();
    let world = World::new(&lowers);
    for forgotten in [false, true] {
        let overlay = world.open();
        let files = files(&overlay, known(&overlay, "low/dir"));
        assert_eq!(files.len(), 3);
        assert!(overlay.next_in_walk(files[0]).is_empty());
        let ahead = overlay.next_in_walk(files[1]);
        if forgotten {
            overlay.forget(files[2], 1);
        }
        overlay.read_ahead(&ahead);
        assert!(is_open(&overlay, files[2]));
        drop(ahead);
        assert_eq!(is_open(&overlay, files[2]), !forgotten);
        assert_eq!(overlay.nodes.get(files[2]).is_some(), !forgotten);
    }
}

#[test]
fn f9_nothing_is_read_ahead_of_lowers_that_may_change() {
    let lowers = Lowers::new();
    let mut world = World::new(&lowers);
    world.settings.cache = Some(Duration::from_secs(3600));
    let overlay = world.open();
    let files = files(&overlay, known(&overlay, "low/dir"));
    assert!(files.iter().all(|file| overlay.next_in_walk(*file).is_empty()));
}

/// Where each of them is now is not known until it is looked up.
#[test]
fn f9_after_a_reload_only_what_was_looked_up_anew_is_read_ahead() {
    let lowers = Lowers::new();
    let world = World::new(&lowers);
    let overlay = world.open();
    let directory = known(&overlay, "low/dir");
    let old = files(&overlay, directory);
    overlay.forget_lowers();
    known(&overlay, "low/dir");
    overlay.read_dir(directory, 0, |_| Ok(())).unwrap();
    assert!(old.iter().all(|file| overlay.next_in_walk(*file).is_empty()), "not looked up");
    let anew = files(&overlay, directory);
    assert_eq!(anew, old);
    assert!(overlay.next_in_walk(anew[0]).is_empty());
    assert!(!overlay.next_in_walk(anew[1]).is_empty());
}
