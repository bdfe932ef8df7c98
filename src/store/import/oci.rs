//! OCI image layouts: directories and archives, as skopeo, umoci, buildah and docker's buildx write them.
//!
//! index.json leads to manifests, or to indexes of one image for several platforms, of which this machine's
//! is taken.

use super::archive::Archive;
use super::plan::{Expected, PlannedImage, PlannedLayer, check_count};
use crate::store::digest::BlobDigest;
use crate::store::documents::{ImageConfig, digest_in, digest_of, document_error, parse_manifest};
use crate::store::error::{Result, StoreError};
use crate::store::name::Name;
use crate::store::platform;
use crate::store::progress::Progress;
use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex, ImageManifest, MediaType};

/// The full name that containerd and buildx give; ref.name is only the tag then.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// How deep indexes may lie inside each other: one level is usual.
const DEEPEST: usize = 8;

/// What a descriptor leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Index,
    Manifest,
    SchemaOne,
    Other,
}

fn kind(descriptor: &Descriptor) -> Kind {
    match descriptor.media_type() {
        MediaType::ImageIndex => Kind::Index,
        MediaType::ImageManifest => Kind::Manifest,
        MediaType::Other(name) => match name.as_str() {
            "application/vnd.docker.distribution.manifest.list.v2+json" => Kind::Index,
            "application/vnd.docker.distribution.manifest.v2+json" => Kind::Manifest,
            "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Kind::SchemaOne,
            _ => Kind::Other,
        },
        _ => Kind::Other,
    }
}

/// The images of a layout; nothing where it is none.
pub(super) fn plan(archive: &Archive, progress: &dyn Progress) -> Result<Option<Vec<PlannedImage>>> {
    if archive.find("index.json")?.is_none() {
        return Ok(None);
    }
    let index = parse_index(&archive.document("index.json")?, &format!("{}: index.json", archive.title))?;
    let mut images: Vec<PlannedImage> = Vec::new();
    for group in groups(index.manifests(), progress) {
        for descriptor in choose(&group.descriptors, group.name.is_some()) {
            let Some(mut image) = plan_descriptor(archive, descriptor, 0, progress)? else { continue };
            image.names.extend(group.name.clone());
            // An image with several tags has a descriptor for each.
            match images.iter_mut().find(|known| known.config.id() == image.config.id()) {
                Some(known) => known.names.extend(image.names),
                None => images.push(image),
            }
        }
    }
    Ok(Some(images))
}

/// The descriptors of one name, or those without any.
struct Group<'a> {
    name: Option<Name>,
    descriptors: Vec<&'a Descriptor>,
}

fn groups<'a>(descriptors: &'a [Descriptor], progress: &dyn Progress) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for descriptor in descriptors {
        let name = name_of(descriptor, progress);
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.descriptors.push(descriptor),
            None => groups.push(Group { name, descriptors: vec![descriptor] }),
        }
    }
    groups
}

fn annotation<'a>(descriptor: &'a Descriptor, key: &str) -> Option<&'a str> {
    descriptor.annotations().as_ref()?.get(key).map(String::as_str)
}

fn name_of(descriptor: &Descriptor, progress: &dyn Progress) -> Option<Name> {
    let text =
        annotation(descriptor, CONTAINERD_NAME).or_else(|| annotation(descriptor, ANNOTATION_REF_NAME))?;
    match text.parse() {
        Ok(name) => Some(name),
        Err(e) => {
            progress.message(&format!("loaded without a name: {e}"));
            None
        }
    }
}

/// Of one image for several platforms this machine's, else the first; of different images all.
fn choose<'a>(descriptors: &[&'a Descriptor], one_image: bool) -> Vec<&'a Descriptor> {
    let images: Vec<&Descriptor> = descriptors.iter().copied().filter(|one| !is_attestation(one)).collect();
    let platforms = images.iter().all(|one| one.platform().is_some());
    if images.len() < 2 || !(one_image || platforms) {
        return images;
    }
    let fitting = images.iter().max_by_key(|one| {
        // The last of equals would win: the first shall.
        let at = images.iter().position(|other| std::ptr::eq(*other, **one)).unwrap_or(0);
        (one.platform().as_ref().map_or(0, platform::fitness), usize::MAX - at)
    });
    fitting.copied().into_iter().collect()
}

