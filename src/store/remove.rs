//! Names given and taken, images removed, and what nothing refers to.

use super::Store;
use super::digest::{BlobDigest, DiffId};
use super::disk::{Dir, lossy};
use super::documents::{digest_in, parse_manifest};
use super::error::{Result, StoreError};
use super::image::{Asked, Image};
use super::lock;
use super::name::Name;
use super::refs::{Ref, Refs};
use super::work::WorkDir;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// What a removal did, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away.
    Untagged(String),
    /// An image is gone.
    Image(BlobDigest),
    /// A layer is gone that no image uses any more.
    Layer(DiffId),
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Removed::Untagged(name) => write!(f, "Untagged: {name}"),
            Removed::Image(id) => write!(f, "Deleted: {id}"),
            Removed::Layer(diff_id) => write!(f, "Deleted: {diff_id}"),
        }
    }
}

/// What nothing refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// The files, as paths below the root, and their sizes.
    pub files: Vec<(String, u64)>,
}

impl Garbage {
    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, size)| size).sum()
    }
}

/// Whether an image cannot be read because of what it is, and not of who reads it.
fn is_damage(error: &StoreError) -> bool {
    use StoreError::{Document, LayerCount, MissingBlob, Unsupported};
    matches!(error, Document { .. } | LayerCount { .. } | MissingBlob(_) | Unsupported { .. })
}

/// The names with a digest that go with an image: one for each repository, if it came with a manifest.
fn digest_names(image: &Image) -> BTreeSet<String> {
    let digest = image.original;
    image.names.iter().filter_map(|name| Some(format!("{}@{}", name.repository(), digest?))).collect()
}

impl Store {
    /// Gives an image one more name; an image that had it keeps its other ones.
    pub fn tag(&self, image: &str, name: &Name) -> Result<()> {
        let work = self.work()?;
        let _lock = lock::exclusive(&self.paths)?;
        let image = self.resolve_locked(image)?;
        let mut refs = Refs::read(&self.paths)?;
        let named = Ref { name: Some(name.clone()), manifest: image.manifest, original: image.original };
        refs.set(&named, image.manifest_size)?;
        refs.write(&self.paths, &work)
    }

    /// Takes a name away, and with the last one the image. By id the image goes with its name; with several
    /// names only where that is forced. A mounted image stays.
    pub fn remove(&self, what: &str, force: bool) -> Result<Vec<Removed>> {
        let work = self.work()?;
        let lock = lock::exclusive(&self.paths)?;
        let removed = self.remove_locked(what, force, &work)?;
        drop(lock);
        work.discard()?;
        Ok(removed)
    }

    fn remove_locked(&self, what: &str, force: bool, work: &WorkDir) -> Result<Vec<Removed>> {
        let image = match self.resolve_locked(what) {
            Err(e) if force && is_damage(&e) => return self.remove_damaged(what, work, e),
            image => image?,
        };
        let leaving: Vec<Name> = match &image.asked {
            Asked::Name(name) => vec![name.clone()],
            Asked::Digest(asked) => {
                let of_it = |name: &&Name| name.repository() == asked.repository;
                image.names.iter().filter(of_it).cloned().collect()
            }
            Asked::Id if image.names.len() > 1 && !force => {
                return Err(StoreError::SeveralNames(what.to_owned()));
            }
            Asked::Id => image.names.clone(),
        };
        let mut refs = Refs::read(&self.paths)?;
        let mut removed: Vec<Removed> =
            leaving.iter().map(|name| Removed::Untagged(name.to_string())).collect();
        if leaving.len() < image.names.len() {
            leaving.iter().for_each(|name| refs.unname(name));
            refs.write(&self.paths, work)?;
            return Ok(removed);
        }
        self.must_not_be_mounted(image.id(), &image.title())?;
        refs.remove(image.manifest);
        refs.write(&self.paths, work)?;
        removed.extend(digest_names(&image).into_iter().map(Removed::Untagged));
        removed.push(Removed::Image(image.id()));
        self.drop_blobs(&image, &refs, work, &mut removed)?;
        Ok(removed)
    }

    /// Takes out an image whose documents cannot be read, by name or by the digest of its manifest.
    fn remove_damaged(&self, what: &str, work: &WorkDir, error: StoreError) -> Result<Vec<Removed>> {
        let mut refs = Refs::read(&self.paths)?;
        let name = what.parse::<Name>().ok();
        let fits = |one: &Ref| one.manifest.to_string() == what || (one.name.is_some() && one.name == name);
        let manifest = refs.images().into_iter().find(fits).ok_or(error)?.manifest;
        let gone = refs.images().into_iter().filter(|one| one.manifest == manifest);
        let removed =
            gone.filter_map(|one| one.name).map(|name| Removed::Untagged(name.to_string())).collect();
        refs.remove(manifest);
        refs.write(&self.paths, work)?;
        self.drop_garbage(Some(work))?;
        Ok(removed)
    }

