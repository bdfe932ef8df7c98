//! A layer on its way into the cache: hashed, written and indexed in one pass, on a thread of its own.
//!
//! 1. *Decompressing is as much work as the rest.* Who has the bytes fills big buffers; a worker takes them
//!    from a bounded channel, hashes and writes each, and lets the index be made of it. So two cores are
//!    busy, and a layer of any size needs the same memory. Where nothing is to be decompressed, it is the
//!    other side that writes ([`Side`]).
//! 2. *A sync of gigabytes takes seconds.* Writing back begins while the layer still arrives, and the
//!    sync goes on while the next layer is read; [`StagedLayer::settle`] waits for it.
//! 3. *A stream that breaks off is not one that ends.* Only [`LayerWriter::finish`] ends it; when the
//!    writer is dropped instead, the worker forgets what it has.

use super::digest::{DiffId, Hasher};
use super::disk::READ_ONLY;
use super::error::{Result, StoreError};
use super::tar::index_tar;
use super::work::WorkDir;
use crate::sys::{self, AsFd};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Size of a buffer, in bytes: past 1 MiB the cost of handing one over no longer shows.
const BUFFER: usize = 1 << 20;
/// Buffers on their way: enough for the two sides not to wait for each other at every hiccup.
const IN_FLIGHT: usize = 8;
/// Bytes after which writing back is begun: long enough for the disk to work in large pieces.
const WRITE_BACK: u64 = 8 << 20;

/// A layer in a work directory, not yet part of the cache.
#[derive(Debug)]
pub struct StagedLayer {
    built: Built,
    worker: Mutex<Option<JoinHandle<Result<()>>>>,
}

/// What the worker made.
#[derive(Clone, Debug)]
struct Built {
    diff_id: DiffId,
    size: u64,
    entries: u64,
    work: Arc<WorkDir>,
    blob: String,
    index: String,
}

impl StagedLayer {
    /// The digest of its tar.
    pub fn diff_id(&self) -> DiffId {
        self.built.diff_id
    }

    /// The size of its tar in bytes.
    pub fn size(&self) -> u64 {
        self.built.size
    }

    /// How many entries its tar has.
    pub fn entries(&self) -> u64 {
        self.built.entries
    }

    pub(super) fn work(&self) -> &WorkDir {
        &self.built.work
    }

    pub(super) fn blob_file(&self) -> &str {
        &self.built.blob
    }

    pub(super) fn index_file(&self) -> &str {
        &self.built.index
    }

    /// Waits until its files are durable.
    pub(super) fn settle(&self) -> Result<()> {
        let worker = self.worker.lock().map_err(|_| StoreError::Worker)?.take();
        worker.map_or(Ok(()), join)
    }
}

impl Drop for StagedLayer {
    fn drop(&mut self) {
        // The worker must not outlive the command: it holds the work directory.
        if let Err(e) = self.settle() {
            log::debug!("a layer that is not needed: {e}");
        }
    }
}

fn join(worker: JoinHandle<Result<()>>) -> Result<()> {
    worker.join().map_err(|_| StoreError::Worker)?
}

/// Who writes the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Who has the bytes: to get them is less work than to hash them.
    Giver,
    /// The worker: to get the bytes is the most work.
    Worker,
}

/// A part of the tar; one of no bytes is the end.
#[derive(Debug, Default)]
struct Chunk {
    /// Always [`BUFFER`] long once it is in use.
    bytes: Vec<u8>,
    len: usize,
}

/// Takes the tar of a layer.
#[derive(Debug)]
pub struct LayerWriter {
    chunk: Chunk,
    /// Why no more is taken.
    closed: Option<StoreError>,
    full: Option<SyncSender<Chunk>>,
    empty: Receiver<Chunk>,
    blob: Option<BlobFile>,
    built: Receiver<Built>,
    worker: Option<JoinHandle<Result<()>>>,
}

