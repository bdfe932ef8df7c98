//! A file that is read as memory.

use super::error::{Result, call};
use memmap2::{Mmap, MmapOptions};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// All of a file, mapped for reading.
///
/// Only for files that are written once, made visible by a rename and read-only from then on (mode
/// 0444): whoever replaces one makes a new file. A file that its owner shortens all the same makes a
/// read past its end a SIGBUS, as with a program that runs.
#[derive(Debug)]
pub struct FileMap {
    map: Mmap,
}

impl FileMap {
    /// Maps the whole file; it must not be empty.
    #[allow(unsafe_code)]
    pub fn whole(fd: BorrowedFd<'_>) -> Result<Self> {
        let map = call("mmap", || {
            // SAFETY: files mapped here are never written again (see above), so the bytes behind the
            // shared slice do not change; the mapping outlives the descriptor.
            let mapped = unsafe { MmapOptions::new().map(fd.as_raw_fd()) };
            mapped.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
        })?;
        Ok(FileMap { map })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;
    use std::io::Write;

    #[test]
    fn a_map_shows_the_file_after_it_is_closed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"written once").unwrap();
        let map = FileMap::whole(file.as_fd()).unwrap();
        drop(file);
        assert_eq!(map.bytes(), b"written once");
    }
}
