//! Copying data between files: sharing blocks where it can be done, keeping holes, and getting much of it to
//! the disk.

use super::error::{Result, call, check};
use super::file::{Whence, read_at, seek, sync_data, truncate, write_at};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
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
/// not wait for the disk.
pub fn copy_range_all(
    from: BorrowedFd<'_>,
    mut from_at: u64,
    to: BorrowedFd<'_>,
    mut to_at: u64,
    mut len: u64,
    back: WriteBack,
) -> Result<()> {
    let chunk = if back == WriteBack::Durable { WRITE_BACK_CHUNK } else { u64::MAX };
    while len > 0 {
        match copy_range(from, from_at, to, to_at, len.min(chunk)) {
            // A filesystem that claims EOF too early: let read and write decide.
            Ok(0) => return copy_by_hand(from, from_at, to, to_at, len),
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
                return copy_by_hand(from, from_at, to, to_at, len);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn copy_by_hand(
    from: BorrowedFd<'_>,
    mut from_at: u64,
    to: BorrowedFd<'_>,
    mut to_at: u64,
    mut len: u64,
) -> Result<()> {
    // 1 MiB: past it the cost of the calls no longer shows.
    let mut buf = vec![0u8; usize::try_from(len).unwrap_or(usize::MAX).min(1 << 20)];
    while len > 0 {
        let want = usize::try_from(len).unwrap_or(usize::MAX).min(buf.len());
        let got = read_at(from, &mut buf[..want], from_at)?;
        if got == 0 {
            break;
        }
        write_at(to, &buf[..got], to_at)?;
        from_at += got as u64;
        to_at += got as u64;
        len -= got as u64;
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
