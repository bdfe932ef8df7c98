//! What is refused: by name, with the way out where there is one, and with nothing stored.

use super::*;

/// Loads what must be refused; answers why.
fn refused(bytes: &[u8]) -> String {
    let fixture = Fixture::new();
    let before = fixture.tree();
    let error = fixture.load(bytes).unwrap_err().to_string();
    assert_eq!(fixture.tree(), before, "something was stored: {error}");
    assert!(!error.contains('\n'), "{error:?}");
    error
}

fn assert_refused(bytes: &[u8], why: &str) {
    let error = refused(bytes);
    assert!(error.contains(why), "{why:?} is not said: {error}");
}

/// An OCI layout of one image, changed by `change`.
fn oci(change: impl Fn(&mut Value)) -> Vec<u8> {
    let tar = layer("a", "1");
    let mut files = Files::default();
    let mut descriptor = oci_manifest(&mut files, &[(OCI_LAYER, &tar)], &[&tar]);
    let file = descriptor["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
    let mut manifest: Value = serde_json::from_slice(&files.0[&file]).unwrap();
    change(&mut manifest);
    let bytes = manifest.to_string().into_bytes();
    descriptor["digest"] = json!(files.blob(&bytes));
    descriptor["size"] = json!(bytes.len());
    oci_index(&mut files, &[named(descriptor, "x")]);
    files.tar()
}

#[test]
fn layers_that_are_not_what_the_config_says() {
    let (tar, other) = (layer("a", "1"), layer("a", "2"));
    let mut files = docker_archive(&["x"], &[&tar]);
    files.put("layer0/layer.tar", other.clone());
    let error = refused(&files.tar());
    let expected = format!(
        "layer0/layer.tar: its tar: the digest is sha256:{}, not sha256:{} as promised: nothing was stored",
        hex(&other),
        hex(&tar)
    );
    assert!(error.ends_with(&expected), "{error}");
}

#[test]
fn blobs_that_are_not_what_their_descriptor_says() {
    let tar = layer("a", "1");
    let hex = hex(&gzip(&tar));
    let digest = format!("blobs/sha256/{hex}");
    let mut files = Files::default();
    let manifest = oci_manifest(&mut files, &[(OCI_LAYER, &gzip(&tar))], &[&tar]);
    oci_index(&mut files, &[named(manifest, "x")]);
    // The tar is the same, its compression another one.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&tar).unwrap();
    let other = encoder.finish().unwrap();
    files.put(&digest, other);
    let error = refused(&files.tar());
    assert!(error.contains(&hex) && error.contains("promised: nothing was stored"), "{error}");
    files.0.remove(&digest);
    assert_refused(&files.tar(), "is missing: the archive is incomplete");
    assert_refused(&oci(|m| m["layers"][0]["size"] = json!(7)), "bytes, not 7 as promised");
    assert_refused(&oci(|m| m["config"]["size"] = json!(7)), "bytes, not 7 as promised");
    assert_refused(&oci(|m| m["config"]["digest"] = m["layers"][0]["digest"].clone()), "promised");
}

#[test]
fn configs_that_are_not_what_their_name_says() {
    let tar = layer("a", "1");
    let mut files = docker_archive(&["x"], &[&tar]);
    let name = format!("{}.json", hex(&config(&[&tar])));
    let mut changed = config(&[&tar]);
    changed.push(b' ');
    files.put(&name, changed);
    assert_refused(&files.tar(), &format!("{name}: the digest is"));
}

#[test]
fn layers_of_another_number() {
    let tar = layer("a", "1");
    let mut files = docker_archive(&["x"], &[&tar]);
    let name = format!("{}.json", hex(&config(&[&tar])));
    let manifest = json!([{"Config": name, "Layers": ["layer0/layer.tar", "layer0/layer.tar"]}]);
    files.put("manifest.json", manifest.to_string());
    assert_refused(&files.tar(), "2 layers, but its config has 1 diff ids: nothing was stored");
    assert_refused(&oci(|m| m["layers"] = json!([])), "0 layers, but its config has 1 diff ids");
}

#[test]
fn archives_that_are_cut_short_at_any_place() {
    let tar = layer("a", &"text ".repeat(300));
    let whole = docker_archive(&["x"], &[&tar]).tar();
    // The zeros at the end, two blocks and what fills the last one, are not missed.
    for len in (0..whole.len() - 1024 - 500).step_by(256) {
        refused(&whole[..len]);
    }
    let packed = gzip(&whole);
    for len in (0..packed.len()).step_by(97) {
        refused(&packed[..len]);
    }
}

#[test]
fn tars_that_are_hostile() {
    for (name, why) in [("../evil", "evil"), ("a/.wh.", ".wh.")] {
        let tar = layer(name, "1");
        assert_refused(&docker_archive(&["x"], &[&tar]).tar(), why);
    }
    let mut cut = layer("a", &"text ".repeat(300));
    cut.truncate(1024);
    assert_refused(&docker_archive(&["x"], &[&cut]).tar(), "truncated");
}

#[test]
fn forms_that_are_not_taken() {
    let media = |kind: &'static str| move |m: &mut Value| m["layers"][0]["mediaType"] = json!(kind);
    assert_refused(&oci(media("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")), "is encrypted");
    assert_refused(&oci(media("application/vnd.oci.image.layer.nondistributable.v1.tar")), "foreign");
    assert_refused(&oci(media("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")), "foreign");
    assert_refused(&oci(|m| m["schemaVersion"] = json!(1)), "schema version 1");
    assert_refused(
        &oci(|m| m["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)))),
        "only sha256 digests",
    );
    let mut files = Files::default();
    files.put("repositories", "{}");
    assert_refused(&files.tar(), "without manifest.json are not taken");
    files.put("manifest.json", "[]");
    assert_refused(&files.tar(), "an image is missing");
    files.put("manifest.json", "{");
    assert_refused(&files.tar(), "manifest.json: invalid type: map, expected a sequence");
    assert_refused(&layer("etc/passwd", "x"), "is no docker-archive, OCI archive or OCI directory");
    assert_refused(b"BZh91AY&SY", "bzip2");
    assert_refused(&docker_archive(&["Upper"], &[&layer("a", "1")]).tar(), "must be lowercase");
}

#[test]
fn one_bad_image_keeps_the_others_out_too() {
    let (good, bad) = (layer("a", "1"), layer("b", "2"));
    let mut files = docker_archive(&["good"], &[&good]);
    let config = config(&[&bad]);
    files.put("bad.json", config);
    files.put("bad.tar", good.clone());
    let mut manifest: Value = serde_json::from_slice(&files.0["manifest.json"]).unwrap();
    let entry = json!({"Config": "bad.json", "RepoTags": ["bad:1"], "Layers": ["bad.tar"]});
    manifest.as_array_mut().unwrap().push(entry);
    files.put("manifest.json", manifest.to_string());
    assert_refused(&files.tar(), "bad.tar: its tar: the digest is");
}
