//! Archives that lie or attack: one line, exit code 1, nothing stored.

use super::archive::{archive_of, config, digest};
use super::tarball::{Entry, append, dir, entry, file, hard_link, tar};
use super::*;

/// Loads an archive that must be refused for a reason that names these words.
fn assert_refused(cache: &Cache, archive: &[u8], words: &[&str], what: &str) {
    write(cache.at("hostile.tar"), archive);
    let before = cache.stored();
    let line = cache.refused(&["load", "-q", "-i", cache.at("hostile.tar").to_str().unwrap()]);
    for word in words {
        assert!(line.contains(word), "{what}: {word} is not in: {line}");
    }
    assert_eq!(cache.stored(), before, "{what}: something was stored");
}

#[test]
fn cache_hostile_layers_are_refused_by_name() {
    let cache = Cache::new();
    cache.ok(&["images"]);
    let long = "l".repeat(256);
    let long_name: &[(&str, &[u8])] = &[("path", long.as_bytes())];
    let nul_name: &[(&str, &[u8])] = &[("path", b"a\0b")];
    let cases: Vec<(Vec<Entry<'_>>, &[&str])> = vec![
        (vec![dir("./"), file("../escape", "x")], &["../escape"]),
        (vec![file("a/../../escape", "x")], &["a/../../escape"]),
        (vec![Entry { pax: nul_name, ..file("x", "x") }], &["NUL"]),
        (vec![Entry { pax: long_name, ..file("x", "x") }], &["255"]),
        (vec![file("etc/.wh.", "")], &[".wh."]),
        (vec![file("etc/.wh..", "")], &[".wh.."]),
        (vec![hard_link("a", "nowhere")], &["nowhere"]),
    ];
    for (entries, words) in &cases {
        let name = String::from_utf8_lossy(entries.last().unwrap().name).into_owned();
        assert_refused(&cache, &archive_of("h:1", &[&tar(entries)]), words, &name);
    }
}

#[test]
fn cache_truncated_archives_and_lying_sizes_are_refused() {
    let cache = Cache::new();
    cache.ok(&["images"]);
    let layer = tar(&[dir("./"), file("a", &"x".repeat(5000))]);
    // A layer that ends within an entry's data.
    assert_refused(&cache, &archive_of("h:1", &[&layer[..2048]]), &[], "a truncated layer");
    let mut lies = Vec::new();
    append(&mut lies, &Entry { size: Some(1 << 40), ..file("big", "small") });
    assert_refused(&cache, &archive_of("h:1", &[&lies]), &["big"], "a size that lies");
    let whole = archive_of("h:1", &[&layer]);
    for len in [100, 600, 3000, whole.len() - 2048] {
        assert_refused(&cache, &whole[..len], &[], &format!("an archive cut at {len}"));
    }
    let lines = "no archive at all\n".repeat(100);
    assert_refused(&cache, lines.as_bytes(), &["is no docker-archive"], "text");
    assert_refused(&cache, &[], &["is no docker-archive"], "nothing");
}

#[test]
fn cache_a_wrong_digest_is_refused() {
    let cache = Cache::new();
    cache.ok(&["images"]);
    let (one, other) = (tar(&[file("a", "one")]), tar(&[file("a", "other")]));
    // The config promises another layer.
    let config = config(std::slice::from_ref(&other));
    let mut archive = Vec::new();
    append(&mut archive, &Entry { data: &one, ..entry("layer.tar", b'0') });
    append(&mut archive, &Entry { data: config.as_bytes(), ..entry("config.json", b'0') });
    let manifest = r#"[{"Config":"config.json","RepoTags":["h:1"],"Layers":["layer.tar"]}]"#;
    append(&mut archive, &Entry { data: manifest.as_bytes(), ..entry("manifest.json", b'0') });
    archive.resize(archive.len() + 1024, 0);
    assert_refused(&cache, &archive, &[&digest(&one), &digest(&other)], "another layer");
}

#[test]
fn cache_documents_that_make_no_sense_are_refused() {
    let cache = Cache::new();
    cache.ok(&["images"]);
    let manifests = [
        "[]x",
        "{",
        r#"[{"Config":"none.json","RepoTags":["h:1"],"Layers":[]}]"#,
        r#"[{"Config":"manifest.json","RepoTags":["h:1"],"Layers":[]}]"#,
    ];
    for text in manifests {
        let archive = tar(&[Entry { data: text.as_bytes(), ..entry("manifest.json", b'0') }]);
        assert_refused(&cache, &archive, &[], text);
    }
}

#[test]
fn cache_a_hostile_oci_directory_is_refused() {
    let cache = Cache::new();
    cache.ok(&["images"]);
    let layout = super::gallery::make(&cache);
    let before = cache.stored();
    let blobs = sh("ls -S \"$1\"/blobs/sha256", &[&layout]);
    let largest = layout.join("blobs/sha256").join(blobs.lines().next().unwrap());
    let whole = fs::read(&largest).unwrap();
    for (what, bytes) in [
        ("a cut blob", whole[..whole.len() / 2].to_vec()),
        ("bytes after it", [&whole[..], b"more"].concat()),
        ("another byte", whole.iter().enumerate().map(|(i, b)| if i == 5000 { b ^ 1 } else { *b }).collect()),
        ("nothing", Vec::new()),
    ] {
        write(&largest, bytes);
        let line = cache.refused(&["load", "-q", "-i", layout.to_str().unwrap()]);
        assert!(!line.is_empty());
        assert_eq!(cache.stored(), before, "{what}: something was stored");
    }
    fs::remove_file(&largest).unwrap();
    let line = cache.refused(&["load", "-q", "-i", layout.to_str().unwrap()]);
    assert!(line.contains(largest.file_name().unwrap().to_str().unwrap()), "{line}");
    assert_eq!(cache.stored(), before);
}
