//! Images of the cache: which there are, and which one is meant.

use super::Store;
use super::digest::{BlobDigest, DiffId};
use super::documents::{ImageConfig, LONGEST_DOCUMENT, digest_in, digest_of, document_error, parse_manifest};
use super::error::{Result, StoreError};
use super::lock;
use super::name::{Name, NameError, Reference};
use super::refs::{Ref, Refs};
use crate::types::Timestamp;
use oci_spec::image::ImageManifest;
use std::io::Read;

/// One line of the list of images: a name, or an image without one.
#[derive(Clone, Debug)]
pub struct ImageRef {
    /// The name.
    pub name: Option<Name>,
    /// The image id: the digest of its config.
    pub id: BlobDigest,
    /// The digest of its manifest in the cache.
    pub digest: BlobDigest,
    /// The digest of the manifest that it was imported from, where it had one.
    pub original: Option<BlobDigest>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Sizes of its layers, in bytes, together.
    pub size: u64,
}

/// An image with its config.
#[derive(Clone, Debug)]
pub struct Image {
    /// What was asked for.
    pub(super) asked: Asked,
    pub(super) names: Vec<Name>,
    pub(super) manifest: BlobDigest,
    pub(super) manifest_size: u64,
    pub(super) original: Option<BlobDigest>,
    pub(super) config: ImageConfig,
    pub(super) sizes: Vec<u64>,
}

/// How an image was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Name(Name),
    Digest(Reference),
    Id,
}

impl Image {
    /// The name it was asked for by, else its first one.
    pub fn name(&self) -> Option<&Name> {
        match &self.asked {
            Asked::Name(name) => Some(name),
            Asked::Digest(_) | Asked::Id => self.names.first(),
        }
    }

    /// All its names.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// The image id: the digest of its config.
    pub fn id(&self) -> BlobDigest {
        self.config.id()
    }

    /// The digest of its manifest in the cache.
    pub fn digest(&self) -> BlobDigest {
        self.manifest
    }

    /// The digest of the manifest that it was imported from, where it had one.
    pub fn original_digest(&self) -> Option<BlobDigest> {
        self.original
    }

    /// Its config.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// Its layers, base first.
    pub fn diff_ids(&self) -> &[DiffId] {
        self.config.diff_ids()
    }

    /// The sizes of its layers' tars in bytes, base first.
    pub fn layer_sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// Sizes of its layers, in bytes, together.
    pub fn size(&self) -> u64 {
        self.sizes.iter().sum()
    }

    /// How a message calls it: by name, else by id.
    pub fn title(&self) -> String {
        self.name().map_or_else(|| self.id().to_string(), Name::to_string)
    }

    /// The history entry of each layer, base first, where the history has one.
    pub fn layer_history(&self) -> Vec<Option<&oci_spec::image::History>> {
        let mut made = self.config.history().iter().filter(|entry| entry.empty_layer() != Some(true));
        self.diff_ids().iter().map(|_| made.next()).collect()
    }
}

impl Store {
    /// All images, in the order in which they came: one for each name, and those without a name. One that
    /// is damaged is left out, with a warning.
    pub fn images(&self) -> Result<Vec<ImageRef>> {
        let _lock = lock::shared(&self.paths)?;
        let mut images = Vec::new();
        for one in Refs::read(&self.paths)?.images() {
            let image = match self.read_image(&one) {
                Ok(image) => image,
                // The others are still to be seen; verify tells more.
                Err(e) => {
                    log::warn!("image {}: {e}", one.title());
                    continue;
                }
            };
            images.push(ImageRef {
                name: one.name,
                id: image.id(),
                digest: image.manifest,
                original: one.original,
                created: image.config.created(),
                size: image.size(),
            });
        }
        Ok(images)
    }

    /// The image of a name (`debian`, `debian:12`), of a name with a digest, of an id or of the beginning of
    /// one; at least two digits.
    pub fn resolve(&self, what: &str) -> Result<Image> {
        let _lock = lock::shared(&self.paths)?;
        self.resolve_locked(what)
    }

