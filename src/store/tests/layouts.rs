//! Every form in which images come.

use super::*;
use crate::store::tar::testing::layer_as_text;

/// What the layers of an image show, base first.
fn shown(fixture: &Fixture, image: &str) -> Vec<String> {
    let image = fixture.store.resolve(image).unwrap();
    fixture.store.layers(&image).unwrap().iter().map(|layer| layer_as_text(layer)).collect()
}

#[test]
fn all_forms_of_one_image_give_the_same_image() {
    let (base, top) = (layer("a", "base"), layer("b", "top"));
    let tars: [&[u8]; 2] = [&base, &top];
    let old = docker_archive(&["x:1"], &tars);
    let mut oci = Files::default();
    let (small, smaller) = (gzip(&base), zstd(&top));
    let kinds = [("application/vnd.oci.image.layer.v1.tar+gzip", &small[..]), (OCI_LAYER, &smaller[..])];
    let manifest = oci_manifest(&mut oci, &kinds, &tars);
    oci_index(&mut oci, &[named(manifest, "x:1")]);
    let mut new = oci.clone();
    let config = config(&tars);
    let config_file = format!("blobs/sha256/{}", hex(&config));
    let layers: Vec<String> =
        tars.iter().map(|tar| new.blob(tar).replace("sha256:", "blobs/sha256/")).collect();
    let entry = json!([{"Config": config_file, "RepoTags": ["x:1"], "Layers": layers}]);
    new.put("manifest.json", entry.to_string());
    let forms = [
        ("the old layout", old.tar()),
        ("the old layout, gzipped", gzip(&old.tar())),
        ("the new layout", new.tar()),
        ("an OCI archive", oci.tar()),
        ("an OCI archive as zstd", zstd(&oci.tar())),
    ];
    let expected = format!("x:1 {}", short_id(&tars));
    let mut blobs = Vec::new();
    for (form, bytes) in forms {
        let fixture = Fixture::new();
        let loaded = fixture.load(&bytes).unwrap();
        assert_eq!(loaded[0].id.hex(), hex(&config), "{form}");
        assert_eq!(fixture.names().concat(), expected, "{form}");
        let text = shown(&fixture, "x:1");
        assert!(text[0].contains("/a Regular") && text[1].contains("/b Regular"), "{form}: {text:?}");
        let mut tree = fixture.tree();
        tree.remove("index.json");
        blobs.push(tree);
    }
    assert!(blobs.windows(2).all(|pair| pair[0] == pair[1]), "blobs and indexes are the same bytes");
    assert_eq!(blobs[0][&format!("blobs/sha256/{}", hex(&base))], base, "layers are kept uncompressed");
    assert_eq!(blobs[0][&config_file], config, "configs are kept verbatim");
}

#[test]
fn directories_and_pipes_are_read_as_well() {
    let tar = layer("a", "1");
    let mut oci = Files::default();
    let manifest = oci_manifest(&mut oci, &[(OCI_LAYER, &tar)], &[&tar]);
    oci_index(&mut oci, &[named(manifest, "x")]);
    let fixture = Fixture::new();
    let path = fixture.dir.path().join("layout");
    oci.directory(&path);
    fixture.store.load(LoadSource::Path(path), &Silent).unwrap();
    assert_eq!(fixture.names(), [format!("x:latest {}", short_id(&[&tar]))]);
    for bytes in [oci.tar(), gzip(&oci.tar())] {
        let fixture = Fixture::new();
        let (read, mut write) = std::io::pipe().unwrap();
        let source =
            LoadSource::File(std::fs::File::from(std::os::fd::OwnedFd::from(read)), "a pipe".to_owned());
        std::thread::scope(|scope| {
            scope.spawn(move || write.write_all(&bytes).unwrap());
            fixture.store.load(source, &Silent).unwrap();
        });
        assert_eq!(fixture.names().len(), 1);
    }
}

