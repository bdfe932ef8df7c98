//! Killed or out of space in the middle: a layer is there whole or not at all, the next command cleans.

use super::archive::archive_of;
use super::tarball::{Entry, dir, entry, tar};
use super::*;
use std::io::Write as _;
use std::process::Stdio;

/// An archive with a layer of this many mebibytes that do not compress.
fn archive(cache: &Cache, mebibytes: usize) -> (PathBuf, Vec<u8>) {
    let mut state = 88_172_645_463_325_252_u64;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(mebibytes << 17)
    .flatten()
    .collect();
    let layer = tar(&[dir("./"), Entry { data: &data, ..entry("data", b'0') }]);
    let archive = archive_of("big:1", &[&layer]);
    write(cache.at("big.tar"), &archive);
    (cache.at("big.tar"), archive)
}

/// What stands below a directory of the cache.
fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn assert_clean(cache: &Cache) {
    assert_eq!(cache.ok(&["images", "-q"]), "");
    assert_eq!(names_in(&cache.root().join("layerfs/tmp")), [""; 0], "leftovers");
    assert_eq!(names_in(&cache.root().join("blobs/sha256")), [""; 0], "half a layer");
    assert_eq!(names_in(&cache.root().join("layerfs/index")), [""; 0], "half an index");
}

#[test]
fn cache_killed_while_loading_leaves_nothing_that_counts() {
    let cache = Cache::new();
    let (_, archive) = archive(&cache, 8);
    // From a pipe that stays open it cannot come to its end before it is killed.
    for part in [archive.len() / 3, archive.len() - 2048] {
        let mut command = cache.command(&["load", "-q"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(&archive[..part]).unwrap();
        let tmp = cache.root().join("layerfs/tmp");
        assert!(wait_until(LIMIT, || !names_in(&tmp).is_empty()), "nothing begun");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!names_in(&tmp).is_empty(), "killed too late to show anything");
        assert_clean(&cache);
    }
    assert_eq!(cache.load(&cache.at("big.tar")), ["big:1"]);
    assert_eq!(cache.ok(&["verify"]).lines().filter(|line| line.contains("damaged")).count(), 0);
}

#[test]
fn cache_killed_at_random_moments_an_image_is_there_whole_or_not_at_all() {
    let cache = Cache::new();
    let (file, _) = archive(&cache, 8);
    let mut whole = 0;
    for round in 0..12_u64 {
        let mut child = cache.command(&["load", "-q", "-i", file.to_str().unwrap()]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1 + round * round / 2));
        child.kill().unwrap();
        child.wait().unwrap();
        if cache.ok(&["images", "-q"]).is_empty() {
            assert_clean(&cache);
        } else {
            whole += 1;
            cache.ok(&["verify"]);
            cache.ok(&["rmi", "big:1"]);
        }
    }
    eprintln!("{whole} of 12 loads came through before they were killed");
    cache.ok(&["gc"]);
    assert_clean(&cache);
}

#[test]
fn cache_a_full_disk_is_one_line_and_leaves_nothing() {
    let cache = Cache::new();
    let (file, _) = archive(&cache, 8);
    let root = cache.dir("cache");
    sh("mount -t tmpfs -o size=4m none \"$1\"", &[&root]);
    let _mounted = Mounted::take_over(root.clone());
    let line = cache.refused(&["load", "-q", "-i", file.to_str().unwrap()]);
    assert!(line.contains("No space left on device"), "{line}");
    assert_clean(&cache);
    sh("mount -o remount,size=64m \"$1\"", &[&root]);
    assert_eq!(cache.load(&file), ["big:1"]);
    cache.ok(&["verify"]);
}

#[test]
fn cache_several_loads_at_once_share_what_they_bring() {
    let cache = Cache::new();
    let (file, _) = archive(&cache, 4);
    let load = || cache.command(&["load", "-q", "-i", file.to_str().unwrap()]).spawn().unwrap();
    let mut children: Vec<_> = (0..6).map(|_| load()).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(cache.ok(&["images", "-q"]).lines().count(), 1);
    cache.ok(&["verify"]);
    assert_eq!(names_in(&cache.root().join("layerfs/tmp")), [""; 0]);
}