    /// Removes the blobs of an image that no other image uses. From here on a death leaves garbage only.
    fn drop_blobs(
        &self,
        image: &Image,
        refs: &Refs,
        work: &WorkDir,
        removed: &mut Vec<Removed>,
    ) -> Result<()> {
        let used = self.used(refs)?;
        let blobs = Dir::open(&self.paths.blobs())?;
        let indexes = Dir::open(&self.paths.indexes())?;
        for digest in [image.manifest, image.id()] {
            if !used.contains(&digest) {
                blobs.remove_file(digest.hex().as_bytes())?;
            }
        }
        for diff_id in image.diff_ids().iter().rev() {
            let hex = diff_id.hex();
            if used.contains(&diff_id.as_blob()) || blobs.size_of(&hex)?.is_none() {
                continue;
            }
            // To free gigabytes takes its time; what is in the work directory is gone with it, after the lock.
            blobs.move_file(&hex, work.dir(), &work.fresh_name("gone"))?;
            indexes.remove_file(hex.as_bytes())?;
            removed.push(Removed::Layer(*diff_id));
        }
        Ok(())
    }

    /// Every blob that index.json leads to, and the layers that mounts use. The caller holds the lock.
    pub(super) fn used(&self, refs: &Refs) -> Result<BTreeSet<BlobDigest>> {
        let mut used = BTreeSet::new();
        for descriptor in refs.descriptors() {
            let digest = digest_in(descriptor, "index.json")?;
            self.follow(digest, &mut used)?;
        }
        for mount in self.mounts_locked()? {
            used.extend(mount.layers.iter().map(|layer| layer.as_blob()));
        }
        Ok(used)
    }

    /// Notes a document and what it leads to. One that is missing or damaged leads nowhere: to hinder every
    /// removal because of it would help nobody.
    fn follow(&self, digest: BlobDigest, used: &mut BTreeSet<BlobDigest>) -> Result<()> {
        if !used.insert(digest) {
            return Ok(());
        }
        let bytes = match self.read_document(digest) {
            Ok(bytes) => bytes,
            Err(StoreError::MissingBlob(_) | StoreError::Document { .. }) => return Ok(()),
            Err(e) => return Err(e),
        };
        if let Ok(manifest) = parse_manifest(&bytes, "manifest") {
            used.extend(digest_in(manifest.config(), "manifest"));
            used.extend(manifest.layers().iter().flat_map(|layer| digest_in(layer, "manifest")));
            return Ok(());
        }
        let document: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        for inner in document["manifests"].as_array().into_iter().flatten() {
            if let Some(digest) = inner["digest"].as_str().and_then(|text| text.parse().ok()) {
                self.follow(digest, used)?;
            }
        }
        Ok(())
    }

    /// Removes what nothing refers to, or only says what that would be.
    pub fn gc(&self, dry_run: bool) -> Result<Garbage> {
        let work = if dry_run { None } else { Some(self.work()?) };
        let _lock = match work {
            Some(_) => Some(lock::exclusive(&self.paths)?),
            None => lock::shared(&self.paths)?,
        };
        self.drop_garbage(work.as_ref())
    }

    /// The same while the caller holds the lock; without a directory to move it to, it stays.
    fn drop_garbage(&self, work: Option<&WorkDir>) -> Result<Garbage> {
        let used = self.used(&Refs::read(&self.paths)?)?;
        let mut garbage = Garbage::default();
        for (below, path) in [("blobs/sha256", self.paths.blobs()), ("layerfs/index", self.paths.indexes())] {
            let dir = match Dir::open(&path) {
                Ok(dir) => dir,
                Err(e) if e.is(std::io::ErrorKind::NotFound) => continue,
                Err(e) => return Err(e),
            };
            for name in dir.names()? {
                let name = lossy(&name);
                let Ok(digest) = format!("sha256:{name}").parse::<BlobDigest>() else { continue };
                if used.contains(&digest) {
                    continue;
                }
                let size = dir.size_of(&name)?.unwrap_or(0);
                if let Some(work) = work {
                    dir.move_file(&name, work.dir(), &work.fresh_name("gone"))?;
                }
                garbage.files.push((format!("{below}/{name}"), size));
            }
        }
        Ok(garbage)
    }
}
