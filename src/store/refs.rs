//! index.json: which images the cache has, and their names.
//!
//! One descriptor for each name, and one without a name for an image that has none. Descriptors that are
//! not ours stay as they are.

use super::digest::BlobDigest;
use super::disk::Dir;
use super::documents::{canonical, descriptor, digest_in};
use super::error::{Result, StoreError};
use super::name::Name;
use super::root::Paths;
use super::work::WorkDir;
use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex, MediaType};
use std::collections::HashMap;

/// Annotation with the digest of the manifest that an image was imported from.
pub(super) const ORIGINAL_DIGEST: &str = "io.layerfs.original.digest";

/// One image of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ref {
    /// Its name.
    pub(super) name: Option<Name>,
    /// Its manifest in the cache.
    pub(super) manifest: BlobDigest,
    /// The manifest that it was imported from.
    pub(super) original: Option<BlobDigest>,
}

impl Ref {
    /// How a message calls it: by name, else by the digest of its manifest.
    pub(super) fn title(&self) -> String {
        self.name.as_ref().map_or_else(|| self.manifest.to_string(), Name::to_string)
    }
}

/// The contents of index.json.
#[derive(Clone, Debug)]
pub(super) struct Refs {
    index: ImageIndex,
    /// What the index lists; its own list is empty.
    manifests: Vec<Descriptor>,
}

/// An index.json that is written, and not yet in its place.
#[derive(Debug)]
pub(super) struct Prepared {
    name: String,
}

impl Prepared {
    /// Puts it in its place. The caller has held the lock since the old one was read.
    pub(super) fn publish(self, paths: &Paths, work: &WorkDir) -> Result<()> {
        let root = Dir::open(paths.root())?;
        work.dir().move_file(&self.name, &root, "index.json")?;
        root.sync()
    }
}

impl Refs {
    /// An index of nothing.
    pub(super) fn empty() -> Refs {
        let mut index = ImageIndex::default();
        index.set_media_type(Some(MediaType::ImageIndex));
        Refs { index, manifests: Vec::new() }
    }

    pub(super) fn read(paths: &Paths) -> Result<Refs> {
        let path = paths.index_file();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Refs::empty()),
            Err(e) => return Err(StoreError::io("read", &path)(e)),
        };
        let mut index: ImageIndex = serde_json::from_slice(&bytes)
            .map_err(|e| StoreError::Document { what: path.display().to_string(), reason: e.to_string() })?;
        let manifests = index.manifests().clone();
        index.set_manifests(Vec::new());
        Ok(Refs { index, manifests })
    }

    /// Replaces index.json in one step. The caller holds the lock.
    pub(super) fn write(&self, paths: &Paths, work: &WorkDir) -> Result<()> {
        self.prepare(work)?.publish(paths, work)
    }

    /// Writes what index.json is to become, beside it.
    pub(super) fn prepare(&self, work: &WorkDir) -> Result<Prepared> {
        let mut index = self.index.clone();
        index.set_manifests(self.manifests.clone());
        let name = work.fresh_name("index.json.");
        work.dir().write_file(&name, 0o644, &canonical(&index)?)?;
        Ok(Prepared { name })
    }

    /// The images, in the order of the index.
    pub(super) fn images(&self) -> Vec<Ref> {
        self.manifests.iter().filter_map(as_ref).collect()
    }

    /// All descriptors, also those that are not ours.
    pub(super) fn descriptors(&self) -> &[Descriptor] {
        &self.manifests
    }

    /// Gives an image a name, or none. An image that loses its last name by it stays, without a name.
    pub(super) fn set(&mut self, image: &Ref, size: u64) -> Result<()> {
        let mut added = descriptor(MediaType::ImageManifest, image.manifest, size)?;
        let mut notes = HashMap::new();
        if let Some(name) = &image.name {
            notes.insert(ANNOTATION_REF_NAME.to_owned(), name.to_string());
        }
        // A docker-archive of the image does not know it; what another import knew stays true.
        let known = || self.images().into_iter().find(|one| one.manifest == image.manifest)?.original;
        if let Some(original) = image.original.or_else(known) {
            notes.insert(ORIGINAL_DIGEST.to_owned(), original.to_string());
        }
        if !notes.is_empty() {
            added.set_annotations(Some(notes));
        }
        match &image.name {
            None if self.has(image.manifest) => return Ok(()),
            None => {}
            // The new name is a reason to be of its own.
            Some(name) => {
                self.unname(name);
                self.manifests.retain(|one| !is_nameless(one, image.manifest));
            }
        }
        self.manifests.push(added);
        Ok(())
    }

    /// Takes a name away; the image stays, if need be without a name.
    pub(super) fn unname(&mut self, name: &Name) {
        let named = |one: &Descriptor| as_ref(one).is_some_and(|image| image.name.as_ref() == Some(name));
        let Some(at) = self.manifests.iter().position(named) else {
            return;
        };
        let mut taken = self.manifests.remove(at);
        let Some(image) = as_ref(&taken) else {
            return;
        };
        if !self.has(image.manifest) {
            let mut notes = taken.annotations().clone().unwrap_or_default();
            notes.remove(ANNOTATION_REF_NAME);
            taken.set_annotations((!notes.is_empty()).then_some(notes));
            self.manifests.insert(at, taken);
        }
    }

    /// Takes an image out with all its names.
    pub(super) fn remove(&mut self, manifest: BlobDigest) {
        self.manifests.retain(|one| digest_in(one, "index.json").ok() != Some(manifest));
    }

    /// The image that has a name.
    pub(super) fn named(&self, name: &Name) -> Option<Ref> {
        self.images().into_iter().find(|one| one.name.as_ref() == Some(name))
    }

    fn has(&self, manifest: BlobDigest) -> bool {
        self.images().iter().any(|image| image.manifest == manifest)
    }
}

