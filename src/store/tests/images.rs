//! Names, ids, histories; images made, removed, and looked after.

use super::*;
use crate::store::{Change, ConfigEdit, Garbage, MountRecord};

/// Three layers; `x:1` and `y:1` have the first two, `z:1` the first and the last.
fn filled() -> (Fixture, [Vec<u8>; 3]) {
    let layers = [layer("a", "1"), layer("b", "2"), layer("c", "3")];
    let fixture = Fixture::new();
    fixture.load(&docker_archive(&["x:1", "y:1"], &[&layers[0], &layers[1]]).tar()).unwrap();
    fixture.load(&docker_archive(&["z:1"], &[&layers[0], &layers[2]]).tar()).unwrap();
    (fixture, layers)
}

fn lines(removed: Vec<crate::store::Removed>) -> Vec<String> {
    removed.iter().map(ToString::to_string).collect()
}

fn error<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn images_are_found_by_name_digest_and_id() {
    let (fixture, layers) = filled();
    let (store, id) = (&fixture.store, hex(&config(&[&layers[0], &layers[1]])));
    let found = |what: &str| store.resolve(what).unwrap().id().hex();
    let digest = store.resolve("x:1").unwrap().digest();
    for what in ["x:1", "docker.io/library/y:1", &id, &id[..2], &format!("sha256:{}", &id[..9])] {
        assert_eq!(found(what), id, "{what}");
    }
    assert_eq!(found(&format!("x@{digest}")), id);
    assert_eq!(store.resolve(&id[..12]).unwrap().title(), "x:1");
    assert_eq!(store.resolve("y:1").unwrap().title(), "y:1");
    let no_such = |what: &str| format!("no such image: {what} (`layerctl images` lists them)");
    for what in ["x", "none", &id[..1], &format!("z@{digest}")] {
        assert_eq!(error(store.resolve(what)), no_such(what));
    }
    assert!(error(store.resolve("X")).starts_with("invalid image name \"X\""));
}

#[test]
fn ids_that_begin_alike_ask_for_more_digits() {
    let fixture = Fixture::new();
    let mut ids: Vec<String> = Vec::new();
    // With 256 beginnings two of 40 ids are alike for certain enough; the images are the same each time.
    for number in 0..40 {
        let tar = layer("n", &number.to_string());
        fixture.load(&docker_archive(&[], &[&tar]).tar()).unwrap();
        ids.push(hex(&config(&[&tar])));
    }
    ids.sort();
    let pair = ids.windows(2).find(|pair| pair[0][..2] == pair[1][..2]).unwrap();
    let alike = ids.iter().filter(|id| id[..2] == pair[0][..2]).count();
    let expected = format!("{} is the beginning of {alike} image ids: give more digits", &pair[0][..2]);
    assert_eq!(error(fixture.store.resolve(&pair[0][..2])), expected);
    assert_eq!(fixture.store.resolve(&pair[0]).unwrap().id().hex(), pair[0]);
}

#[test]
fn names_go_first_and_layers_with_the_last_image() {
    let (fixture, layers) = filled();
    let store = &fixture.store;
    let id = hex(&config(&[&layers[0], &layers[1]]));
    store.tag("x:1", &"w:1".parse().unwrap()).unwrap();
    assert_eq!(lines(store.remove("w:1", false).unwrap()), ["Untagged: w:1"]);
    let conflict = format!("conflict: unable to delete {} (must be forced)", &id[..12]);
    assert!(error(store.remove(&id[..12], false)).starts_with(&conflict));
    let gone = [
        "Untagged: x:1".to_owned(),
        "Untagged: y:1".to_owned(),
        format!("Deleted: sha256:{id}"),
        format!("Deleted: sha256:{}", hex(&layers[1])),
    ];
    assert_eq!(lines(store.remove(&id[..12], true).unwrap()), gone);
    assert_eq!(fixture.names(), [format!("z:1 {}", short_id(&[&layers[0], &layers[2]]))]);
    assert!(fixture.verify().is_empty(), "{:?}", fixture.verify());
    assert_eq!(lines(store.remove("z:1", false).unwrap()).len(), 4);
    let left: Vec<String> = fixture.tree().into_keys().collect();
    assert_eq!(left, ["index.json", "oci-layout"]);
}

#[test]
fn a_name_that_is_taken_leaves_its_image_without_one() {
    let (fixture, layers) = filled();
    fixture.load(&docker_archive(&["z:1"], &[&layers[1]]).tar()).unwrap();
    let (old, new) = (short_id(&[&layers[0], &layers[2]]), short_id(&[&layers[1]]));
    assert_eq!(fixture.names()[2..], [format!("- {old}"), format!("z:1 {new}")]);
    let id = hex(&config(&[&layers[0], &layers[2]]));
    let gone = [format!("Deleted: sha256:{id}"), format!("Deleted: sha256:{}", hex(&layers[2]))];
    assert_eq!(lines(fixture.store.remove(&id, false).unwrap()), gone);
}