    /// The same while the caller holds the lock.
    pub(super) fn resolve_locked(&self, what: &str) -> Result<Image> {
        let refs = Refs::read(&self.paths)?.images();
        let reference = what.parse::<Reference>();
        if let Ok(reference) = &reference
            && let Some((found, asked)) = by_reference(&refs, reference)
        {
            return self.complete(&refs, found, asked);
        }
        let Some(digits) = id_digits(what) else {
            return Err(no_such(what, reference.err()));
        };
        let mut found: Vec<(&Ref, BlobDigest)> = Vec::new();
        for one in &refs {
            let id =
                self.read_manifest(one.manifest).and_then(|(manifest, _)| digest_in(manifest.config(), what));
            // A damaged image must not keep the others from being found by id.
            let Ok(id) = id else { continue };
            if id.hex().starts_with(digits) && !found.iter().any(|(_, known)| *known == id) {
                found.push((one, id));
            }
        }
        match found[..] {
            [] => Err(no_such(what, None)),
            [(one, _)] => self.complete(&refs, one, Asked::Id),
            _ => Err(StoreError::Ambiguous { what: what.to_owned(), count: found.len() }),
        }
    }

    fn complete(&self, refs: &[Ref], found: &Ref, asked: Asked) -> Result<Image> {
        let mut image = self.read_image(found)?;
        let same = refs.iter().filter(|one| one.manifest == found.manifest);
        image.names = same.filter_map(|one| one.name.clone()).collect();
        image.asked = asked;
        Ok(image)
    }

    /// Reads the documents of an image.
    pub(super) fn read_image(&self, one: &Ref) -> Result<Image> {
        let (manifest, manifest_size) = self.read_manifest(one.manifest)?;
        let title = one.title();
        let config = digest_in(manifest.config(), &title)?;
        let config = ImageConfig::parse(self.read_document(config)?, &title)?;
        let mut sizes = Vec::new();
        for (layer, diff_id) in manifest.layers().iter().zip(config.diff_ids()) {
            if digest_in(layer, &title)? != diff_id.as_blob() {
                let why = "its layers are compressed, so another program stored it; `layerctl load` of this \
                           directory stores it as needed";
                return Err(StoreError::Unsupported { what: format!("image {title}"), why });
            }
            sizes.push(layer.size());
        }
        if sizes.len() != config.diff_ids().len() || sizes.len() != manifest.layers().len() {
            let other = format!("its config has {}", config.diff_ids().len());
            return Err(StoreError::LayerCount { image: title, layers: manifest.layers().len(), other });
        }
        Ok(Image {
            asked: Asked::Id,
            names: one.name.iter().cloned().collect(),
            manifest: one.manifest,
            manifest_size,
            original: one.original,
            config,
            sizes,
        })
    }

    pub(super) fn read_manifest(&self, digest: BlobDigest) -> Result<(ImageManifest, u64)> {
        let bytes = self.read_document(digest)?;
        Ok((parse_manifest(&bytes, &format!("manifest {digest}"))?, bytes.len() as u64))
    }

    /// Reads a document and checks its digest.
    pub(super) fn read_document(&self, digest: BlobDigest) -> Result<Vec<u8>> {
        let path = self.paths.blob(digest);
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::MissingBlob(digest.to_string()));
            }
            Err(e) => return Err(StoreError::io("read", &path)(e)),
        };
        let mut bytes = Vec::new();
        file.take(LONGEST_DOCUMENT + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
        if digest_of(&bytes) != digest {
            return Err(document_error(&format!("blob {digest}"), "damaged: its digest is another one"));
        }
        Ok(bytes)
    }
}

/// The image of a name, or of a repository and a digest.
fn by_reference<'a>(refs: &'a [Ref], reference: &Reference) -> Option<(&'a Ref, Asked)> {
    let Some(digest) = reference.digest else {
        let name = reference.name();
        return refs.iter().find(|one| one.name.as_ref() == Some(&name)).map(|one| (one, Asked::Name(name)));
    };
    let fits = |one: &&Ref| {
        one.name.as_ref().is_some_and(|name| {
            name.repository() == reference.repository
                && reference.tag.as_ref().is_none_or(|tag| name.tag() == tag)
        }) && (one.manifest == digest || one.original == Some(digest))
    };
    refs.iter().find(fits).map(|one| (one, Asked::Digest(reference.clone())))
}

/// The digits of an id, or of the beginning of one.
pub(super) fn id_digits(what: &str) -> Option<&str> {
    let digits = what.strip_prefix("sha256:").unwrap_or(what);
    let hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    // One digit fits too much to be meant.
    (hex && (2..=64).contains(&digits.len())).then_some(digits)
}

fn no_such(what: &str, error: Option<NameError>) -> StoreError {
    error.map_or_else(|| StoreError::NoSuchImage(what.to_owned()), StoreError::Name)
}
