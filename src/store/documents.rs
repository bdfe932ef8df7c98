//! Image documents: manifests and configs, as OCI and docker write them.
//!
//! 1. *A config's bytes are its identity.* [`ImageConfig`] keeps them; what it knows of them is a view.
//! 2. *Other programs' documents are looser than the specification.* Null for an empty list, fields and
//!    media types of docker's: all are taken, and unknown fields survive an edit, since edits work on the
//!    document itself.
//! 3. *Equal images must have equal documents.* What is written here has its keys sorted.

use super::digest::{BlobDigest, DiffId, Hasher};
use super::error::{Result, StoreError};
use crate::types::Timestamp;
use oci_spec::image::{
    Descriptor, Digest, History, ImageConfiguration, ImageManifest, MediaType, SCHEMA_VERSION,
};
use serde::Serialize;
use serde_json::{Value, json};

/// Longest document that is read: docker's own limit for manifests is 4 MiB, and configs are smaller.
pub(super) const LONGEST_DOCUMENT: u64 = 16 << 20;

/// The config of an image.
#[derive(Clone, Debug)]
pub struct ImageConfig {
    id: BlobDigest,
    bytes: Vec<u8>,
    document: Value,
    view: ImageConfiguration,
    diff_ids: Vec<DiffId>,
}

impl ImageConfig {
    /// Reads a config; `what` names it in errors.
    pub(super) fn parse(bytes: Vec<u8>, what: &str) -> Result<ImageConfig> {
        let bad = |reason: String| StoreError::Document { what: what.to_owned(), reason };
        let document: Value = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        if !document.is_object() || document.get("rootfs").is_none() {
            return Err(bad("not the config of an image".to_owned()));
        }
        let view: ImageConfiguration =
            serde_json::from_value(normalised(document.clone())).map_err(|e| bad(e.to_string()))?;
        let mut diff_ids = Vec::new();
        for text in view.rootfs().diff_ids() {
            diff_ids.push(text.parse().map_err(|_| bad(format!("diff id {text:?} is not a sha256 digest")))?);
        }
        let layers = diff_ids.len();
        let made = history_of(&view).iter().filter(|entry| entry.empty_layer() != Some(true)).count();
        if made > layers {
            let other = format!("the history has {made} entries that made one");
            return Err(StoreError::LayerCount { image: what.to_owned(), layers, other });
        }
        Ok(ImageConfig { id: digest_of(&bytes), bytes, document, view, diff_ids })
    }

    /// The image id: the digest of the config.
    pub fn id(&self) -> BlobDigest {
        self.id
    }

    /// The bytes, as they were imported.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The document with all its fields.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The layers, base first.
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.diff_ids
    }

    /// The history, oldest first.
    pub fn history(&self) -> &[History] {
        history_of(&self.view)
    }

    /// When the image was made, where that is said.
    pub fn created(&self) -> Option<Timestamp> {
        self.view.created().as_deref().and_then(parse_time)
    }

    /// A text field of the document; empty where it has none.
    pub fn text(&self, key: &str) -> &str {
        self.document.get(key).and_then(Value::as_str).unwrap_or("")
    }
}

fn history_of(view: &ImageConfiguration) -> &[History] {
    view.history().as_deref().unwrap_or(&[])
}

/// Fills what the specification requires, and old programs leave out or null.
fn normalised(mut document: Value) -> Value {
    for key in ["architecture", "os"] {
        if !document[key].is_string() {
            document[key] = json!("");
        }
    }
    if let Some(rootfs) = document["rootfs"].as_object_mut() {
        if rootfs.get("diff_ids").is_none_or(Value::is_null) {
            rootfs.insert("diff_ids".to_owned(), json!([]));
        }
        rootfs.entry("type").or_insert_with(|| json!("layers"));
    }
    // Its fields are looked at in the document only; one of an odd type is no reason to refuse the image.
    if let Some(fields) = document.as_object_mut() {
        fields.remove("config");
    }
    document
}

/// Reads a manifest; `what` names it in errors.
pub(super) fn parse_manifest(bytes: &[u8], what: &str) -> Result<ImageManifest> {
    let bad = |e: serde_json::Error| StoreError::Document { what: what.to_owned(), reason: e.to_string() };
    let document: Value = serde_json::from_slice(bytes).map_err(bad)?;
    if document["schemaVersion"] == json!(1) {
        let why = "manifests of schema version 1 are not taken: save or push the image again with docker 1.10 \
                   or later";
        return Err(StoreError::Unsupported { what: what.to_owned(), why });
    }
    serde_json::from_value(document).map_err(bad)
}

/// The manifest that the cache keeps of an image: made of the config and the layers alone, so that an image
/// has the same one whatever it was imported from.
pub(super) fn build_manifest(config: &ImageConfig, sizes: &[u64]) -> Result<Vec<u8>> {
    let descriptor = descriptor(MediaType::ImageConfig, config.id(), config.bytes().len() as u64)?;
    let mut layers = Vec::new();
    for (diff_id, size) in config.diff_ids().iter().zip(sizes) {
        layers.push(self::descriptor(MediaType::ImageLayer, diff_id.as_blob(), *size)?);
    }
    let manifest = oci_spec::image::ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(descriptor)
        .layers(layers)
        .build();
    canonical(&manifest.map_err(|e| document_error("manifest", e))?)
}

/// A descriptor of ours.
pub(super) fn descriptor(kind: MediaType, digest: BlobDigest, size: u64) -> Result<Descriptor> {
    let digest: Digest = digest.to_string().parse().map_err(|e| document_error("digest", e))?;
    Ok(Descriptor::new(kind, size, digest))
}