#[test]
fn equal_layers_are_symlinks_in_the_old_layout() {
    let (base, top) = (layer("a", "1"), layer("b", "2"));
    let tars: [&[u8]; 3] = [&base, &top, &base];
    let mut files = docker_archive(&["x"], &tars);
    files.0.remove("layer2/layer.tar");
    let mut bytes = files.tar();
    bytes.truncate(bytes.len() - 1024);
    let mut builder = ::tar::Builder::new(bytes);
    let mut header = ::tar::Header::new_gnu();
    header.set_entry_type(::tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "layer2/layer.tar", "../layer0/layer.tar").unwrap();
    let fixture = Fixture::new();
    fixture.load(&builder.into_inner().unwrap()).unwrap();
    let image = fixture.store.resolve("x").unwrap();
    let ids: Vec<String> = image.diff_ids().iter().map(|id| id.hex()).collect();
    assert_eq!(ids, [hex(&base), hex(&top), hex(&base)]);
    assert_eq!(fixture.store.layers(&image).unwrap().len(), 3);
    assert!(fixture.verify().is_empty());
}

#[test]
fn every_image_and_every_name_comes_in() {
    let (one, two) = (layer("a", "1"), layer("b", "2"));
    let mut files = Files::default();
    let first = oci_manifest(&mut files, &[(OCI_LAYER, &one)], &[&one]);
    let second = oci_manifest(&mut files, &[(OCI_LAYER, &two)], &[&two]);
    let mut third = named(first.clone(), "latest");
    third["annotations"]["io.containerd.image.name"] = json!("docker.io/library/full:2");
    oci_index(&mut files, &[named(first, "x:1"), third, second.clone(), named(second, "Not A Name")]);
    let fixture = Fixture::new();
    fixture.load(&files.tar()).unwrap();
    let (a, b) = (short_id(&[&one]), short_id(&[&two]));
    assert_eq!(fixture.names(), [format!("x:1 {a}"), format!("full:2 {a}"), format!("- {b}")]);
}

#[test]
fn of_several_platforms_this_machines_is_taken() {
    let (here, there) = (layer("a", "here"), layer("a", "there"));
    let arch = crate::store::platform::architecture();
    let mut files = Files::default();
    let mut other = oci_manifest(&mut files, &[(OCI_LAYER, &there)], &[&there]);
    other["platform"] = json!({"os": "linux", "architecture": "pdp11"});
    let mut ours = oci_manifest(&mut files, &[(OCI_LAYER, &here)], &[&here]);
    ours["platform"] = json!({"os": "linux", "architecture": arch});
    let mut note = other.clone();
    note["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    for (manifests, taken) in [
        (vec![other.clone(), ours.clone(), note.clone()], &here),
        (vec![note.clone(), other.clone()], &there),
    ] {
        let inner = json!({"schemaVersion": 2, "manifests": manifests}).to_string().into_bytes();
        let digest = files.blob(&inner);
        let list = "application/vnd.docker.distribution.manifest.list.v2+json";
        let outer = json!({"mediaType": list, "digest": digest, "size": inner.len()});
        for index in [vec![named(outer, "x")], manifests.iter().map(|one| named_beside(one, "x")).collect()] {
            let mut files = files.clone();
            oci_index(&mut files, &index);
            let fixture = Fixture::new();
            fixture.load(&files.tar()).unwrap();
            assert_eq!(fixture.names(), [format!("x:latest {}", short_id(&[taken]))]);
        }
    }
}

/// The descriptor with a name beside its other annotations.
fn named_beside(descriptor: &Value, name: &str) -> Value {
    let mut named = descriptor.clone();
    named["annotations"]["org.opencontainers.image.ref.name"] = json!(name);
    named
}

#[test]
fn layers_that_are_there_are_not_read_again() {
    let tar = layer("a", "1");
    let fixture = Fixture::new();
    fixture.load(&docker_archive(&["x:1"], &[&tar]).tar()).unwrap();
    let mut again = docker_archive(&["x:2"], &[&tar]);
    again.put("layer0/layer.tar", "this is not read");
    fixture.load(&again.tar()).unwrap();
    let id = short_id(&[&tar]);
    assert_eq!(fixture.names(), [format!("x:1 {id}"), format!("x:2 {id}")]);
}
