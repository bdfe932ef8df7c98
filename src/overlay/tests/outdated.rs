//! What waits for its attributes to be given to the kernel anew, and how it is given.

use super::super::{Full, Outdated, Overlay, RenameMode};
use super::fixture::{Lowers, World, known};
use crate::types::Ino;
use std::path::{Path, PathBuf};

fn note(overlay: &Overlay, paths: &[&str]) -> Vec<Ino> {
    let inos: Vec<Ino> = paths.iter().map(|path| known(overlay, path)).collect();
    inos.iter().for_each(|ino| overlay.note_outdated(*ino));
    inos
}

/// How many wait.
fn waiting(overlay: &Overlay) -> usize {
    overlay.waiting.0.lock().len()
}

/// Takes all.
fn take(overlay: &Overlay) -> Outdated {
    overlay.take_outdated(0, None).unwrap()
}

/// Paths of directories with how many objects, and paths of objects that are alone.
fn summary(taken: &Outdated) -> (Vec<(&Path, usize)>, Vec<&Path>) {
    let listed = taken.listed.iter().map(|of| (&*of.path, of.objects.len()));
    (listed.collect(), taken.alone.iter().map(|path| &**path).collect())
}

#[test]
fn m20_each_waits_once_and_is_taken_with_its_directory_deepest_first() {
    let lowers = Lowers::new();
    let world = World::new(&lowers);
    let overlay = world.open();
    let paths = ["low/file", "low/dir/a", "low/dir", "low/other/x", "low/dir/b", "low/dir/a", "up/one"];
    let inos = note(&overlay, &paths);
    assert_eq!(waiting(&overlay), 6);
    let taken = take(&overlay);
    let (listed, alone) = summary(&taken);
    assert_eq!(listed, [(Path::new("./low/dir"), 2), (Path::new("./low"), 2)]);
    let mut alone: Vec<PathBuf> = alone.into_iter().map(Path::to_owned).collect();
    alone.sort();
    assert_eq!(alone, [Path::new("./low/other/x"), Path::new("./up/one")]);
    assert_eq!(taken.listed[0].directory, inos[2]);
    assert_eq!(taken.listed[0].objects, [inos[1], inos[4]]);
    assert_eq!(waiting(&overlay), 0);
    // They were not given yet, so they do not wait a second time.
    note(&overlay, &paths);
    assert_eq!(waiting(&overlay), 0);
}

#[test]
fn m20_what_is_in_a_directory_that_is_being_listed_goes_on_waiting() {
    let lowers = Lowers::new();
    let world = World::new(&lowers);
    let overlay = world.open();
    note(&overlay, &["low/dir/a", "low/dir/b", "low/file", "low/link"]);
    let dir = Some(known(&overlay, "low/dir"));
    // Those that must not be taken do not count.
    assert!(overlay.take_outdated(3, dir).is_none());
    assert_eq!(waiting(&overlay), 4);
    let taken = overlay.take_outdated(2, dir).unwrap();
    assert_eq!(summary(&taken).0, [(Path::new("./low"), 2)]);
    assert_eq!(waiting(&overlay), 2);
    assert_eq!(summary(&take(&overlay)).0, [(Path::new("./low/dir"), 2)]);
}

