//! docker-archives: what `docker save` and `podman save` write.
//!
//! manifest.json names configs, layers and tags. The files may have any names: `HEX/layer.tar` in the old
//! layout, where equal layers are symlinks, and `blobs/sha256/HEX` in the new one.

use super::archive::Archive;
use super::plan::{Expected, PlannedImage, PlannedLayer, check_count};
use crate::store::documents::ImageConfig;
use crate::store::error::{Result, StoreError};
use serde::Deserialize;

/// One image of manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The images of a docker-archive; nothing where it is none.
pub(super) fn plan(archive: &Archive) -> Result<Option<Vec<PlannedImage>>> {
    if archive.find("manifest.json")?.is_none() {
        if archive.find("repositories")?.is_some() {
            return Err(StoreError::Unsupported {
                what: archive.title.clone(),
                why: "docker-archives without manifest.json are not taken: save the image again with docker \
                      1.10 or later",
            });
        }
        return Ok(None);
    }
    let bytes = archive.document("manifest.json")?;
    let entries: Vec<Entry> = serde_json::from_slice(&bytes).map_err(|e| StoreError::Document {
        what: format!("{}: manifest.json", archive.title),
        reason: e.to_string(),
    })?;
    entries.into_iter().map(|entry| plan_image(archive, entry)).collect::<Result<_>>().map(Some)
}

fn plan_image(archive: &Archive, entry: Entry) -> Result<PlannedImage> {
    let names = entry.repo_tags.unwrap_or_default();
    let names = names.iter().map(|name| name.parse()).collect::<std::result::Result<Vec<_>, _>>()?;
    let title = format!("{}: {}", archive.title, entry.config);
    let bytes = match named_digest(&entry.config) {
        Some(expected) => archive.checked_document(&entry.config, &expected)?,
        None => archive.document(&entry.config)?,
    };
    let config = ImageConfig::parse(bytes, &title)?;
    let layers = entry.layers.unwrap_or_default();
    check_count(&title, &config, layers.len())?;
    let layers = layers.into_iter().map(|file| PlannedLayer { blob: blob_digest(&file), file });
    Ok(PlannedImage { names, config, layers: layers.collect(), original: None })
}

/// The digest that a config's file name promises: `HEX.json` or `blobs/sha256/HEX`.
fn named_digest(file: &str) -> Option<Expected> {
    let hex = file.strip_suffix(".json").or_else(|| file.strip_prefix("blobs/sha256/"))?;
    let digest = format!("sha256:{hex}").parse().ok()?;
    Some(Expected { digest, size: None })
}

/// The digest that a layer's file name promises. `HEX/layer.tar` and `HEX.tar` promise none: HEX is an id of
/// another kind there.
fn blob_digest(file: &str) -> Option<Expected> {
    file.strip_prefix("blobs/sha256/").and_then(|_| named_digest(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_promise_digests() {
        let hex = "ab".repeat(32);
        let digest = format!("sha256:{hex}");
        let promised = |file: &str| named_digest(file).map(|one| one.digest.to_string());
        assert_eq!(promised(&format!("{hex}.json")).as_ref(), Some(&digest));
        assert_eq!(promised(&format!("blobs/sha256/{hex}")).as_ref(), Some(&digest));
        assert_eq!(promised("config.json"), None);
        assert_eq!(blob_digest(&format!("{hex}/layer.tar")), None);
        assert_eq!(blob_digest(&format!("{hex}.tar")), None);
        assert!(blob_digest(&format!("blobs/sha256/{hex}")).is_some());
    }
}
