//! The cache as a whole, on images that are made here: what tools of others make is for the mount tests.

mod crash;
mod images;
mod layouts;
mod refused;
mod round_trip;

use super::documents::digest_of;
use super::tar::testing::TarBuilder;
use super::{ImageRef, LoadSource, Loaded, Result, Silent, Store};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The tar of a layer with one file.
fn layer(name: &str, data: &str) -> Vec<u8> {
    let mut bytes = TarBuilder::new().file(name, data).bytes;
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    digest_of(bytes).hex()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// The config of an image of these layers.
fn config(layers: &[&[u8]]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
    let history: Vec<Value> = (0..layers.len()).map(|n| json!({"created_by": format!("step {n}")})).collect();
    let document = json!({
        "architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05Z",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ids}, "history": history,
    });
    serde_json::to_vec(&document).unwrap()
}

/// The files of an archive.
#[derive(Clone, Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn put(&mut self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.0.insert(name.to_owned(), bytes.into());
    }

    fn blob(&mut self, bytes: &[u8]) -> String {
        self.put(&format!("blobs/sha256/{}", hex(bytes)), bytes);
        format!("sha256:{}", hex(bytes))
    }

    fn tar(&self) -> Vec<u8> {
        let mut builder = ::tar::Builder::new(Vec::new());
        for (name, bytes) in &self.0 {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, &bytes[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn directory(&self, path: &Path) {
        for (name, bytes) in &self.0 {
            let path = path.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}

/// A docker-archive of one image in the old layout.
fn docker_archive(tags: &[&str], layers: &[&[u8]]) -> Files {
    let mut files = Files::default();
    let config = config(layers);
    let name = format!("{}.json", hex(&config));
    let names: Vec<String> = (0..layers.len()).map(|n| format!("layer{n}/layer.tar")).collect();
    for (name, layer) in names.iter().zip(layers) {
        files.put(name, *layer);
    }
    let manifest = json!([{"Config": name, "RepoTags": tags, "Layers": names}]);
    files.put("manifest.json", manifest.to_string());
    files.put(&name, config);
    files
}

/// An OCI manifest of layers that are stored as they are given, for tars that they have.
fn oci_manifest(files: &mut Files, stored: &[(&str, &[u8])], tars: &[&[u8]]) -> Value {
    let config = config(tars);
    let digest = files.blob(&config);
    let layers: Vec<Value> = stored
        .iter()
        .map(|(kind, bytes)| json!({"mediaType": kind, "digest": files.blob(bytes), "size": bytes.len()}))
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "config": {"mediaType": OCI_CONFIG, "digest": digest, "size": config.len()},
        "layers": layers,
    });
    let bytes = manifest.to_string().into_bytes();
    json!({"mediaType": OCI_MANIFEST, "digest": files.blob(&bytes), "size": bytes.len()})
}

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Puts an index of these manifests into a layout.
fn oci_index(files: &mut Files, manifests: &[Value]) {
    files.put("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    files.put("index.json", json!({"schemaVersion": 2, "manifests": manifests}).to_string());
}

fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    descriptor
}

/// A cache in a directory of its own.
struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Fixture {
        // In memory where that can be: every step syncs.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let store = Store::open(&dir.path().join("root")).unwrap();
        Fixture { dir, store }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Loads an archive from a file.
    fn load(&self, bytes: &[u8]) -> Result<Vec<Loaded>> {
        let path = self.dir.path().join("archive");
        std::fs::write(&path, bytes).unwrap();
        self.store.load(LoadSource::Path(path), &Silent)
    }

    /// The names of the images, `-` for none, with the beginnings of their ids.
    fn names(&self) -> Vec<String> {
        let line = |one: ImageRef| {
            let name = one.name.map_or("-".to_owned(), |name| name.to_string());
            format!("{name} {}", &one.id.hex()[..4])
        };
        self.store.images().unwrap().into_iter().map(line).collect()
    }

    /// Every file below the root but the lock, with its bytes.
    fn tree(&self) -> BTreeMap<String, Vec<u8>> {
        let mut tree = BTreeMap::new();
        let mut waiting = vec![self.root()];
        while let Some(dir) = waiting.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    waiting.push(path);
                } else if !path.ends_with("layerfs/lock") {
                    let name = path.strip_prefix(self.root()).unwrap().to_str().unwrap().to_owned();
                    tree.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
        tree
    }

    /// What verify finds, as text.
    fn verify(&self) -> Vec<String> {
        self.store.verify(None, &Silent).unwrap().iter().map(ToString::to_string).collect()
    }
}

/// The beginning of the id of the image of these layers, as [`Fixture::names`] shows it.
fn short_id(layers: &[&[u8]]) -> String {
    hex(&config(layers))[..4].to_owned()
}
