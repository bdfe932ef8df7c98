//! The layers of an archive, one after the other through the pipeline.

use super::archive::{Archive, Member, broken};
use super::compress::{Compression, Decoder, peek};
use super::plan::{PlannedImage, PlannedLayer};
use crate::store::Store;
use crate::store::batch::Batch;
use crate::store::digest::{BlobDigest, DiffId, Hasher};
use crate::store::error::{Result, StoreError};
use crate::store::progress::Progress;
use crate::store::stage::{LayerWriter, Side, StagedLayer};
use std::io::{self, Read};

/// Digits of a digest that people are shown.
const SHORT: usize = 12;

/// Stages the layers that the cache lacks.
pub(super) fn stage(
    store: &Store,
    archive: &Archive,
    image: &PlannedImage,
    batch: &mut Batch,
    progress: &dyn Progress,
) -> Result<()> {
    for (layer, diff_id) in image.layers.iter().zip(image.config.diff_ids()) {
        if batch.has(*diff_id) {
            continue;
        }
        if let Some(size) = store.layer_size(*diff_id)? {
            progress.layer(&short(*diff_id), None);
            progress.done("exists");
            batch.add_known(*diff_id, size);
            continue;
        }
        batch.add_layer(stage_one(archive, layer, *diff_id, batch, progress)?);
    }
    Ok(())
}

/// Stages a layer that the cache had, and has no more.
pub(super) fn stage_again(
    archive: &Archive,
    image: &PlannedImage,
    lost: DiffId,
    batch: &mut Batch,
    progress: &dyn Progress,
) -> Result<()> {
    for (layer, diff_id) in image.layers.iter().zip(image.config.diff_ids()) {
        if *diff_id == lost && !batch.is_staged(lost) {
            batch.add_layer(stage_one(archive, layer, lost, batch, progress)?);
        }
    }
    Ok(())
}

fn short(diff_id: DiffId) -> String {
    diff_id.hex()[..SHORT].to_owned()
}

fn stage_one(
    archive: &Archive,
    layer: &PlannedLayer,
    diff_id: DiffId,
    batch: &Batch,
    progress: &dyn Progress,
) -> Result<StagedLayer> {
    let member = archive.member(&layer.file)?;
    let size = member.size();
    progress.layer(&short(diff_id), Some(size));
    let what = format!("{}: {}", archive.title, layer.file);
    if let Some(promised) = layer.blob.as_ref().and_then(|blob| blob.size)
        && promised != size
    {
        return Err(StoreError::WrongSize { what, expected: promised, found: size });
    }
    let failed = |e: io::Error| broken(&archive.title, &layer.file, &e);
    let counted = Counted { from: member, hasher: None, progress };
    let (compression, mut stream) = peek(counted).map_err(failed)?;
    // The digest of what is not compressed comes with the diff id.
    if compression != Compression::None && layer.blob.is_some() {
        let mut hasher = Hasher::new();
        hasher.update(stream.get_ref().0.get_ref());
        stream.get_mut().1.hasher = Some(hasher);
    }
    let mut decoder = Decoder::new(compression, stream).map_err(failed)?;
    let mut writer = LayerWriter::begin(batch.work(), what.clone(), side_for(compression))?;
    let staged = match pour(&mut decoder, &mut writer) {
        Poured::All | Poured::NotTaken => writer.finish()?,
        Poured::Unread(e) => return Err(failed(e)),
    };
    if let Some(expected) = &layer.blob {
        let digest = blob_digest(decoder, staged.diff_id()).map_err(failed)?;
        expected.check(&what, digest, size)?;
    }
    if staged.diff_id() != diff_id {
        return Err(StoreError::WrongDigest {
            what: format!("{what}: its tar"),
            expected: diff_id.to_string(),
            found: staged.diff_id().to_string(),
        });
    }
    progress.done("loaded");
    Ok(staged)
}

/// Who writes the blob of such a stream.
fn side_for(compression: Compression) -> Side {
    if compression == Compression::None { Side::Giver } else { Side::Worker }
}

/// How pouring a stream into a layer ended.
pub(super) enum Poured {
    All,
    /// The layer takes no more; it knows why.
    NotTaken,
    Unread(io::Error),
}

/// Gives all of a stream to a layer.
pub(super) fn pour(from: &mut dyn Read, to: &mut LayerWriter) -> Poured {
    loop {
        match to.fill_from(from) {
            Ok(0) => return Poured::All,
            Ok(_) => {}
            Err(e) if to.is_closed() => {
                log::debug!("{e}");
                return Poured::NotTaken;
            }
            Err(e) => return Poured::Unread(e),
        }
    }
}

/// The digest of the blob whose tar was read: what follows the compressed data is part of it.
fn blob_digest(decoder: Decoder<Stream<'_>>, diff_id: DiffId) -> io::Result<BlobDigest> {
    let mut rest = decoder.into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    let (_, counted) = rest.into_inner();
    Ok(counted.hasher.map_or(diff_id.as_blob(), Hasher::finish_blob))
}

type Stream<'a> = super::compress::Peeked<Counted<'a, Member>>;

/// Reads a file, telling how far it is.
pub(super) struct Counted<'a, R> {
    pub(super) from: R,
    /// Hashes what is read, where that is asked for.
    pub(super) hasher: Option<Hasher>,
    pub(super) progress: &'a dyn Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buf)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buf[..read]);
        }
        self.progress.advance(read as u64);
        Ok(read)
    }
}
