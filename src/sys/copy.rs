//! Copying data between files: sharing blocks where it can be done, keeping holes, and getting much of it to
//! the disk.

use super::error::{Result, call, check};
use super::file::{Whence, read_at, seek, sync_data, truncate, write_at};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Copies a range between files inside the kernel; answers the bytes copied.
pub fn copy_range(
    from: BorrowedFd<'_>,
    from_at: u64,
    to: BorrowedFd<'_>,
    to_at: u64,
    len: u64,
) -> Result<u64> {
    let (mut from_at, mut to_at) = (from_at, to_at);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    call("copy_file_range", || {
        rustix::fs::copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), len)
    })
    .map(|n| n as u64)
}

/// Set once a filesystem pair refused to reflink, so that it is not asked for each file.
static NO_REFLINK: AtomicBool = AtomicBool::new(false);

/// What is done with data that was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBack {
    /// The system writes it to the disk when it sees fit.
    Later,
    /// It is made durable by the copy, so the disk begins while the rest is copied.
    Durable,
}

/// Copies the first `len` bytes of `from` into the empty file `to`, keeping holes.
pub fn copy_sparse(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    len: u64,
    whole: bool,
    back: WriteBack,
) -> Result<()> {
    if whole && len > 0 && !NO_REFLINK.load(Ordering::Relaxed) {
        match call("ioctl(FICLONE)", || rustix::fs::ioctl_ficlone(to, from)) {
            // The files share their blocks: nothing was written.
            Ok(()) => return Ok(()),
            Err(e) if e.errno == Errno::OPNOTSUPP || e.errno == Errno::NOTTY => {
                NO_REFLINK.store(true, Ordering::Relaxed)
            }
            Err(e) if e.errno == Errno::XDEV || e.errno == Errno::INVAL => {}
            Err(e) => return Err(e),
        }
    }
    truncate(to, len)?;
    let mut at = 0;
    while at < len {
        let data = match seek(from, at, Whence::Data) {
            Ok(data) => data,
            // No data up to the end.
            Err(e) if e.errno == Errno::NXIO => break,
            // The filesystem does not know holes: all is data.
            Err(e) if e.errno == Errno::INVAL => at,
            Err(e) => return Err(e),
        };
        if data >= len {
            break;
        }
        let hole = seek(from, data, Whence::Hole).unwrap_or(len).clamp(data + 1, len);
        copy_range_all(from, data, to, data, hole - data, back)?;
        at = hole;
    }
    if back == WriteBack::Durable && len > 0 { sync_data(to) } else { Ok(()) }
}

/// So much is copied before the disk is set to work: large enough to be written in one go.
const WRITE_BACK_CHUNK: u64 = 8 << 20;

