//! Death and failure at every step, and several at once.

use super::*;
use crate::store::ConfigEdit;
use crate::sys::fault::{Fault, with};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// Runs `change` again and again on caches that `prepare` filled, with each call failing in its turn, until
/// one run gets through. After each failure the cache shows the old state or the new one, and is clean.
fn at_every_step(fault: Fault, prepare: impl Fn(&Fixture), change: impl Fn(&Fixture) -> Result<()>) {
    let finished = Fixture::new();
    prepare(&finished);
    let old = finished.names();
    change(&finished).unwrap();
    let new = finished.names();
    assert_ne!(old, new);
    for step in 0.. {
        assert!(step < 10_000, "it never gets through");
        let fixture = Fixture::new();
        prepare(&fixture);
        let (result, calls) = with(Some(fault), step, || change(&fixture));
        sweep(&fixture, step);
        let names = fixture.names();
        assert!(names == old || names == new, "step {step}: {names:?} is neither {old:?} nor {new:?}");
        if result.is_ok() {
            assert_eq!(names, new, "step {step} went well");
        }
        if fault != Fault::Die {
            // It could not put everything back, and nobody died of it: that is for gc.
            fixture.store.gc(false).unwrap();
        }
        assert_eq!(fixture.verify(), [""; 0], "step {step}");
        change_again(&fixture, &names, &new, &change);
        if calls <= step {
            return;
        }
    }
}

/// The next command leaves nothing behind. A process that another test starts has a copy of each lock for a
/// moment, until it runs its program: what is locked by it is removed a command later.
fn sweep(fixture: &Fixture, step: usize) {
    let begun = Instant::now();
    loop {
        Store::open(&fixture.root()).unwrap();
        let left = std::fs::read_dir(fixture.root().join("layerfs/tmp")).unwrap().count();
        if left == 0 {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "step {step}: {left} leftovers");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What failed is done again, and succeeds.
fn change_again(
    fixture: &Fixture,
    names: &[String],
    new: &[String],
    change: &impl Fn(&Fixture) -> Result<()>,
) {
    if names != new {
        change(fixture).unwrap();
        assert_eq!(fixture.names(), new);
    }
}

fn both_faults(prepare: impl Fn(&Fixture), change: impl Fn(&Fixture) -> Result<()>) {
    at_every_step(Fault::Die, &prepare, &change);
    at_every_step(Fault::Fail(Errno::NOSPC), &prepare, &change);
}

fn archive(tags: &[&str]) -> Vec<u8> {
    docker_archive(tags, &[&layer("a", "1"), &layer("b", "2")]).tar()
}

#[test]
fn load_is_all_or_nothing_at_every_step() {
    let other = docker_archive(&["x:1"], &[&layer("a", "1"), &layer("c", "3")]).tar();
    both_faults(
        |fixture| drop(fixture.load(&other).unwrap()),
        |fixture| fixture.load(&archive(&["x:1", "y:1"])).map(drop),
    );
}

#[test]
fn removal_is_all_or_nothing_at_every_step() {
    both_faults(
        |fixture| drop(fixture.load(&archive(&["x:1"])).unwrap()),
        |fixture| fixture.store.remove("x:1", false).map(drop),
    );
}

#[test]
fn tag_and_import_are_all_or_nothing_at_every_step() {
    both_faults(
        |fixture| drop(fixture.load(&archive(&["x:1"])).unwrap()),
        |fixture| fixture.store.tag("x:1", &"y:1".parse().unwrap()),
    );
    both_faults(
        |fixture| std::fs::write(fixture.dir.path().join("one.tar"), layer("a", "1")).unwrap(),
        |fixture| {
            let created = Some(crate::types::Timestamp::default());
            let edit = ConfigEdit { name: Some("one".parse()?), created, ..ConfigEdit::default() };
            let source = LoadSource::Path(fixture.dir.path().join("one.tar"));
            fixture.store.import_layer(source, &edit, &Silent).map(drop)
        },
    );
}

#[test]
fn several_at_once_do_not_lose_each_others_images() {
    let fixture = Fixture::new();
    let shared = layer("shared", "1");
    let count = 8;
    std::thread::scope(|scope| {
        for number in 0..count {
            let (fixture, shared) = (&fixture, &shared);
            scope.spawn(move || {
                let own = layer("own", &number.to_string());
                let tag = format!("x:{number}");
                let bytes = docker_archive(&[&tag], &[shared, &own]).tar();
                let path = fixture.dir.path().join(format!("archive{number}"));
                std::fs::write(&path, bytes).unwrap();
                // Each as a command of its own, which opens the cache; every second one is removed again, so
                // that the shared layer comes and goes.
                for round in 0..5 {
                    let store = Store::open(&fixture.root()).unwrap();
                    store.load(LoadSource::Path(path.clone()), &Silent).unwrap();
                    if number % 2 == 1 || round < 4 {
                        store.remove(&tag, false).unwrap();
                    }
                }
            });
        }
    });
    let mut names: Vec<String> =
        fixture.names().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["x:0", "x:2", "x:4", "x:6"]);
    assert_eq!(fixture.verify(), [""; 0]);
    assert_eq!(std::fs::read_dir(fixture.root().join("layerfs/tmp")).unwrap().count(), 0);
}

#[test]
fn a_layer_that_is_given_up_leaves_nothing() {
    let fixture = Fixture::new();
    let before = fixture.tree();
    let mut writer = fixture.store.stage_layer("given up").unwrap();
    writer.write_all(&layer("a", &"x".repeat(3_000_000))).unwrap();
    drop(writer);
    assert_eq!(fixture.tree(), before);
    let mut writer = fixture.store.stage_layer("cut").unwrap();
    writer.write_all(&layer("a", &"1".repeat(300))[..700]).unwrap();
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.starts_with("layer cut: ") && error.contains("truncated"), "{error}");
    assert_eq!(fixture.tree(), before);
    // A writer that goes on after the worker refused the tar is told what the worker found.
    let mut writer = fixture.store.stage_layer("hostile").unwrap();
    writer.write_all(&layer("../evil", "1")).unwrap();
    let told = (0..64).find_map(|_| writer.write_all(&[0; 1 << 20]).err()).unwrap().to_string();
    assert!(told.starts_with("layer hostile: ") && told.contains("evil"), "{told}");
    assert_eq!(writer.finish().unwrap_err().to_string(), told);
    assert_eq!(fixture.tree(), before);
}