impl LayerWriter {
    /// Begins a layer; `name` stands for it in errors.
    pub(super) fn begin(work: &Arc<WorkDir>, name: String, side: Side) -> Result<LayerWriter> {
        let (full, to_worker) = sync_channel(IN_FLIGHT);
        // As many as there are buffers, so that giving one back never waits.
        let (give_back, empty) = sync_channel(IN_FLIGHT + 2);
        let (tell, built) = sync_channel(1);
        let blob_name = work.fresh_name("layer");
        let file = work.dir().create_file(&blob_name, READ_ONLY)?;
        let path = work.dir().path().join(&blob_name);
        let to_sync = file.try_clone().map_err(StoreError::io("open", &path))?;
        let blob = BlobFile { file, path, written: 0, begun: 0 };
        let (own, others) = match side {
            Side::Giver => (Some(blob), None),
            Side::Worker => (None, Some(blob)),
        };
        let tee = Tee {
            full: to_worker,
            give_back,
            current: Chunk::default(),
            at: 0,
            ended: false,
            hasher: Hasher::new(),
            len: 0,
            blob: others,
            failure: None,
        };
        let job = Job { tee, work: work.clone(), to_sync, blob: blob_name, name, tell };
        let started = std::thread::Builder::new().name("layer".to_owned()).spawn(move || job.run());
        let worker = started.map_err(StoreError::io("start a thread for", work.dir().path()))?;
        Ok(LayerWriter {
            chunk: Chunk::default(),
            closed: None,
            full: Some(full),
            empty,
            blob: own,
            built,
            worker: Some(worker),
        })
    }