/// Copies all of a range, inside the kernel where it can; stops early only where `from` ends. Does
/// not wait for the disk. Much that is to be durable leaves no copy in memory, unless the two files can
/// share their blocks.
pub fn copy_range_all(
    from: BorrowedFd<'_>,
    mut from_at: u64,
    to: BorrowedFd<'_>,
    mut to_at: u64,
    mut len: u64,
    back: WriteBack,
) -> Result<()> {
    let (chunk, write): (u64, Write) = match back {
        WriteBack::Durable if len >= WRITE_BACK_CHUNK => (WRITE_BACK_CHUNK, write_uncached),
        WriteBack::Durable | WriteBack::Later => (u64::MAX, write_at),
    };
    if chunk < u64::MAX && !may_share(from_at, to_at) && !ALWAYS_CACHED.load(Ordering::Relaxed) {
        return copy_by_hand(from, from_at, to, to_at, len, write);
    }
    while len > 0 {
        match copy_range(from, from_at, to, to_at, len.min(chunk)) {
            // A filesystem that claims EOF too early: let read and write decide.
            Ok(0) => return copy_by_hand(from, from_at, to, to_at, len, write),
            Ok(n) => {
                if n == chunk {
                    start_writeback(to, to_at, n)?;
                }
                from_at += n;
                to_at += n;
                len -= n;
            }
            Err(e) if e.errno == Errno::INTR => {}
            Err(e) if matches!(e.errno, Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                return copy_by_hand(from, from_at, to, to_at, len, write);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Whether the filesystem might share blocks, as far as is known: it does so only where both begin alike in
/// a block.
fn may_share(from_at: u64, to_at: u64) -> bool {
    const BLOCK: u64 = 4096;
    !NO_REFLINK.load(Ordering::Relaxed) && from_at % BLOCK == to_at % BLOCK
}

/// How data is written at an offset.
type Write = fn(BorrowedFd<'_>, &[u8], u64) -> Result<()>;

fn copy_by_hand(
    from: BorrowedFd<'_>,
    mut from_at: u64,
    to: BorrowedFd<'_>,
    mut to_at: u64,
    mut len: u64,
    write: Write,
) -> Result<()> {
    // 1 MiB: past it the cost of the calls no longer shows.
    let mut buf = vec![0u8; usize::try_from(len).unwrap_or(usize::MAX).min(1 << 20)];
    while len > 0 {
        let want = usize::try_from(len).unwrap_or(usize::MAX).min(buf.len());
        let got = read_at(from, &mut buf[..want], from_at)?;
        if got == 0 {
            break;
        }
        write(to, &buf[..got], to_at)?;
        from_at += got as u64;
        to_at += got as u64;
        len -= got as u64;
    }
    Ok(())
}

/// The first kernel that writes without keeping a copy in memory and is known to lose nothing by it: 6.14 and
/// 6.15 could drop a page that was changed again in the meantime.
const UNCACHED_SINCE: (u32, u32) = (6, 16);

/// Each write keeps a copy in memory: by an older kernel, or once a filesystem refused.
static ALWAYS_CACHED: LazyLock<AtomicBool> = LazyLock::new(|| {
    let name = rustix::system::uname();
    AtomicBool::new(version(&name.release().to_string_lossy()) < UNCACHED_SINCE)
});

/// The first two numbers of a kernel's release.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Writes all of `data` at an offset and has the disk begin with it at once; memory keeps no copy of it once
/// it is there. An ordinary write where that cannot be done.
#[allow(unsafe_code)]
pub fn write_uncached(fd: BorrowedFd<'_>, data: &[u8], offset: u64) -> Result<()> {
    let mut done = 0;
    while done < data.len() {
        let (rest, at) = (&data[done..], offset + done as u64);
        if ALWAYS_CACHED.load(Ordering::Relaxed) {
            return write_at(fd, rest, at);
        }
        let buffer = libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
        let at = at.try_into().unwrap_or(i64::MAX);
        let wrote = call("pwritev2", || {
            // SAFETY: one buffer, which outlives the call and is only read.
            let n = unsafe { libc::pwritev2(fd.as_raw_fd(), &raw const buffer, 1, at, libc::RWF_DONTCACHE) };
            check(n as libc::c_long)
        });
        match wrote {
            Ok(n) => done += n,
            Err(e) if e.errno == Errno::INTR => {}
            Err(e) if matches!(e.errno, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                ALWAYS_CACHED.store(true, Ordering::Relaxed);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Begins to write a range of a file back, so that a later sync finds less to do; waits for nothing but
/// room in the device's queue. Nothing is done where that cannot be asked for: a sync does it all.
#[allow(unsafe_code)]
pub fn start_writeback(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<()> {
    let (offset, len) = (offset.try_into().unwrap_or(i64::MAX), len.try_into().unwrap_or(i64::MAX));
    call("sync_file_range", || {
        // SAFETY: the call takes no pointer, and the descriptor is borrowed.
        let done = unsafe { libc::sync_file_range(fd.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
        match check(done.into()) {
            Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
            done => done.map(drop),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fault::lack;
    use rustix::fd::AsFd;
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at / 512 % 251) as u8 ^ at as u8).collect()
    }

    fn read_all(file: &mut File) -> Vec<u8> {
        let mut all = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut all).unwrap();
        all
    }

    /// A file of data, a hole of 16 MiB, and data.
    fn sparse(from: &mut File) -> Vec<u8> {
        let data = pattern((17 << 20) + 3);
        from.write_all(&data).unwrap();
        from.seek(std::io::SeekFrom::Current(16 << 20)).unwrap();
        from.write_all(&data).unwrap();
        [&data[..], &vec![0; 16 << 20], &data].concat()
    }

    #[test]
    fn copies_of_each_size_are_whole_whichever_way_they_go() {
        let mut from = tempfile::tempfile().unwrap();
        let wanted = sparse(&mut from);
        for lacking in [&[][..], &["ioctl(FICLONE)"], &["pwritev2"], &["ioctl(FICLONE)", "copy_file_range"]] {
            lack(lacking);
            for len in [wanted.len(), (8 << 20) - 1, 9 << 20, 1, 0] {
                let mut to = tempfile::tempfile().unwrap();
                let whole = len == wanted.len();
                copy_sparse(from.as_fd(), to.as_fd(), len as u64, whole, WriteBack::Durable).unwrap();
                assert!(read_all(&mut to) == wanted[..len], "{len} without {lacking:?}");
            }
            let mut to = tempfile::tempfile().unwrap();
            copy_range_all(from.as_fd(), 512, to.as_fd(), 1, 9 << 20, WriteBack::Durable).unwrap();
            assert!(read_all(&mut to)[1..] == wanted[512..][..9 << 20], "unaligned without {lacking:?}");
        }
        lack(&[]);
    }

    #[test]
    fn releases_are_compared_by_their_numbers() {
        for (release, wanted) in
            [("6.18.44-fc", (6, 18)), ("5.4", (5, 4)), ("7.0-rc1", (7, 0)), ("?", (0, 0))]
        {
            assert_eq!(version(release), wanted, "{release}");
        }
        assert!(version("6.9.1") < UNCACHED_SINCE && version("10.1") > UNCACHED_SINCE);
    }

    #[test]
    fn an_uncached_write_writes_what_an_ordinary_one_does() {
        let mut file = tempfile::tempfile().unwrap();
        let data = pattern((2 << 20) + 77);
        write_uncached(file.as_fd(), &data, 5).unwrap();
        write_uncached(file.as_fd(), b"", 1 << 40).unwrap();
        assert!(read_all(&mut file) == [b"\0\0\0\0\0", &data[..]].concat());
        let read_only = File::open("/proc/self/exe").unwrap();
        assert_eq!(write_uncached(read_only.as_fd(), b"x", 0).unwrap_err().errno, Errno::BADF);
    }
}
