//! The layers of the cache: which there are, and opening them.

use super::Store;
use super::digest::DiffId;
use super::error::{Result, StoreError};
use super::image::{Image, id_digits};
use super::layer::CachedLayer;
use std::io::ErrorKind;

impl Store {
    /// Opens a layer.
    pub fn layer(&self, diff_id: DiffId) -> Result<CachedLayer> {
        if !self.has_layer(diff_id)? {
            return Err(StoreError::MissingBlob(diff_id.to_string()));
        }
        Ok(CachedLayer::open(&self.paths.index(diff_id), &self.paths.layer(diff_id), diff_id)?)
    }

    /// The layer whose digest begins so (`sha256:` and at least two digits); it must be the only one.
    pub fn layer_by_prefix(&self, what: &str) -> Result<DiffId> {
        let none = || StoreError::NoSuchLayer(what.to_owned());
        let digits = id_digits(what).ok_or_else(none)?;
        let path = self.paths.indexes();
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(StoreError::io("read", &path))? {
            let name = entry.map_err(StoreError::io("read", &path))?.file_name();
            let Some(hex) = name.to_str().filter(|hex| hex.starts_with(digits)) else { continue };
            let Ok(diff_id) = format!("sha256:{hex}").parse::<DiffId>() else { continue };
            if self.has_layer(diff_id)? {
                found.push(diff_id);
            }
        }
        match found[..] {
            [diff_id] => Ok(diff_id),
            _ => Err(none()),
        }
    }

    /// Opens the layers of an image, base first.
    pub fn layers(&self, image: &Image) -> Result<Vec<CachedLayer>> {
        image.diff_ids().iter().map(|diff_id| self.layer(*diff_id)).collect()
    }

    /// Whether the cache has a layer.
    pub fn has_layer(&self, diff_id: DiffId) -> Result<bool> {
        self.layer_size(diff_id).map(|size| size.is_some())
    }

    /// The size of a layer's tar, if the cache has it.
    pub(super) fn layer_size(&self, diff_id: DiffId) -> Result<Option<u64>> {
        let path = self.paths.layer(diff_id);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io("look at", &path)(e)),
        }
    }
}
