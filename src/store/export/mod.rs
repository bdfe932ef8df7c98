//! Saving: images as docker-archives and OCI layouts.
//!
//! 1. *An archive must be the same each time.* Names, order and headers depend on the images alone.
//! 2. *What is damaged must not leave the cache.* Each blob is hashed while it is copied.
//! 3. *A file that is half written must not stand where a whole one did.* `target` writes beside it and
//!    renames.
//! 4. *A blob may be removed while it is saved.* All are opened under the lock; open files stay.

mod documents;
mod sink;
mod target;

use super::Store;
use super::digest::{BlobDigest, Hasher};
use super::documents::document_error;
use super::error::{Result, StoreError};
use super::image::{Asked, Image};
use super::lock;
use super::name::{Name, Reference};
use super::progress::Progress;
use super::refs::Refs;
use documents::{blob_name, write_docker, write_oci};
use sink::{DirSink, Sink, TarSink};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The form of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveFormat {
    /// What `docker save` writes: manifest.json, configs, layers.
    DockerArchive,
    /// The tar of an OCI image layout.
    OciArchive,
}

/// An image that is to be saved, its blobs open.
struct Leaving {
    image: Image,
    names: Vec<Name>,
    manifest: Vec<u8>,
    layers: Vec<(BlobDigest, u64, File)>,
}

impl Store {
    /// Writes images to a stream. A repository without a tag stands for all its tags; by id an image goes
    /// without its names.
    pub fn save(
        &self,
        images: &[&str],
        format: SaveFormat,
        out: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<()> {
        let leaving = self.gather(images)?;
        let mut sink = TarSink::new(out);
        write_images(&leaving, format, &mut sink, progress)?;
        sink.finish()
    }

    /// Writes images to a file, which is whole or not there; what stood at the path stays until then.
    pub fn save_file(
        &self,
        images: &[&str],
        format: SaveFormat,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<()> {
        let leaving = self.gather(images)?;
        let mut file = target::NewFile::create(path)?;
        let mut sink = TarSink::new(&mut file);
        write_images(&leaving, format, &mut sink, progress)?;
        sink.finish()?;
        file.publish()
    }

    /// Writes images as an OCI image layout to a directory, which must be empty or missing.
    pub fn save_directory(&self, images: &[&str], path: &Path, progress: &dyn Progress) -> Result<()> {
        let leaving = self.gather(images)?;
        let dir = target::NewDir::create(path)?;
        write_images(&leaving, SaveFormat::OciArchive, &mut DirSink::new(dir.path()), progress)?;
        dir.publish()
    }

    /// Finds the images and opens their blobs.
    fn gather(&self, images: &[&str]) -> Result<Vec<Leaving>> {
        let _lock = lock::shared(&self.paths)?;
        let mut leaving: Vec<Leaving> = Vec::new();
        for what in images {
            for (image, names) in self.choose(what)? {
                match leaving.iter_mut().find(|known| known.image.id() == image.id()) {
                    Some(known) => {
                        let new = names.into_iter().filter(|name| !known.names.contains(name));
                        let new: Vec<Name> = new.collect();
                        known.names.extend(new);
                    }
                    None => leaving.push(self.open_blobs(image, names)?),
                }
            }
        }
        Ok(leaving)
    }

    /// The images that an argument means, with the names that go along.
    fn choose(&self, what: &str) -> Result<Vec<(Image, Vec<Name>)>> {
        let mut chosen = Vec::new();
        if let Ok(Reference { repository, tag: None, digest: None }) = what.parse() {
            for one in Refs::read(&self.paths)?.images() {
                if let Some(name) = one.name.clone().filter(|name| name.repository() == repository) {
                    chosen.push((self.read_image(&one)?, vec![name]));
                }
            }
        }
        if chosen.is_empty() {
            let image = self.resolve_locked(what)?;
            let names = match &image.asked {
                Asked::Name(name) => vec![name.clone()],
                Asked::Digest(_) | Asked::Id => Vec::new(),
            };
            chosen.push((image, names));
        }
        Ok(chosen)
    }

    fn open_blobs(&self, image: Image, names: Vec<Name>) -> Result<Leaving> {
        let manifest = self.read_document(image.digest())?;
        let mut layers = Vec::new();
        for (diff_id, size) in image.diff_ids().iter().zip(image.layer_sizes()) {
            let path = self.paths.layer(*diff_id);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Err(StoreError::MissingBlob(diff_id.to_string()));
                }
                Err(e) => return Err(StoreError::io("read", &path)(e)),
            };
            layers.push((diff_id.as_blob(), *size, file));
        }
        Ok(Leaving { image, names, manifest, layers })
    }
}

fn write_images(
    leaving: &[Leaving],
    format: SaveFormat,
    sink: &mut dyn Sink,
    progress: &dyn Progress,
) -> Result<()> {
    let layer_name: fn(BlobDigest) -> String = match format {
        SaveFormat::DockerArchive => |digest| format!("{}.tar", digest.hex()),
        SaveFormat::OciArchive => blob_name,
    };
    match format {
        SaveFormat::DockerArchive => write_docker(leaving, layer_name, sink)?,
        SaveFormat::OciArchive => write_oci(leaving, sink)?,
    }
    let mut written = HashSet::new();
    for (digest, size, file) in leaving.iter().flat_map(|one| &one.layers) {
        if !written.insert(*digest) {
            continue;
        }
        progress.layer(&digest.hex()[..12], Some(*size));
        let mut blob = Checked { file, at: 0, hasher: Hasher::new(), progress };
        sink.put(&layer_name(*digest), *size, &mut blob)?;
        if blob.hasher.finish_blob() != *digest {
            let what = format!("layer {digest}");
            return Err(document_error(&what, "its blob is damaged: remove the image and load it again"));
        }
        progress.done("saved");
    }
    Ok(())
}

/// Hashes a blob while it is read, from its beginning, whoever else reads the file.
struct Checked<'a> {
    file: &'a File,
    at: u64,
    hasher: Hasher,
    progress: &'a dyn Progress,
}

impl Read for Checked<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buf, self.at)?;
        self.hasher.update(&buf[..read]);
        self.at += read as u64;
        self.progress.advance(read as u64);
        Ok(read)
    }
}
