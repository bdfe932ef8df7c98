//! Whether the cache is what it says: blobs hashed again, indexes made again, on all processors.

use super::Store;
use super::digest::{DiffId, Hasher};
use super::disk::{Dir, lossy};
use super::error::{Result, StoreError};
use super::image::Image;
use super::index::IndexImage;
use super::lock;
use super::progress::Progress;
use super::refs::Refs;
use super::tar::index_tar;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What it is about: an image, a blob, a file.
    pub about: String,
    /// What is wrong, and what helps.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.what)
    }
}

/// What to read again, and for whom.
#[derive(Debug, Default)]
struct Work {
    /// The layers, with the images that use them.
    layers: BTreeMap<DiffId, (u64, Vec<String>)>,
    findings: Vec<Finding>,
}

impl Work {
    fn find(&mut self, about: impl fmt::Display, what: impl fmt::Display) {
        self.findings.push(Finding { about: about.to_string(), what: what.to_string() });
    }
}

impl Store {
    /// Checks an image, or all of the cache: then also for files that nothing refers to. Answers what is
    /// wrong; nothing is changed.
    pub fn verify(&self, image: Option<&str>, progress: &dyn Progress) -> Result<Vec<Finding>> {
        let mut work = Work::default();
        match image {
            Some(what) => self.note_image(&self.resolve(what)?, &mut work),
            None => self.note_all(&mut work)?,
        }
        let layers: Vec<_> = std::mem::take(&mut work.layers).into_iter().collect();
        let total = layers.iter().map(|(_, (size, _))| size).sum();
        // One for all: several at once have no order in which they could be told.
        progress.layer("all layers", Some(total));
        let findings = Mutex::new(work.findings);
        let next = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(layers.len());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some((diff_id, (size, users))) =
                        layers.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let found = self.verify_layer(*diff_id, *size, users, progress);
                        // A poisoned list is still a list.
                        findings.lock().unwrap_or_else(|e| e.into_inner()).extend(found);
                    }
                });
            }
        });
        let mut findings = findings.into_inner().unwrap_or_else(|e| e.into_inner());
        findings.sort();
        progress.done(if findings.is_empty() { "verified" } else { "damaged" });
        Ok(findings)
    }

    fn note_image(&self, image: &Image, work: &mut Work) {
        for (diff_id, size) in image.diff_ids().iter().zip(image.layer_sizes()) {
            let (_, users) = work.layers.entry(*diff_id).or_insert_with(|| (*size, Vec::new()));
            users.push(image.title());
        }
    }

    /// Notes all images, and what is there without need.
    fn note_all(&self, work: &mut Work) -> Result<()> {
        for (path, size) in self.gc(true)?.files {
            work.find(path, format!("nothing refers to it ({size} bytes): `layerctl gc` removes it"));
        }
        for (below, path) in [("blobs/sha256", self.paths.blobs()), ("layerfs/index", self.paths.indexes())] {
            for name in Dir::open(&path)?.names()? {
                let name = lossy(&name);
                if format!("sha256:{name}").parse::<DiffId>().is_err() {
                    work.find(format!("{below}/{name}"), "no file of the cache: remove it");
                }
            }
        }
        let _lock = lock::shared(&self.paths)?;
        let refs = Refs::read(&self.paths)?;
        let ours = refs.images();
        let others = refs.descriptors().len() - ours.len();
        if others > 0 {
            work.find("index.json", format!("{others} entries are no images of this program"));
        }
        for one in ours {
            match self.read_image(&one) {
                Ok(image) => self.note_image(&image, work),
                Err(e @ (StoreError::Io { .. } | StoreError::Unsupported { .. })) => {
                    work.find(format!("image {}", one.title()), e)
                }
                Err(e) => work.find(
                    format!("image {}", one.title()),
                    format!("{e}; load or import it again, or remove it by force"),
                ),
            }
        }
        Ok(())
    }

    fn verify_layer(
        &self,
        diff_id: DiffId,
        size: u64,
        users: &[String],
        progress: &dyn Progress,
    ) -> Vec<Finding> {
        let used = format!("used by {}", users.join(", "));
        let finding =
            |what: String| Finding { about: format!("layer {diff_id}"), what: format!("{what}; {used}") };
        let path = self.paths.layer(diff_id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return vec![finding("its blob is missing: load the image again".to_owned())];
            }
            Err(e) => return vec![finding(format!("its blob cannot be read: {e}"))],
        };
        let mut reader = Hashing { file, hasher: Hasher::new(), len: 0, progress };
        let mut buffered = BufReader::with_capacity(1 << 20, &mut reader);
        let image = index_tar(&mut buffered);
        // A tar that is refused is read to its end all the same, for its digest.
        let drained = io::copy(&mut buffered, &mut io::sink());
        if let Err(e) = drained {
            return vec![finding(format!("its blob cannot be read: {e}"))];
        }
        let (found, len) = (reader.hasher.finish_diff(), reader.len);
        if found != diff_id || len != size {
            let what = format!("its blob is damaged ({len} bytes, digest {found}; {size} bytes are right)");
            return vec![finding(format!("{what}: remove the image and load it again"))];
        }
        match image {
            Err(e) => vec![finding(format!("its tar is refused: {e}"))],
            Ok(image) => match compare(&self.paths.index(diff_id), &image, diff_id, size) {
                Ok(()) => Vec::new(),
                Err(what) => vec![finding(what)],
            },
        }
    }
}

/// Compares an index with the one that was made again, without keeping either in memory as bytes.
fn compare(path: &Path, image: &IndexImage, diff_id: DiffId, size: u64) -> std::result::Result<(), String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err("its index is missing: the next mount makes it again".to_owned());
        }
        Err(e) => return Err(format!("its index cannot be read: {e}")),
    };
    let mut against = Against { file: BufReader::new(file), buffer: Vec::new() };
    let written = image.write_to(&mut against, diff_id, size).and_then(|()| {
        let rest = against.file.read(&mut [0])?;
        if rest == 0 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    });
    written.map_err(|_| "its index is damaged: remove the file, and the next mount makes it again".to_owned())
}

/// Takes what is written only while it is what a file has.
struct Against {
    file: BufReader<File>,
    buffer: Vec<u8>,
}

impl Write for Against {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.buffer.resize(data.len(), 0);
        self.file.read_exact(&mut self.buffer)?;
        if self.buffer == data { Ok(data.len()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes what is read.
struct Hashing<'a> {
    file: File,
    hasher: Hasher,
    len: u64,
    progress: &'a dyn Progress,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buf)?;
        self.hasher.update(&buf[..read]);
        self.len += read as u64;
        self.progress.advance(read as u64);
        Ok(read)
    }
}