fn annotation<'a>(descriptor: &'a Descriptor, key: &str) -> Option<&'a str> {
    descriptor.annotations().as_ref()?.get(key).map(String::as_str)
}

/// What a descriptor says of an image; nothing where it is none of ours.
fn as_ref(descriptor: &Descriptor) -> Option<Ref> {
    if *descriptor.media_type() != MediaType::ImageManifest {
        return None;
    }
    Some(Ref {
        // A name that another program wrote, and that is none here, is no reason to hide the image.
        name: annotation(descriptor, ANNOTATION_REF_NAME).and_then(|name| name.parse().ok()),
        manifest: digest_in(descriptor, "index.json").ok()?,
        original: annotation(descriptor, ORIGINAL_DIGEST).and_then(|digest| digest.parse().ok()),
    })
}

fn is_nameless(descriptor: &Descriptor, manifest: BlobDigest) -> bool {
    as_ref(descriptor).is_some_and(|image| image.name.is_none() && image.manifest == manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, manifest: u8) -> Ref {
        Ref {
            name: name.parse().ok(),
            manifest: BlobDigest::from_bytes([manifest; 32]),
            original: Some(BlobDigest::from_bytes([9; 32])),
        }
    }

    fn dump(refs: &Refs) -> Vec<String> {
        let line = |one: Ref| {
            format!("{} {}", one.name.map_or("-".to_owned(), |n| n.to_string()), one.manifest.as_bytes()[0])
        };
        refs.images().into_iter().map(line).collect()
    }

    #[test]
    fn a_name_moves_and_leaves_the_image() {
        let mut refs = Refs::empty();
        refs.set(&image("a", 1), 10).unwrap();
        refs.set(&image("b", 1), 10).unwrap();
        refs.set(&image("a", 2), 10).unwrap();
        assert_eq!(dump(&refs), ["b:latest 1", "a:latest 2"]);
        refs.set(&image("b", 2), 10).unwrap();
        assert_eq!(dump(&refs), ["- 1", "a:latest 2", "b:latest 2"]);
        assert_eq!(refs.images()[0].original, Some(BlobDigest::from_bytes([9; 32])));
    }

    #[test]
    fn an_image_without_name_is_there_once_and_only_while_nameless() {
        let mut refs = Refs::empty();
        refs.set(&image("", 1), 10).unwrap();
        refs.set(&image("", 1), 10).unwrap();
        assert_eq!(dump(&refs), ["- 1"]);
        refs.set(&image("a", 1), 10).unwrap();
        refs.set(&image("", 1), 10).unwrap();
        assert_eq!(dump(&refs), ["a:latest 1"]);
        refs.unname(&"a".parse().unwrap());
        assert_eq!(dump(&refs), ["- 1"]);
        refs.remove(BlobDigest::from_bytes([1; 32]));
        assert!(dump(&refs).is_empty());
    }

    #[test]
    fn descriptors_of_others_stay() {
        let mut refs = Refs::empty();
        let other = descriptor(MediaType::ImageIndex, BlobDigest::from_bytes([7; 32]), 3).unwrap();
        refs.manifests.push(other.clone());
        refs.set(&image("a", 1), 10).unwrap();
        refs.unname(&"a".parse().unwrap());
        assert_eq!((refs.descriptors()[0].clone(), dump(&refs)), (other, vec!["- 1".to_owned()]));
    }
}