    /// Reads once into the buffer; answers the bytes read, 0 at the end.
    pub(super) fn fill_from(&mut self, source: &mut dyn Read) -> io::Result<usize> {
        self.chunk.bytes.resize(BUFFER, 0);
        let read = loop {
            match source.read(&mut self.chunk.bytes[self.chunk.len..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.add(read)?;
        Ok(read)
    }

    /// Notes that so many bytes were put into the buffer.
    fn add(&mut self, bytes: usize) -> io::Result<()> {
        self.chunk.len += bytes;
        if self.chunk.len == BUFFER { self.send() } else { Ok(()) }
    }

    /// Whether no more is taken.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Hands the buffer over and takes an empty one.
    fn send(&mut self) -> io::Result<()> {
        let full = std::mem::take(&mut self.chunk);
        if let Some(blob) = &mut self.blob
            && let Err(e) = blob.append(&full.bytes[..full.len])
        {
            let error = StoreError::io("write", &blob.path)(e);
            return self.close(error);
        }
        // A new one where none has come back yet: there are never more than the channel takes.
        self.chunk = self.empty.try_recv().unwrap_or_default();
        match self.full.as_ref().map(|to| to.send(full)) {
            Some(Ok(())) => Ok(()),
            _ => {
                let why = self.worker.take().and_then(|worker| join(worker).err());
                self.close(why.unwrap_or(StoreError::Worker))
            }
        }
    }

    /// Takes no more. The writer is told why, and so is who calls `finish`.
    fn close(&mut self, error: StoreError) -> io::Result<()> {
        let told = io::Error::other(error.to_string());
        self.closed.get_or_insert(error);
        Err(told)
    }

    /// Ends the layer, and answers what it is; or why it could not be made.
    pub fn finish(mut self) -> Result<StagedLayer> {
        if self.chunk.len > 0
            && self.closed.is_none()
            && let Err(e) = self.send()
        {
            log::debug!("{e}");
        }
        if let Some(error) = self.closed.take() {
            return Err(error);
        }
        // The end. When the worker is gone, it says why.
        if let Some(full) = self.full.take()
            && full.send(Chunk::default()).is_err()
        {
            log::debug!("the layer's worker ended early");
        }
        let worker = self.worker.take().ok_or(StoreError::Worker)?;
        match self.built.recv() {
            Ok(built) => Ok(StagedLayer { built, worker: Mutex::new(Some(worker)) }),
            Err(_) => Err(join(worker).err().unwrap_or(StoreError::Worker)),
        }
    }
}

impl Write for LayerWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.chunk.bytes.resize(BUFFER, 0);
        let at = self.chunk.len;
        let part = data.len().min(BUFFER - at);
        self.chunk.bytes[at..at + part].copy_from_slice(&data[..part]);
        self.add(part)?;
        Ok(part)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LayerWriter {
    fn drop(&mut self) {
        self.full = None;
        if let Some(worker) = self.worker.take()
            && let Err(e) = join(worker)
        {
            log::debug!("a layer that was given up: {e}");
        }
    }
}

/// The blob while it is written.
#[derive(Debug)]
struct BlobFile {
    file: File,
    path: PathBuf,
    written: u64,
    /// Up to where writing back was begun.
    begun: u64,
}

impl BlobFile {
    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)?;
        self.written += data.len() as u64;
        let waiting = self.written - self.begun;
        if waiting >= WRITE_BACK {
            // Only a hint: what it does not do, the sync does.
            if let Err(e) = sys::start_writeback(self.file.as_fd(), self.begun, waiting) {
                log::debug!("{e}");
            }
            self.begun = self.written;
        }
        Ok(())
    }
}

/// What the worker has to do.
struct Job {
    tee: Tee,
    work: Arc<WorkDir>,
    to_sync: File,
    blob: String,
    name: String,
    tell: SyncSender<Built>,
}

impl Job {
    fn run(mut self) -> Result<()> {
        let image = index_tar(&mut self.tee);
        if let Some(error) = self.tee.failure.take() {
            return Err(error);
        }
        let image = image.map_err(|error| StoreError::Tar { layer: self.name, error })?;
        let Tee { hasher, len, .. } = self.tee;
        let diff_id = hasher.finish_diff();
        let dir = self.work.dir();
        let index = self.work.fresh_name("index");
        let (blob_path, index_path) = (dir.path().join(&self.blob), dir.path().join(&index));
        let mut out = BufWriter::with_capacity(BUFFER, dir.create_file(&index, READ_ONLY)?);
        let ended = image.write_to(&mut out, diff_id, len).and_then(|()| out.flush());
        ended.map_err(StoreError::io("write", &index_path))?;
        let entries = image.entries();
        drop(image);
        let (work, blob) = (self.work, self.blob);
        let built = Built { diff_id, size: len, entries, work, blob, index };
        if self.tell.send(built).is_err() {
            return Ok(());
        }
        sys::sync_file(self.to_sync.as_fd()).map_err(StoreError::sys("write", &blob_path))?;
        sys::sync_file(out.get_ref().as_fd()).map_err(StoreError::sys("write", &index_path))
    }
}

/// Reads the buffers; each is hashed when it arrives, and written where that is left to the worker.
struct Tee {
    full: Receiver<Chunk>,
    give_back: SyncSender<Chunk>,
    current: Chunk,
    at: usize,
    ended: bool,
    hasher: Hasher,
    len: u64,
    blob: Option<BlobFile>,
    /// Why the blob could not be written; `read` can only say that it failed.
    failure: Option<StoreError>,
}

impl Tee {
    fn next_buffer(&mut self) -> io::Result<()> {
        let mut done = std::mem::take(&mut self.current);
        self.at = 0;
        if !done.bytes.is_empty() {
            done.len = 0;
            // When the other side is gone, nobody needs it.
            self.give_back.try_send(done).unwrap_or_default();
        }
        let next = self.full.recv().map_err(|_| io::Error::other("the layer was given up"))?;
        let data = &next.bytes[..next.len];
        if data.is_empty() {
            self.ended = true;
            return Ok(());
        }
        self.hasher.update(data);
        self.len += data.len() as u64;
        if let Some(blob) = &mut self.blob
            && let Err(e) = blob.append(data)
        {
            self.failure = Some(StoreError::io("write", &blob.path)(e));
            return Err(io::Error::other("the blob cannot be written"));
        }
        self.current = next;
        Ok(())
    }
}

impl Read for Tee {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len && !self.ended {
            self.next_buffer()?;
        }
        let part = buf.len().min(self.current.len - self.at);
        buf[..part].copy_from_slice(&self.current.bytes[self.at..self.at + part]);
        self.at += part;
        Ok(part)
    }
}