/// The digest in a descriptor; only sha256 is known.
pub(super) fn digest_in(descriptor: &Descriptor, what: &str) -> Result<BlobDigest> {
    descriptor.digest().as_ref().parse().map_err(|_| StoreError::Unsupported {
        what: format!("{what}: digest {}", descriptor.digest()),
        why: "only sha256 digests are known here",
    })
}

/// A document as JSON with sorted keys.
pub(super) fn canonical(document: &impl Serialize) -> Result<Vec<u8>> {
    let value = serde_json::to_value(document).map_err(|e| document_error("document", e))?;
    serde_json::to_vec(&value).map_err(|e| document_error("document", e))
}

pub(super) fn document_error(what: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Document { what: what.to_owned(), reason: error.to_string() }
}

/// The digest of bytes in memory.
pub(super) fn digest_of(bytes: &[u8]) -> BlobDigest {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish_blob()
}

/// Nanoseconds of a second.
const NANOS: i128 = 1_000_000_000;

/// Reads a time of RFC 3339.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    let nanos = time.as_nanosecond();
    Some(Timestamp {
        secs: i64::try_from(nanos.div_euclid(NANOS)).ok()?,
        nanos: u32::try_from(nanos.rem_euclid(NANOS)).ok()?,
    })
}

/// Writes a time as RFC 3339 in UTC, with nanoseconds where there are some.
pub(super) fn format_time(time: Timestamp) -> String {
    let known = jiff::Timestamp::new(time.secs, i32::try_from(time.nanos).unwrap_or(0));
    known.map_or_else(|_| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}

/// The time that new documents carry: `SOURCE_DATE_EPOCH` where it is set, else now.
pub(super) fn document_time() -> Result<Timestamp> {
    match std::env::var_os("SOURCE_DATE_EPOCH") {
        None => Ok(std::time::SystemTime::now().into()),
        Some(text) => epoch(text.to_str()),
    }
}

fn epoch(text: Option<&str>) -> Result<Timestamp> {
    let secs = text.and_then(|text| text.parse().ok());
    secs.map(|secs| Timestamp { secs, nanos: 0 })
        .ok_or_else(|| document_error("SOURCE_DATE_EPOCH", "not a number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ImageConfig> {
        ImageConfig::parse(text.as_bytes().to_vec(), "config")
    }

    #[test]
    fn loose_configs_are_taken_and_kept_verbatim() {
        let text = r#"{"rootfs": {"type":"layers","diff_ids":null}, "history": null, "x": 1,
            "config": {"Labels": null, "OnBuild": ["RUN x"], "ExposedPorts": []}}"#;
        let config = parse(text).unwrap();
        assert_eq!(config.bytes(), text.as_bytes());
        assert_eq!(config.id(), digest_of(text.as_bytes()));
        assert_eq!((config.diff_ids().len(), config.history().len(), config.created()), (0, 0, None));
        assert_eq!(config.document()["x"], json!(1));
    }

    #[test]
    fn what_is_no_config_is_refused_by_name() {
        for (text, reason) in [
            ("[]", "config: not the config of an image"),
            ("{}", "config: not the config of an image"),
            (r#"{"rootfs":{"diff_ids":["md5:1"]}}"#, "config: diff id \"md5:1\" is not a sha256 digest"),
            (
                r#"{"rootfs":{},"history":[{"created_by":"a"}]}"#,
                "image config: 0 layers, but the history has 1 entries that made one: nothing was stored",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), reason);
        }
    }

    #[test]
    fn manifests_are_the_same_each_time() {
        let hex = "11".repeat(32);
        let config = parse(&format!(r#"{{"rootfs":{{"diff_ids":["sha256:{hex}"]}}}}"#)).unwrap();
        let manifest = String::from_utf8(build_manifest(&config, &[7]).unwrap()).unwrap();
        let expected = format!(
            "{{\"config\":{{\"digest\":\"{}\",\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\
             \"size\":{}}},\"layers\":[{{\"digest\":\"sha256:{hex}\",\
             \"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"size\":7}}],\
             \"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"schemaVersion\":2}}",
            config.id(),
            config.bytes().len()
        );
        assert_eq!(manifest, expected);
        assert_eq!(parse_manifest(manifest.as_bytes(), "m").unwrap().layers().len(), 1);
    }

    #[test]
    fn schema_one_is_refused_with_the_way_out() {
        let error = parse_manifest(br#"{"schemaVersion":1,"name":"x"}"#, "old.tar: manifest").unwrap_err();
        assert!(error.to_string().starts_with("old.tar: manifest: manifests of schema version 1"), "{error}");
    }

    #[test]
    fn times_survive_in_all_their_forms() {
        for (text, secs, nanos) in [
            ("2015-10-31T22:22:56.015925234Z", 1_446_330_176, 15_925_234),
            ("2015-10-31T22:22:56+02:00", 1_446_322_976, 0),
            ("0001-01-01T00:00:00Z", -62_135_596_800, 0),
        ] {
            assert_eq!(parse_time(text), Some(Timestamp { secs, nanos }));
        }
        assert_eq!(parse_time("yesterday"), None);
        assert_eq!(format_time(Timestamp { secs: 0, nanos: 0 }), "1970-01-01T00:00:00Z");
        assert_eq!(format_time(Timestamp { secs: 1, nanos: 5 }), "1970-01-01T00:00:01.000000005Z");
        assert_eq!(epoch(Some("17")).unwrap().secs, 17);
        assert!(epoch(Some("x")).is_err() && epoch(None).is_err());
    }
}