#[test]
fn a_mounted_image_stays_and_its_layers_too() {
    let (fixture, layers) = filled();
    let store = &fixture.store;
    let image = store.resolve("z:1").unwrap();
    let record = |image: Option<_>, layers| MountRecord {
        image,
        layers,
        name: "z:1".to_owned(),
        mount_point: "/mnt/z".into(),
        upper: None,
        work: None,
        pid: 1,
    };
    let guard = store.register_mount(record(Some(image.id()), image.diff_ids().to_vec())).unwrap();
    let expected = "image z:1 is mounted on /mnt/z: unmount it first (`layerctl umount /mnt/z`)";
    for force in [false, true] {
        assert_eq!(error(store.remove("z:1", force)), expected);
    }
    store.tag("z:1", &"w:1".parse().unwrap()).unwrap();
    assert_eq!(lines(store.remove("w:1", false).unwrap()), ["Untagged: w:1"], "a name may go");
    drop(guard);
    let guard = store.register_mount(record(None, image.diff_ids()[1..].to_vec())).unwrap();
    store.remove("z:1", false).unwrap();
    assert!(store.layer(image.diff_ids()[1]).is_ok(), "the layer is in use");
    assert_eq!(store.gc(false).unwrap(), Garbage::default());
    drop(guard);
    assert_eq!(store.gc(true).unwrap().files.len(), 2);
    let garbage = store.gc(false).unwrap();
    let hex = hex(&layers[2]);
    let names: Vec<_> = garbage.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [format!("blobs/sha256/{hex}"), format!("layerfs/index/{hex}")]);
    assert!(garbage.bytes() > layers[2].len() as u64);
    assert!(fixture.verify().is_empty());
}