/// What buildx puts beside an image: no image, though its descriptor is one of a manifest.
fn is_attestation(descriptor: &Descriptor) -> bool {
    annotation(descriptor, "vnd.docker.reference.type") == Some("attestation-manifest")
}

fn plan_descriptor(
    archive: &Archive,
    descriptor: &Descriptor,
    depth: usize,
    progress: &dyn Progress,
) -> Result<Option<PlannedImage>> {
    let what = format!("{}: {}", archive.title, descriptor.digest());
    match kind(descriptor) {
        Kind::Manifest => plan_manifest(archive, descriptor, progress),
        Kind::Index if depth < DEEPEST => {
            let digest = digest_in(descriptor, &what)?;
            let bytes = archive.checked_document(&blob_file(digest), &expected(descriptor, digest))?;
            let index = parse_index(&bytes, &what)?;
            let all: Vec<&Descriptor> = index.manifests().iter().collect();
            let chosen = choose(&all, true);
            let Some(chosen) = chosen.first() else { return Ok(None) };
            plan_descriptor(archive, chosen, depth + 1, progress)
        }
        Kind::Index => Err(StoreError::Unsupported { what, why: "indexes lie too deep inside each other" }),
        Kind::SchemaOne => Err(StoreError::Unsupported {
            what,
            why: "manifests of schema version 1 are not taken: save or push the image again with docker 1.10 \
                  or later",
        }),
        Kind::Other => {
            progress.message(&format!("{what}: passed over, a {} is no image", descriptor.media_type()));
            Ok(None)
        }
    }
}

fn plan_manifest(
    archive: &Archive,
    descriptor: &Descriptor,
    progress: &dyn Progress,
) -> Result<Option<PlannedImage>> {
    let what = format!("{}: manifest {}", archive.title, descriptor.digest());
    let digest = digest_in(descriptor, &what)?;
    let bytes = archive.checked_document(&blob_file(digest), &expected(descriptor, digest))?;
    let manifest = parse_manifest(&bytes, &what)?;
    if !is_image(&manifest) {
        progress.message(&format!("{what}: passed over, a {} is no image", manifest.config().media_type()));
        return Ok(None);
    }
    let config = digest_in(manifest.config(), &what)?;
    let bytes = archive.checked_document(&blob_file(config), &expected(manifest.config(), config))?;
    let config = ImageConfig::parse(bytes, &format!("{}: config {config}", archive.title))?;
    check_count(&what, &config, manifest.layers().len())?;
    let mut layers = Vec::new();
    for layer in manifest.layers() {
        layers.push(plan_layer(layer, &what)?);
    }
    Ok(Some(PlannedImage { names: Vec::new(), config, layers, original: Some(digest) }))
}

fn is_image(manifest: &ImageManifest) -> bool {
    match manifest.config().media_type() {
        MediaType::ImageConfig => true,
        MediaType::Other(name) => name == "application/vnd.docker.container.image.v1+json",
        _ => false,
    }
}

fn plan_layer(layer: &Descriptor, what: &str) -> Result<PlannedLayer> {
    let media_type = layer.media_type().to_string();
    let refused = |why| StoreError::Unsupported { what: format!("{what}: layer {}", layer.digest()), why };
    if media_type.ends_with("+encrypted") {
        return Err(refused(
            "the layer is encrypted: decrypt the image first, with `skopeo copy --decryption-key`",
        ));
    }
    if media_type.contains("nondistributable") || media_type.contains("foreign") {
        return Err(refused(
            "the layer is a foreign one, which archives do not carry: there is no way to load it",
        ));
    }
    let digest = digest_in(layer, what)?;
    Ok(PlannedLayer { file: blob_file(digest), blob: Some(expected(layer, digest)) })
}

fn blob_file(digest: BlobDigest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn expected(descriptor: &Descriptor, digest: BlobDigest) -> Expected {
    Expected { digest, size: Some(descriptor.size()) }
}

fn parse_index(bytes: &[u8], what: &str) -> Result<ImageIndex> {
    serde_json::from_slice(bytes).map_err(|e| document_error(&format!("{what} ({})", digest_of(bytes)), e))
}
