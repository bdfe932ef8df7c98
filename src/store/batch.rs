//! What a command has prepared, and the one step that makes it part of the cache.
//!
//! Everything is written and synced in the work directory first. Then, under the lock: blobs and indexes
//! are renamed to their places, the directories synced, and index.json replaced by a rename. Until that last
//! rename the new blobs are something that nothing refers to.

use super::digest::{BlobDigest, DiffId};
use super::disk::{Dir, READ_ONLY};
use super::documents::digest_of;
use super::error::{Result, StoreError};
use super::lock;
use super::refs::Refs;
use super::root::Paths;
use super::stage::StagedLayer;
use super::work::WorkDir;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Blobs and layers that wait to be published.
#[derive(Debug)]
pub(super) struct Batch {
    work: Arc<WorkDir>,
    /// Work file of each blob.
    blobs: BTreeMap<BlobDigest, String>,
    layers: BTreeMap<DiffId, StagedLayer>,
    /// Layers that were not read, since the cache had them.
    known: BTreeMap<DiffId, u64>,
}

/// What came of publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    /// It is part of the cache.
    Done,
    /// A layer that the cache had is gone: stage it and try again.
    Lacks(DiffId),
}

impl Batch {
    pub(super) fn new(work: Arc<WorkDir>) -> Batch {
        Batch { work, blobs: BTreeMap::new(), layers: BTreeMap::new(), known: BTreeMap::new() }
    }

    pub(super) fn work(&self) -> &Arc<WorkDir> {
        &self.work
    }

    /// Adds a document.
    pub(super) fn add_blob(&mut self, bytes: &[u8]) -> Result<BlobDigest> {
        let digest = digest_of(bytes);
        if !self.blobs.contains_key(&digest) {
            let name = self.work.fresh_name("blob");
            self.work.dir().write_file(&name, READ_ONLY, bytes)?;
            self.blobs.insert(digest, name);
        }
        Ok(digest)
    }

    /// Adds a layer that was staged in any work directory.
    pub(super) fn add_layer(&mut self, layer: StagedLayer) {
        self.layers.insert(layer.diff_id(), layer);
    }

    /// Notes a layer that is not staged since the cache has it, and its size.
    pub(super) fn add_known(&mut self, diff_id: DiffId, size: u64) {
        self.known.insert(diff_id, size);
    }

    /// Whether a layer is taken care of.
    pub(super) fn has(&self, diff_id: DiffId) -> bool {
        self.is_staged(diff_id) || self.known.contains_key(&diff_id)
    }

    /// Whether a layer was staged.
    pub(super) fn is_staged(&self, diff_id: DiffId) -> bool {
        self.layers.contains_key(&diff_id)
    }

    /// The sizes of layers that are all taken care of.
    pub(super) fn sizes(&self, diff_ids: &[DiffId]) -> Result<Vec<u64>> {
        let size = |diff_id: &DiffId| {
            let staged = self.layers.get(diff_id).map(StagedLayer::size);
            let known = staged.or_else(|| self.known.get(diff_id).copied());
            known.ok_or_else(|| StoreError::MissingBlob(diff_id.to_string()))
        };
        diff_ids.iter().map(size).collect()
    }

    /// Publishes all of it; `name_them` says what index.json will tell.
    pub(super) fn publish(
        &self,
        paths: &Paths,
        name_them: &dyn Fn(&mut Refs) -> Result<()>,
    ) -> Result<Published> {
        let blobs = Dir::open(&paths.blobs())?;
        let indexes = Dir::open(&paths.indexes())?;
        // Before the lock: the disk may be slow.
        for layer in self.layers.values() {
            layer.settle()?;
        }
        let _lock = lock::exclusive(paths)?;
        for diff_id in self.known.keys() {
            if !self.layers.contains_key(diff_id) && blobs.size_of(&diff_id.hex())?.is_none() {
                return Ok(Published::Lacks(*diff_id));
            }
        }
        // Before the first blob is in its place: on a full disk this is what fails.
        let mut refs = Refs::read(paths)?;
        name_them(&mut refs)?;
        let index = refs.prepare(&self.work)?;
        for layer in self.layers.values() {
            self.place_layer(layer, &blobs, &indexes)?;
        }
        for (digest, file) in &self.blobs {
            // Over what is there: it may be damaged, and to look would cost as much.
            self.work.dir().move_file(file, &blobs, &digest.hex())?;
        }
        indexes.sync()?;
        blobs.sync()?;
        index.publish(paths, &self.work)?;
        Ok(Published::Done)
    }

    /// The index goes first: a blob with an index that is missing costs a rebuild, which is slow.
    fn place_layer(&self, layer: &StagedLayer, blobs: &Dir, indexes: &Dir) -> Result<()> {
        let hex = layer.diff_id().hex();
        let there = blobs.size_of(&hex)?;
        if there == Some(layer.size()) && indexes.size_of(&hex)?.is_some() {
            return Ok(());
        }
        let from = layer.work().dir();
        from.move_file(layer.index_file(), indexes, &hex)?;
        // A blob of another size is damaged: this one replaces it.
        if there != Some(layer.size()) {
            from.move_file(layer.blob_file(), blobs, &hex)?;
        }
        Ok(())
    }
}
