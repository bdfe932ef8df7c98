//! New images: one more layer on a base, or one layer alone, with an edited config.

use super::Store;
use super::batch::{Batch, Published};
use super::change::{Change, apply_all};
use super::digest::BlobDigest;
use super::documents::{ImageConfig, build_manifest, canonical, document_time, format_time};
use super::error::{Result, StoreError};
use super::image::Image;
use super::name::Name;
use super::platform;
use super::refs::{Ref, Refs};
use super::stage::{LayerWriter, Side, StagedLayer};
use crate::types::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What is new about an image, its layer aside.
#[derive(Clone, Debug, Default)]
pub struct ConfigEdit {
    /// Its name; none makes an image without a name.
    pub name: Option<Name>,
    /// Instructions that edit the config, in their order.
    pub changes: Vec<Change>,
    /// Who made it.
    pub author: Option<String>,
    /// What the history says of it.
    pub message: Option<String>,
    /// The command that the history names.
    pub created_by: Option<String>,
    /// When it was made; `SOURCE_DATE_EPOCH`, else now, where it is not said.
    pub created: Option<Timestamp>,
}

/// An image that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The image id.
    pub id: BlobDigest,
    /// The digest of its manifest in the cache.
    pub digest: BlobDigest,
}

impl Store {
    /// Begins a layer of which the tar is then written; `name` stands for it in errors.
    pub fn stage_layer(&self, name: &str) -> Result<LayerWriter> {
        LayerWriter::begin(&Arc::new(self.work()?), name.to_owned(), Side::Worker)
    }

    /// Makes an image of the layers of a base and one more.
    pub fn add_image(&self, base: Option<&Image>, layer: StagedLayer, edit: &ConfigEdit) -> Result<Added> {
        let document = new_config(base, &layer, edit)?;
        let config = ImageConfig::parse(canonical(&document)?, "the new config")?;
        let mut batch = Batch::new(Arc::new(self.work()?));
        for (diff_id, size) in base.iter().flat_map(|base| base.diff_ids().iter().zip(base.layer_sizes())) {
            batch.add_known(*diff_id, *size);
        }
        batch.add_layer(layer);
        batch.add_blob(config.bytes())?;
        let bytes = build_manifest(&config, &batch.sizes(config.diff_ids())?)?;
        let digest = batch.add_blob(&bytes)?;
        let named = Ref { name: edit.name.clone(), manifest: digest, original: None };
        let name_it = |refs: &mut Refs| refs.set(&named, bytes.len() as u64);
        match batch.publish(&self.paths, &name_it)? {
            Published::Done => Ok(Added { id: config.id(), digest }),
            // The base was removed since it was looked at.
            Published::Lacks(diff_id) => Err(StoreError::MissingBlob(diff_id.to_string())),
        }
    }
}

/// The config of the new image: that of the base with one more layer and history entry.
fn new_config(base: Option<&Image>, layer: &StagedLayer, edit: &ConfigEdit) -> Result<Value> {
    let created = format_time(edit.created.map_or_else(document_time, Ok)?);
    let mut document = match base {
        Some(base) => base.config().document().clone(),
        None => json!({ "architecture": platform::architecture(), "os": platform::OS }),
    };
    let mut config = match document["config"].take() {
        Value::Object(config) => config,
        _ => Map::new(),
    };
    apply_all(&edit.changes, &mut config)?;
    document["config"] = Value::Object(config);
    document["created"] = json!(created);
    // They tell of the container that the base was made in.
    if let Some(fields) = document.as_object_mut() {
        for stale in ["container", "container_config", "id", "parent", "comment", "throwaway"] {
            fields.remove(stale);
        }
    }
    if let Some(author) = &edit.author {
        document["author"] = json!(author);
    }
    let mut diff_ids = base.map_or(&[][..], Image::diff_ids).to_vec();
    let mut history = complete_history(base, &document);
    diff_ids.push(layer.diff_id());
    history.push(history_entry(&created, edit));
    let diff_ids: Vec<String> = diff_ids.iter().map(ToString::to_string).collect();
    document["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
    document["history"] = Value::Array(history);
    Ok(document)
}

/// The history of the base, with an entry for each of its layers: a new one would else be taken for that of
/// an older layer.
fn complete_history(base: Option<&Image>, document: &Value) -> Vec<Value> {
    let mut history = document["history"].as_array().cloned().unwrap_or_default();
    let told = base.map_or(0, |base| base.layer_history().iter().flatten().count());
    let layers = base.map_or(0, |base| base.diff_ids().len());
    history.extend((told..layers).map(|_| json!({})));
    history
}

fn history_entry(created: &str, edit: &ConfigEdit) -> Value {
    let mut entry = json!({ "created": created });
    for (key, text) in
        [("author", &edit.author), ("comment", &edit.message), ("created_by", &edit.created_by)]
    {
        if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
            entry[key] = json!(text);
        }
    }
    entry
}
