//! What was loaded is had back: the same ids and the same bytes, each time.

use super::*;
use crate::store::SaveFormat;

/// A cache with two images, one of them with two names.
fn filled() -> (Fixture, Vec<u8>) {
    let (base, top) = (layer("a", "base"), layer("b", &"top ".repeat(1000)));
    let fixture = Fixture::new();
    fixture.load(&docker_archive(&["x:1", "localhost/y:2"], &[&base, &top]).tar()).unwrap();
    let mut oci = Files::default();
    let manifest = oci_manifest(&mut oci, &[(OCI_LAYER, &gzip(&base))], &[&base]);
    oci_index(&mut oci, &[named(manifest, "x:base")]);
    fixture.load(&oci.tar()).unwrap();
    (fixture, base)
}

fn save(fixture: &Fixture, images: &[&str], format: SaveFormat) -> Vec<u8> {
    let mut out = Vec::new();
    fixture.store.save(images, format, &mut out, &Silent).unwrap();
    out
}

#[test]
fn saved_and_loaded_again_it_is_the_same() {
    let (first, _) = filled();
    let images = ["x:1", "localhost/y:2", "x:base"];
    let mut expected = first.tree();
    let index = expected.remove("index.json").unwrap();
    for format in [SaveFormat::DockerArchive, SaveFormat::OciArchive] {
        let bytes = save(&first, &images, format);
        assert_eq!(bytes, save(&first, &images, format), "the same each time");
        let second = Fixture::new();
        second.load(&bytes).unwrap();
        let mut tree = second.tree();
        assert!(tree.remove("index.json").is_some());
        assert_eq!(tree, expected, "{format:?}");
        assert_eq!(second.names(), first.names(), "{format:?}");
    }
    let path = first.dir.path().join("saved");
    first.store.save_directory(&images, &path, &Silent).unwrap();
    let third = Fixture::new();
    third.store.load(LoadSource::Path(path.clone()), &Silent).unwrap();
    let mut tree = third.tree();
    assert!(
        tree.remove("index.json").is_some_and(|other| other != index),
        "originals are told of where known"
    );
    assert_eq!(tree, expected);
    let error = first.store.save_directory(&images, &path, &Silent).unwrap_err().to_string();
    assert!(error.contains("directory not empty"), "{error}");
}

#[test]
fn names_go_along_as_docker_lets_them() {
    let (fixture, base) = filled();
    let id = hex(&config(&[&base]));
    let tags = |images: &[&str]| {
        let bytes = save(&fixture, images, SaveFormat::DockerArchive);
        let mut archive = ::tar::Archive::new(&bytes[..]);
        let mut first = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(first.path().unwrap().to_str(), Some("manifest.json"));
        let manifest: Value = serde_json::from_reader(&mut first).unwrap();
        manifest.as_array().unwrap().iter().map(|one| one["RepoTags"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(tags(&["x:1"]), [r#"["docker.io/library/x:1"]"#]);
    assert_eq!(tags(&[&id[..12]]), ["null"]);
    assert_eq!(tags(&["x"]), [r#"["docker.io/library/x:1"]"#, r#"["docker.io/library/x:base"]"#]);
    let both = r#"["docker.io/library/x:1","localhost/y:2"]"#;
    assert_eq!(tags(&["x:1", "localhost/y:2", "x:1"]), [both]);
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let (fixture, base) = filled();
    let path = fixture.dir.path().join("out.tar");
    fixture.store.save_file(&["x:base"], SaveFormat::DockerArchive, &path, &Silent).unwrap();
    let first = std::fs::read(&path).unwrap();
    assert_eq!(first, save(&fixture, &["x:base"], SaveFormat::DockerArchive));
    fixture.store.save_file(&["x:1"], SaveFormat::DockerArchive, &path, &Silent).unwrap();
    let second = std::fs::read(&path).unwrap();
    assert_ne!(first, second);
    // A damaged blob must not get out, nor take the place of what is there.
    let blob = fixture.root().join("blobs/sha256").join(hex(&base));
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, layer("a", "bass")).unwrap();
    let error = fixture.store.save_file(&["x:1"], SaveFormat::DockerArchive, &path, &Silent).unwrap_err();
    assert!(error.to_string().contains("its blob is damaged"), "{error}");
    std::fs::write(&blob, &base[..100]).unwrap();
    let error = fixture.store.save_file(&["x:1"], SaveFormat::OciArchive, &path, &Silent).unwrap_err();
    assert!(error.to_string().contains("not as long as its manifest says"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), second);
    let beside = std::fs::read_dir(fixture.dir.path()).unwrap().map(|one| one.unwrap().file_name());
    let beside: Vec<_> = beside.filter(|name| name.to_str().unwrap().ends_with(".tmp")).collect();
    assert!(beside.is_empty(), "{beside:?}");
}

#[test]
fn a_writer_that_is_full_is_an_error() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::Error::from_raw_os_error(28));
            }
            let part = data.len().min(self.0);
            self.0 -= part;
            Ok(part)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (fixture, _) = filled();
    let whole = save(&fixture, &["x:1"], SaveFormat::DockerArchive).len();
    for room in [0, 1, 600, 5000, whole - 1] {
        let saved = fixture.store.save(&["x:1"], SaveFormat::DockerArchive, &mut Full(room), &Silent);
        assert_eq!(
            saved.unwrap_err().to_string(),
            "cannot write the archive: No space left on device",
            "room for {room}"
        );
    }
}
