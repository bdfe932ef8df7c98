//! Files that are read as memory.

use super::error::{Result, SysError, call, check};
use memmap2::{Advice, Mmap, MmapOptions};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// Since Linux 6.5; libc does not name it for all processors.
const SYS_CACHESTAT: libc::c_long = 451;

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
        // SAFETY: files mapped here are never written again (see above), so the bytes behind the
        // shared slice do not change; the mapping outlives the descriptor.
        let map = named("mmap", || unsafe { MmapOptions::new().map(fd.as_raw_fd()) })?;
        Ok(FileMap { map })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}

/// A part of a file that was in the page cache, and can be handed to a syscall without being copied before.
///
/// Nobody may change the file. Where it is shortened all the same the syscall answers EFAULT; to look at the
/// bytes here would be a SIGBUS.
#[derive(Debug)]
pub struct CachedRange {
    map: Mmap,
}

impl CachedRange {
    /// Maps the range, which must not be empty. `None` if it goes beyond the end, or if not all of it is in the
    /// page cache: to read it is faster then, since the kernel reads ahead of that, and holes are read without
    /// being made pages. Answers an error where the kernel does not tell what is cached, or not to this user.
    #[allow(unsafe_code)]
    pub fn of(fd: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Option<Self>> {
        let size = call("fstat", || rustix::fs::fstat(fd))?.st_size;
        let end = offset + len as u64;
        if u64::try_from(size).is_ok_and(|size| size < end) || !is_cached(fd, offset, len as u64)? {
            return Ok(None);
        }
        // SAFETY: the files of lower layers do not change while they are mounted, and the bytes are only handed
        // on to the kernel, which checks each page.
        let map =
            named("mmap", || unsafe { MmapOptions::new().offset(offset).len(len).map(fd.as_raw_fd()) })?;
        // All pages at once, and an error of the disk is found here.
        named("madvise", || map.advise(Advice::PopulateRead))?;
        Ok(Some(CachedRange { map }))
    }

    /// Its bytes, for a syscall.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}

/// What the kernel knows of a part of the page cache, in pages.
#[repr(C)]
#[derive(Default)]
struct CacheStat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether all pages that the range touches are in the page cache.
#[allow(unsafe_code)]
fn is_cached(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<bool> {
    let range = [offset, len];
    let mut found = CacheStat::default();
    call("cachestat", || {
        // SAFETY: both structures are the kernel's, two and five numbers of 64 bits, and outlive the call.
        check(unsafe {
            libc::syscall(
                SYS_CACHESTAT,
                fd.as_raw_fd(),
                range.as_ptr(),
                &raw mut found,
                libc::c_uint::from(0u8),
            )
        })
    })?;
    let page = rustix::param::page_size() as u64;
    Ok(found.cached == (offset + len).div_ceil(page) - offset / page)
}

/// A call of memmap2 under its name.
fn named<T>(
    name: &'static str,
    run: impl FnOnce() -> std::io::Result<T>,
) -> std::result::Result<T, SysError> {
    call(name, || run().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;
    use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};
    use std::fs::File;
    use std::io::Write;

    /// A file that is in the page cache wherever the tests run.
    fn cached(len: usize) -> File {
        let mut file = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
        let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn a_range_that_is_cached_is_mapped_from_any_offset() {
        let file = cached(3 << 20);
        for (offset, len) in [(0, 1 << 20), (12_345, 400_000), ((3 << 20) - 1, 1)] {
            let range = CachedRange::of(file.as_fd(), offset, len).unwrap().unwrap();
            let want: Vec<u8> = (0..len).map(|at| ((at + offset as usize) % 251) as u8).collect();
            assert!(range.bytes() == want, "{offset} {len}");
        }
    }

    #[test]
    fn what_is_not_cached_or_not_there_is_not_mapped() {
        let file = cached(3 << 20);
        assert!(CachedRange::of(file.as_fd(), (2 << 20) + 1, 1 << 20).unwrap().is_none(), "beyond the end");
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, hole, 1 << 20, 4096).unwrap();
        assert!(CachedRange::of(file.as_fd(), 0, 2 << 20).unwrap().is_none(), "a page is not there");
        assert!(CachedRange::of(file.as_fd(), (1 << 20) + 4095, 2).unwrap().is_none(), "nor all of this");
        assert!(CachedRange::of(file.as_fd(), (1 << 20) + 4096, 1 << 20).unwrap().is_some());
    }

    #[test]
    fn a_range_of_a_file_that_was_shortened_is_an_error_of_the_call() {
        let file = cached(1 << 20);
        let range = CachedRange::of(file.as_fd(), 0, 1 << 20).unwrap().unwrap();
        file.set_len(0).unwrap();
        let taken = rustix::io::write(tempfile::tempfile().unwrap(), range.bytes());
        assert_eq!(taken, Err(Errno::FAULT));
    }

    #[test]
    fn a_map_shows_the_file_after_it_is_closed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"written once").unwrap();
        let map = FileMap::whole(file.as_fd()).unwrap();
        drop(file);
        assert_eq!(map.bytes(), b"written once");
    }
}
