//! Importing one layer as an image of its own.

use super::archive::{LoadSource, broken};
use super::compress::{Decoder, peek};
use super::layers::{Counted, Poured, pour};
use crate::store::Store;
use crate::store::add::{Added, ConfigEdit};
use crate::store::error::{Result, StoreError};
use crate::store::progress::Progress;
use std::fs::File;
use std::io;

impl Store {
    /// Makes an image of one tar, which may be gzipped or zstd.
    pub fn import_layer(
        &self,
        source: LoadSource,
        edit: &ConfigEdit,
        progress: &dyn Progress,
    ) -> Result<Added> {
        self.must_write()?;
        let (file, title) = match source {
            LoadSource::Path(path) => {
                let file = File::open(&path).map_err(StoreError::io("open", &path))?;
                (file, path.display().to_string())
            }
            LoadSource::File(file, title) => (file, title),
        };
        let failed = |e: io::Error| broken(&title, "the tar", &e);
        let metadata = file.metadata().map_err(failed)?;
        progress.layer("layer", metadata.is_file().then_some(metadata.len()));
        let counted = Counted { from: file, hasher: None, progress };
        let (compression, stream) = peek(counted).map_err(failed)?;
        let mut decoder = Decoder::new(compression, stream).map_err(failed)?;
        let mut writer = self.stage_layer(&title)?;
        let layer = match pour(&mut decoder, &mut writer) {
            Poured::All | Poured::NotTaken => writer.finish()?,
            Poured::Unread(e) => return Err(failed(e)),
        };
        progress.done("imported");
        self.add_image(None, layer, edit)
    }
}