#[test]
fn m20_they_are_given_with_name_attributes_and_a_reference_each() {
    let lowers = Lowers::new();
    let world = World::new(&lowers);
    let overlay = world.open();
    let inos = note(&overlay, &["low/dir/a", "low/dir/b", "low/dir/c"]);
    let taken = take(&overlay);
    let mut given = Vec::new();
    let mut list = |from: usize, room: usize| {
        let mut left = room;
        overlay.list_outdated(&taken.listed[0], from, |name, next, entry| {
            left = left.checked_sub(1).ok_or(Full)?;
            given.push((name.to_vec(), next, entry.ino, entry.attr.size));
            entry.node.into_kernel();
            Ok(())
        })
    };
    assert_eq!(list(0, 2), 2);
    assert_eq!(list(2, 2), 3);
    let b = |name: &str| name.as_bytes().to_vec();
    let wanted = [(b("a"), 1, inos[0], 5), (b("b"), 2, inos[1], 5), (b("c"), 3, inos[2], 13)];
    assert_eq!(given, wanted);
    // The kernel holds two lookups of each now.
    let nodes = overlay.node_count();
    inos.iter().for_each(|ino| overlay.forget(*ino, 1));
    assert_eq!(overlay.node_count(), nodes);
    inos.iter().for_each(|ino| overlay.note_outdated(*ino));
    assert_eq!(waiting(&overlay), 3);
    inos.iter().for_each(|ino| overlay.forget(*ino, 1));
    assert_eq!(overlay.node_count(), nodes - 3);
    assert!(summary(&take(&overlay)).0.is_empty(), "nobody knows them any more");
}

#[test]
fn m20_what_moved_or_was_removed_meanwhile_is_not_given() {
    let lowers = Lowers::new();
    let world = World::new(&lowers);
    let overlay = world.open();
    let inos = note(&overlay, &["low/dir/a", "low/dir/b", "low/dir/c", "low/other/x", "low/file"]);
    let (low, dir) = (known(&overlay, "low"), known(&overlay, "low/dir"));
    overlay.unlink(low, b"file").unwrap();
    let taken = take(&overlay);
    assert_eq!(summary(&taken), (vec![(Path::new("./low/dir"), 3)], vec![Path::new("./low/other/x")]));
    overlay.rename(dir, b"a", low, b"a", RenameMode::Replace).unwrap();
    overlay.unlink(dir, b"b").unwrap();
    let mut names = Vec::new();
    let done = overlay.list_outdated(&taken.listed[0], 0, |name, _, _| {
        names.push(name.to_vec());
        Ok(())
    });
    assert_eq!((done, names), (3, vec![b"c".to_vec()]));
    // A reference that was dropped is given back, and what moved may wait at its new place.
    overlay.note_outdated(inos[0]);
    assert_eq!(summary(&take(&overlay)).1, [Path::new("./low/a")]);
    // Nobody gave it, so it is asked for.
    overlay.note_outdated(inos[0]);
    assert_eq!(waiting(&overlay), 0);
    overlay.get_attr(inos[0]).unwrap();
    overlay.note_outdated(inos[0]);
    assert_eq!(waiting(&overlay), 1);
}

#[test]
fn m20_what_was_asked_for_meanwhile_is_not_given_nor_is_the_root() {
    let lowers = Lowers::new();
    let world = World::new(&lowers);
    let overlay = world.open();
    let inos = note(&overlay, &["low/dir/a", "low/dir/b", "low/dir/c"]);
    overlay.get_attr(inos[1]).unwrap();
    assert_eq!(take(&overlay).listed[0].objects, [inos[0], inos[2]]);
    overlay.note_outdated(Ino::ROOT);
    assert_eq!(waiting(&overlay), 0);
}

/// The kernel would go through all names that it has of the directory.
#[test]
fn m20_a_few_in_a_huge_directory_are_not_worth_it() {
    let lowers = Lowers::new();
    let world = World::new(&lowers);
    let huge = world.settings.upper.as_ref().unwrap().upper.join("huge");
    std::fs::create_dir(&huge).unwrap();
    (0..2500).for_each(|n| std::fs::write(huge.join(format!("f{n}")), "").unwrap());
    let overlay = world.open();
    overlay.read_dir(known(&overlay, "huge"), 0, |_| Ok(())).unwrap();
    note(&overlay, &["huge/f1", "huge/f2"]);
    assert_eq!(summary(&take(&overlay)), (vec![], vec![]));
    note(&overlay, &["huge/f3", "huge/f4", "huge/f5"]);
    assert_eq!(summary(&take(&overlay)).0, [(Path::new("./huge"), 3)]);
}