#[test]
fn a_layer_is_added_to_an_image() {
    let (fixture, layers) = filled();
    let store = &fixture.store;
    let base = store.resolve("z:1").unwrap();
    let added = layer("d", "4");
    let changes: Vec<Change> =
        [r#"CMD ["run"]"#, "ENV B=$PATH:/b"].iter().map(|line| line.parse().unwrap()).collect();
    let edit = ConfigEdit {
        name: Some("new:1".parse().unwrap()),
        changes,
        author: Some("A".to_owned()),
        message: Some("why".to_owned()),
        created_by: Some("layerctl commit".to_owned()),
        created: Some(crate::types::Timestamp { secs: 1_000_000_000, nanos: 0 }),
    };
    let make = || {
        let mut writer = store.stage_layer("new").unwrap();
        writer.write_all(&added).unwrap();
        store.add_image(Some(&base), writer.finish().unwrap(), &edit).unwrap()
    };
    let made = make();
    assert_eq!(make(), made, "the same image each time");
    let image = store.resolve("new:1").unwrap();
    assert_eq!(image.id(), made.id);
    let ids: Vec<String> = image.diff_ids().iter().map(|id| id.hex()).collect();
    assert_eq!(ids, [hex(&layers[0]), hex(&layers[2]), hex(&added)]);
    let document = image.inspect();
    assert_eq!(document["Config"], json!({"Cmd": ["run"], "Env": ["PATH=/bin", "B=/bin:/b"]}));
    assert_eq!(document["Created"], json!("2001-09-09T01:46:40Z"));
    assert_eq!((&document["Author"], &document["Comment"]), (&json!("A"), &json!("why")));
    let history: Vec<_> = image.history().into_iter().map(|one| (one.created_by, one.size)).collect();
    let size = added.len() as u64;
    let (new, old) = ("layerctl commit".to_owned(), |n| format!("step {n}"));
    assert_eq!(history, [(new, size), (old(1), size), (old(0), size)]);
    assert!(fixture.verify().is_empty());
}

#[test]
fn an_image_of_one_tar_is_made() {
    let fixture = Fixture::new();
    let path = fixture.dir.path().join("one.tgz");
    std::fs::write(&path, gzip(&layer("a", "1"))).unwrap();
    let edit = ConfigEdit { name: Some("one".parse().unwrap()), ..ConfigEdit::default() };
    let made = fixture.store.import_layer(LoadSource::Path(path), &edit, &Silent).unwrap();
    let image = fixture.store.resolve("one").unwrap();
    assert_eq!((image.id(), image.diff_ids()[0].hex()), (made.id, hex(&layer("a", "1"))));
    assert_eq!(image.history().len(), 1);
    // What is no tar leaves nothing.
    let before = fixture.tree();
    let path = fixture.dir.path().join("letter");
    std::fs::write(&path, "not a tar").unwrap();
    assert!(fixture.store.import_layer(LoadSource::Path(path), &edit, &Silent).is_err());
    assert_eq!(fixture.tree(), before);
}

#[test]
fn what_is_damaged_is_said_in_words() {
    let (fixture, layers) = filled();
    let root = fixture.root();
    let replace = |path: PathBuf, bytes: &[u8]| {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    };
    replace(root.join("blobs/sha256").join(hex(&layers[1])), &layer("b", "X"));
    replace(root.join("layerfs/index").join(hex(&layers[2])), b"no index");
    std::fs::remove_file(root.join("layerfs/index").join(hex(&layers[0]))).unwrap();
    std::fs::write(root.join("blobs/sha256/notes"), "").unwrap();
    let findings = fixture.verify();
    assert_eq!(findings.len(), 4, "{findings:?}");
    let told = |about: &str, what: &str| {
        assert!(
            findings.iter().any(|f| f.starts_with(about) && f.contains(what)),
            "{about} {what}: {findings:?}"
        );
    };
    told(&format!("layer sha256:{}", hex(&layers[1])), "its blob is damaged");
    told(&format!("layer sha256:{}", hex(&layers[2])), "its index is damaged");
    told(&format!("layer sha256:{}", hex(&layers[0])), "its index is missing");
    told("blobs/sha256/notes", "no file of the cache");
    let image = fixture.store.resolve("z:1").unwrap();
    fixture.store.layers(&image).unwrap();
    assert_eq!(fixture.store.verify(Some("z:1"), &Silent).unwrap(), [], "indexes are made again when needed");
    std::fs::remove_file(root.join("blobs/sha256").join(image.id().hex())).unwrap();
    let findings = fixture.verify();
    assert!(findings.iter().any(|f| f.starts_with("image z:1") && f.contains("is missing")), "{findings:?}");
}

#[test]
fn damaged_documents_are_healed_by_loading_or_removed_by_force() {
    let (fixture, layers) = filled();
    let store = &fixture.store;
    let image = store.resolve("z:1").unwrap();
    let damage = || {
        let path = fixture.root().join("blobs/sha256").join(image.id().hex());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, vec![b' '; bytes.len()]).unwrap();
    };
    damage();
    assert!(error(store.resolve("z:1")).contains("damaged"));
    assert_eq!(fixture.names().len(), 2, "the others are seen");
    fixture.load(&docker_archive(&["z:1"], &[&layers[0], &layers[2]]).tar()).unwrap();
    assert_eq!((fixture.names().len(), fixture.verify().len()), (3, 0));
    damage();
    assert!(error(store.remove("z:1", false)).contains("damaged"));
    assert_eq!(lines(store.remove("z:1", true).unwrap()), ["Untagged: z:1"]);
    assert_eq!(fixture.verify(), [""; 0]);
}

#[test]
fn a_cache_that_may_only_be_read_is_read() {
    let (fixture, _) = filled();
    // As `Store::open` makes it for a user without the right to write: the tests may run as root.
    let store = Store { writable: false, ..fixture.store.clone() };
    let before = fixture.tree();
    let image = store.resolve("x:1").unwrap();
    assert_eq!((store.images().unwrap().len(), store.layers(&image).unwrap().len()), (3, 2));
    assert_eq!(store.verify(None, &Silent).unwrap(), []);
    assert_eq!(store.gc(true).unwrap(), Garbage::default());
    let record = MountRecord {
        image: Some(image.id()),
        layers: image.diff_ids().to_vec(),
        name: "x:1".to_owned(),
        mount_point: "/mnt".into(),
        upper: None,
        work: None,
        pid: 1,
    };
    let guard = store.register_mount(record).unwrap();
    assert_eq!(store.mounts().unwrap(), []);
    drop(guard);
    let refused = |error: String| {
        assert!(error.ends_with("is read-only for this user: use --root, or become its owner"))
    };
    refused(error(store.remove("x:1", true)));
    refused(error(store.tag("x:1", &"n".parse().unwrap())));
    refused(error(store.gc(false)));
    refused(error(store.stage_layer("x")));
    let path = fixture.dir.path().join("archive");
    refused(error(store.load(LoadSource::Path(path.clone()), &Silent)));
    refused(error(store.import_layer(LoadSource::Path(path), &ConfigEdit::default(), &Silent)));
    assert_eq!(fixture.tree(), before);
}
