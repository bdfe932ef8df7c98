//! What people and programs are told of an image: its history, and all of it as one document.

use super::digest::BlobDigest;
use super::documents::parse_time;
use super::image::Image;
use crate::types::Timestamp;
use serde_json::{Value, json};

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image id, on the newest entry.
    pub id: Option<BlobDigest>,
    /// When the step was done.
    pub created: Option<Timestamp>,
    /// The command.
    pub created_by: String,
    /// The size of the layer's tar in bytes; 0 where there is none.
    pub size: u64,
    /// What its author said.
    pub comment: String,
    /// Who did it.
    pub author: String,
    /// Whether the step made no layer.
    pub empty_layer: bool,
}

impl Image {
    /// The history, newest entry first. Layers that it does not tell of come after the entries that it has.
    pub fn history(&self) -> Vec<HistoryEntry> {
        let mut sizes = self.layer_sizes().iter();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let mut entries: Vec<HistoryEntry> = Vec::new();
        for entry in self.config().history() {
            let empty_layer = entry.empty_layer() == Some(true);
            entries.push(HistoryEntry {
                id: None,
                created: entry.created().as_deref().and_then(parse_time),
                created_by: text(entry.created_by()),
                size: if empty_layer { 0 } else { sizes.next().copied().unwrap_or(0) },
                comment: text(entry.comment()),
                author: text(entry.author()),
                empty_layer,
            });
        }
        let untold = sizes.map(|size| HistoryEntry {
            id: None,
            created: None,
            created_by: String::new(),
            size: *size,
            comment: String::new(),
            author: String::new(),
            empty_layer: false,
        });
        entries.extend(untold);
        entries.reverse();
        if let Some(newest) = entries.first_mut() {
            newest.id = Some(self.id());
        }
        entries
    }

    /// All of it as `docker inspect` shows it, and what is our own below `Layerfs`.
    pub fn inspect(&self) -> Value {
        let config = self.config();
        let tags: Vec<String> = self.names().iter().map(ToString::to_string).collect();
        let mut digests: Vec<String> = Vec::new();
        for name in self.names() {
            let digest = self.original_digest().unwrap_or(self.digest());
            let text = format!("{}@{digest}", name.repository());
            if !digests.contains(&text) {
                digests.push(text);
            }
        }
        let layers: Vec<String> = self.diff_ids().iter().map(ToString::to_string).collect();
        let last = config.history().last();
        let comment = Some(config.text("comment")).filter(|text| !text.is_empty());
        let comment = comment.or_else(|| last.and_then(|entry| entry.comment().as_deref()));
        let mut document = json!({
            "Id": self.id().to_string(),
            "RepoTags": tags,
            "RepoDigests": digests,
            "Parent": "",
            "Comment": comment.unwrap_or(""),
            "Created": config.text("created"),
            "DockerVersion": config.text("docker_version"),
            "Author": config.text("author"),
            "Config": config.document().get("config").cloned().unwrap_or(Value::Null),
            "Architecture": config.text("architecture"),
            "Os": config.text("os"),
            "Size": self.size(),
            "RootFS": { "Type": "layers", "Layers": layers },
            "Layerfs": {
                "Digest": self.digest().to_string(),
                "OriginalDigest": self.original_digest().map(|digest| digest.to_string()),
                "LayerSizes": self.layer_sizes(),
            },
        });
        for (key, field) in [("Variant", "variant"), ("OsVersion", "os.version")] {
            if !config.text(field).is_empty() {
                document[key] = json!(config.text(field));
            }
        }
        document
    }
}
