//! Where saved files go: a tar, or a directory.

use crate::store::disk::Dir;
use crate::store::error::{Result, StoreError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes copied at once.
const CHUNK: usize = 1 << 20;
/// Size of a record of a tar.
const BLOCK: usize = 512;

/// Takes files by name.
pub(super) trait Sink {
    /// Adds a file of that size.
    fn put(&mut self, name: &str, size: u64, from: &mut dyn Read) -> Result<()>;
}

/// Writes a tar of regular files of nobody in particular, made at the epoch.
pub(super) struct TarSink<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
}

impl<'a> TarSink<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        TarSink { out, buffer: vec![0; CHUNK] }
    }

    /// Ends the archive.
    pub(super) fn finish(self) -> Result<()> {
        let ended = self.out.write_all(&[0; 2 * BLOCK]).and_then(|()| self.out.flush());
        ended.map_err(unwritten)
    }
}

fn unwritten(error: io::Error) -> StoreError {
    StoreError::Io { doing: "write", path: PathBuf::from("the archive"), error }
}

impl Sink for TarSink<'_> {
    fn put(&mut self, name: &str, size: u64, from: &mut dyn Read) -> Result<()> {
        let mut header = ::tar::Header::new_ustar();
        header.set_path(name).map_err(unwritten)?;
        header.set_entry_type(::tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.out.write_all(header.as_bytes()).map_err(unwritten)?;
        copy(name, size, from, &mut self.buffer, |data| self.out.write_all(data).map_err(unwritten))?;
        let padding = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0);
        self.out.write_all(&[0; BLOCK][..padding]).map_err(unwritten)
    }
}

/// Copies exactly `size` bytes.
fn copy(
    name: &str,
    size: u64,
    from: &mut dyn Read,
    buffer: &mut [u8],
    mut put: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut left = size;
    loop {
        let read = match from.read(buffer) {
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(StoreError::Io { doing: "read", path: PathBuf::from(name), error }),
        };
        if read as u64 > left || (read == 0 && left > 0) {
            // In a tar the size was promised already.
            let what = "it is not as long as its manifest says: `layerctl verify` tells more";
            return Err(StoreError::Document { what: name.to_owned(), reason: what.to_owned() });
        }
        if read == 0 {
            return Ok(());
        }
        put(&buffer[..read])?;
        left -= read as u64;
    }
}

/// Writes files into a directory.
pub(super) struct DirSink {
    root: PathBuf,
    buffer: Vec<u8>,
}

impl DirSink {
    pub(super) fn new(root: &Path) -> DirSink {
        DirSink { root: root.to_owned(), buffer: vec![0; CHUNK] }
    }
}

impl Sink for DirSink {
    fn put(&mut self, name: &str, size: u64, from: &mut dyn Read) -> Result<()> {
        let (below, file_name) = name.rsplit_once('/').unwrap_or(("", name));
        let parent = Dir::create(&self.root.join(below))?;
        let path = parent.path().join(file_name);
        let mut file = parent.create_file(file_name, 0o644)?;
        copy(name, size, from, &mut self.buffer, |data| {
            file.write_all(data).map_err(StoreError::io("write", &path))
        })
    }
}
