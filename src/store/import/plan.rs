//! What an archive has, before a layer of it is read.

use super::archive::Archive;
use crate::store::digest::BlobDigest;
use crate::store::documents::{ImageConfig, digest_of};
use crate::store::error::{Result, StoreError};
use crate::store::name::Name;

/// An image that is to be loaded.
#[derive(Debug)]
pub(super) struct PlannedImage {
    pub(super) names: Vec<Name>,
    pub(super) config: ImageConfig,
    /// As many as the config has diff ids, base first.
    pub(super) layers: Vec<PlannedLayer>,
    /// The digest of its manifest, where it has one.
    pub(super) original: Option<BlobDigest>,
}

/// A layer that is to be loaded.
#[derive(Clone, Debug)]
pub(super) struct PlannedLayer {
    /// The file that has it.
    pub(super) file: String,
    /// What the file must be, where it is said.
    pub(super) blob: Option<Expected>,
}

/// What a descriptor says of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) digest: BlobDigest,
    pub(super) size: Option<u64>,
}

impl Expected {
    /// Compares with what the blob is.
    pub(super) fn check(&self, what: &str, digest: BlobDigest, size: u64) -> Result<()> {
        if let Some(expected) = self.size.filter(|expected| *expected != size) {
            return Err(StoreError::WrongSize { what: what.to_owned(), expected, found: size });
        }
        if digest != self.digest {
            return Err(StoreError::WrongDigest {
                what: what.to_owned(),
                expected: self.digest.to_string(),
                found: digest.to_string(),
            });
        }
        Ok(())
    }
}

impl Archive {
    /// A document that must have a digest.
    pub(super) fn checked_document(&self, name: &str, expected: &Expected) -> Result<Vec<u8>> {
        let bytes = self.document(name)?;
        expected.check(&format!("{}: {name}", self.title), digest_of(&bytes), bytes.len() as u64)?;
        Ok(bytes)
    }
}

/// The layers of an image must be as many as its config says.
pub(super) fn check_count(image: &str, config: &ImageConfig, layers: usize) -> Result<()> {
    let ids = config.diff_ids().len();
    if ids == layers {
        return Ok(());
    }
    let other = format!("its config has {ids} diff ids");
    Err(StoreError::LayerCount { image: image.to_owned(), layers, other })
}
