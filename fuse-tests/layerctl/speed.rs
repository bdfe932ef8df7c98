//! Mounting costs the same whatever is in the layers.

use super::archive::archive_of;
use super::tarball::{dir, file, tar};
use super::*;
use std::time::Instant;

/// The best of several mounts of an image.
fn best_mount(cache: &Cache, image: &str) -> Duration {
    let times = (0..5).map(|_| {
        let started = Instant::now();
        let mounted = cache.mount(image, "mnt", &[]);
        let took = started.elapsed();
        mounted.umount();
        took
    });
    times.min().unwrap()
}

#[test]
fn cache_mounting_takes_no_longer_for_large_layers_and_little_for_many() {
    let cache = Cache::new();
    let names: Vec<String> = (0..30_000).map(|i| format!("dir{}/file{i}", i % 300)).collect();
    let entries: Vec<_> = names.iter().map(|name| file(name, "x")).collect();
    let large = tar(&entries);
    let small: Vec<Vec<u8>> =
        (0..99).map(|i| tar(&[dir("d/"), file(&format!("d/f{i}"), &i.to_string())])).collect();
    let mut layers: Vec<&[u8]> = vec![&large];
    layers.extend(small.iter().map(Vec::as_slice));
    write(cache.at("three.tar"), archive_of("three:1", &layers[..3]));
    write(cache.at("hundred.tar"), archive_of("hundred:1", &layers));
    cache.load(&cache.at("three.tar"));
    cache.load(&cache.at("hundred.tar"));
    let (three, hundred) = (best_mount(&cache, "three:1"), best_mount(&cache, "hundred:1"));
    eprintln!("mounting 3 layers takes {three:?}, 100 layers {hundred:?}");
    // The bar is 20 and 100 ms for a release build on an idle machine.
    assert!(three < Duration::from_millis(100), "3 layers: {three:?}");
    assert!(hundred < Duration::from_millis(500), "100 layers: {hundred:?}");
    let m = cache.mount("hundred:1", "mnt", &[]);
    assert_eq!(fs::read_dir(m.join("d")).unwrap().count(), 99);
}
