//! The documents of the two forms of archive.

use super::Leaving;
use super::sink::Sink;
use crate::store::digest::BlobDigest;
use crate::store::documents::{canonical, descriptor, document_error};
use crate::store::error::Result;
use crate::store::name::Name;
use crate::store::refs::ORIGINAL_DIGEST;
use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex, MediaType, OciLayoutBuilder};
use serde_json::json;
use std::collections::{HashMap, HashSet};

/// The full name, for containerd and docker.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

fn put_bytes(sink: &mut dyn Sink, name: &str, bytes: &[u8]) -> Result<()> {
    sink.put(name, bytes.len() as u64, &mut &bytes[..])
}

/// Where an OCI layout has a blob.
pub(super) fn blob_name(digest: BlobDigest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// manifest.json comes first, so that who reads a stream knows what comes.
pub(super) fn write_docker(
    leaving: &[Leaving],
    layer_name: fn(BlobDigest) -> String,
    sink: &mut dyn Sink,
) -> Result<()> {
    let config_name = |one: &Leaving| format!("{}.json", one.image.id().hex());
    let entry = |one: &Leaving| {
        // The whole name: podman would take the familiar one for a name of this machine.
        let names: Vec<String> = one.names.iter().map(Name::full).collect();
        let layers: Vec<String> = one.layers.iter().map(|(digest, ..)| layer_name(*digest)).collect();
        // docker writes null where there are none.
        let names = (!names.is_empty()).then_some(names);
        json!({ "Config": config_name(one), "RepoTags": names, "Layers": layers })
    };
    let manifest: Vec<_> = leaving.iter().map(entry).collect();
    put_bytes(sink, "manifest.json", &canonical(&manifest)?)?;
    for one in leaving {
        put_bytes(sink, &config_name(one), one.image.config().bytes())?;
    }
    Ok(())
}

/// All of an OCI layout but the layers.
pub(super) fn write_oci(leaving: &[Leaving], sink: &mut dyn Sink) -> Result<()> {
    let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build();
    put_bytes(sink, "oci-layout", &canonical(&layout.map_err(|e| document_error("oci-layout", e))?)?)?;
    let mut index = ImageIndex::default();
    index.set_media_type(Some(MediaType::ImageIndex));
    let mut manifests = Vec::new();
    for one in leaving {
        let names: Vec<Option<&Name>> = match one.names[..] {
            [] => vec![None],
            _ => one.names.iter().map(Some).collect(),
        };
        for name in names {
            manifests.push(named_descriptor(one, name)?);
        }
    }
    index.set_manifests(manifests);
    put_bytes(sink, "index.json", &canonical(&index)?)?;
    let mut written = HashSet::new();
    for one in leaving {
        let documents =
            [(one.image.digest(), &one.manifest[..]), (one.image.id(), one.image.config().bytes())];
        for (digest, bytes) in documents {
            if written.insert(digest) {
                put_bytes(sink, &blob_name(digest), bytes)?;
            }
        }
    }
    Ok(())
}

fn named_descriptor(one: &Leaving, name: Option<&Name>) -> Result<Descriptor> {
    let mut manifest = descriptor(MediaType::ImageManifest, one.image.digest(), one.manifest.len() as u64)?;
    let mut notes = HashMap::new();
    if let Some(name) = name {
        notes.insert(ANNOTATION_REF_NAME.to_owned(), name.to_string());
        notes.insert(CONTAINERD_NAME.to_owned(), name.full());
    }
    if let Some(original) = one.image.original_digest() {
        notes.insert(ORIGINAL_DIGEST.to_owned(), original.to_string());
    }
    manifest.set_annotations((!notes.is_empty()).then_some(notes));
    Ok(manifest)
}
