//! Loading: images out of docker-archives and OCI layouts.
//!
//! 1. *The forms differ in documents only.* `docker` and `oci` read them and say which images there are
//!    (`plan`); everything after that is one way.
//! 2. *A layer may come plain, gzipped or as zstd, whatever its name says.* `compress` looks at its bytes.
//! 3. *What the documents promise must hold.* Digests and sizes of blobs and the diff ids are checked
//!    before anything is published.
//! 4. *Most layers are known already.* Those that the cache has are not read.

mod archive;
mod compress;
mod docker;
mod layers;
mod oci;
mod plan;
mod tarball;

pub use archive::LoadSource;

use super::Store;
use super::batch::{Batch, Published};
use super::digest::BlobDigest;
use super::documents::build_manifest;
use super::error::{Result, StoreError};
use super::name::Name;
use super::progress::Progress;
use super::refs::{Ref, Refs};
use archive::Archive;
use plan::PlannedImage;
use std::cell::RefCell;
use std::sync::Arc;

/// How often a layer may vanish between the look and the lock before that is told as an error: each time
/// somebody must have removed an image just then.
const TRIES: usize = 8;

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its names in the archive.
    pub names: Vec<Name>,
    /// The image id.
    pub id: BlobDigest,
}

impl Store {
    /// Loads every image of a docker-archive or an OCI layout: a directory, or an archive that may be
    /// compressed. Either all of them are there afterwards, or none.
    pub fn load(&self, source: LoadSource, progress: &dyn Progress) -> Result<Vec<Loaded>> {
        let work = Arc::new(self.work()?);
        let archive = Archive::open(source, &work, progress)?;
        let plan = match docker::plan(&archive)? {
            Some(plan) => plan,
            None => oci::plan(&archive, progress)?
                .ok_or_else(|| StoreError::UnknownArchive(archive.title.clone()))?,
        };
        if plan.is_empty() {
            return Err(StoreError::Missing { archive: archive.title.clone(), name: "an image".to_owned() });
        }
        let mut batch = Batch::new(work);
        for image in &plan {
            layers::stage(self, &archive, image, &mut batch, progress)?;
        }
        for _ in 0..TRIES {
            let refs = document(&plan, &mut batch)?;
            let lost = RefCell::new(Vec::new());
            let name_them = |index: &mut Refs| {
                refs.iter().try_for_each(|(one, size)| {
                    lost.borrow_mut().extend(renamed(index, one));
                    index.set(one, *size)
                })
            };
            match batch.publish(&self.paths, &name_them)? {
                Published::Done => {
                    for (name, old) in lost.into_inner() {
                        let config = self.read_manifest(old).map(|(manifest, _)| manifest.config().clone());
                        let old =
                            config.map_or_else(|_| old.to_string(), |config| config.digest().to_string());
                        progress
                            .message(&format!("the image {name} was there already: {old} has no name now"));
                    }
                    let loaded = |image: PlannedImage| Loaded { id: image.config.id(), names: image.names };
                    return Ok(plan.into_iter().map(loaded).collect());
                }
                Published::Lacks(diff_id) => {
                    for image in &plan {
                        layers::stage_again(&archive, image, diff_id, &mut batch, progress)?;
                    }
                }
            }
        }
        Err(StoreError::Busy)
    }
}

/// The image that loses its last name to another one.
fn renamed(index: &Refs, image: &Ref) -> Option<(Name, BlobDigest)> {
    let name = image.name.as_ref()?;
    let old = index.named(name).filter(|old| old.manifest != image.manifest)?;
    let others = index.images().iter().filter(|one| one.manifest == old.manifest).count();
    (others == 1).then(|| (name.clone(), old.manifest))
}

/// Puts the documents of the images into the batch; answers what index.json is to say.
fn document(plan: &[PlannedImage], batch: &mut Batch) -> Result<Vec<(Ref, u64)>> {
    let mut refs = Vec::new();
    for image in plan {
        let sizes = batch.sizes(image.config.diff_ids())?;
        batch.add_blob(image.config.bytes())?;
        let bytes = build_manifest(&image.config, &sizes)?;
        let manifest = batch.add_blob(&bytes)?;
        let one = |name| (Ref { name, manifest, original: image.original }, bytes.len() as u64);
        match image.names[..] {
            [] => refs.push(one(None)),
            _ => refs.extend(image.names.iter().cloned().map(Some).map(one)),
        }
    }
    Ok(refs)
}
