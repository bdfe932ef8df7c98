//! The archive as a stream that knows where it is.

use super::Problem;
use std::io::{self, Read};

/// Size of the blocks that an archive is made of.
pub(super) const BLOCK: usize = 512;
/// One block.
pub(super) type Block = [u8; BLOCK];

/// Past this the cost of the reads no longer shows.
const BUFFER: usize = 128 << 10;

/// A stream with its place.
pub(super) struct Source<'a> {
    from: &'a mut dyn Read,
    buffer: Box<[u8]>,
    /// What of the buffer is not taken yet.
    start: usize,
    end: usize,
    /// Bytes taken so far.
    at: u64,
}

impl<'a> Source<'a> {
    /// Begins at the start of the archive.
    pub(super) fn new(from: &'a mut dyn Read) -> Self {
        Source { from, buffer: vec![0; BUFFER].into(), start: 0, end: 0, at: 0 }
    }

    /// Where the next byte is in the archive.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// What is there without waiting for more, after a read if that is nothing; empty at the end.
    fn some(&mut self) -> Result<&[u8], Problem> {
        while self.start == self.end {
            match self.from.read(&mut self.buffer) {
                Ok(0) => break,
                // A reader that claims more than it was given room for is not believed.
                Ok(n) => (self.start, self.end) = (0, n.min(self.buffer.len())),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Problem::Read(e)),
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn take(&mut self, n: usize) {
        self.start += n;
        self.at += n as u64;
    }

    /// Fills `buf` as far as the archive goes; answers the bytes read.
    fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Problem> {
        let mut done = 0;
        while done < buf.len() {
            let some = self.some()?;
            if some.is_empty() {
                break;
            }
            let n = some.len().min(buf.len() - done);
            buf[done..done + n].copy_from_slice(&some[..n]);
            self.take(n);
            done += n;
        }
        Ok(done)
    }

    /// The next block; `None` at the end of the archive.
    pub(super) fn block(&mut self, inside: &'static str) -> Result<Option<Block>, Problem> {
        let mut block = [0; BLOCK];
        match self.fill(&mut block)? {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(Problem::Truncated(inside)),
        }
    }

    /// The next `len` bytes and the padding up to the end of their last block.
    pub(super) fn padded(&mut self, len: usize, inside: &'static str) -> Result<Vec<u8>, Problem> {
        let mut bytes = vec![0; len];
        if self.fill(&mut bytes)? < len {
            return Err(Problem::Truncated(inside));
        }
        self.skip(padding(len as u64), inside)?;
        Ok(bytes)
    }

    /// Passes over `len` bytes.
    pub(super) fn skip(&mut self, mut len: u64, inside: &'static str) -> Result<(), Problem> {
        while len > 0 {
            let some = self.some()?.len();
            if some == 0 {
                return Err(Problem::Truncated(inside));
            }
            let n = usize::try_from(len).unwrap_or(usize::MAX).min(some);
            self.take(n);
            len -= n as u64;
        }
        Ok(())
    }

    /// Passes over `len` bytes, or fewer at the end of the archive: umoci leaves the last block of an inserted
    /// file as short as its data.
    pub(super) fn skip_padding(&mut self, mut len: u64) -> Result<(), Problem> {
        while len > 0 {
            let some = self.some()?.len();
            if some == 0 {
                break;
            }
            let n = usize::try_from(len).unwrap_or(usize::MAX).min(some);
            self.take(n);
            len -= n as u64;
        }
        Ok(())
    }

    /// Passes over all that is left.
    pub(super) fn drain(&mut self) -> Result<(), Problem> {
        loop {
            match self.some()?.len() {
                0 => return Ok(()),
                n => self.take(n),
            }
        }
    }
}

/// What is missing from a length to the end of its last block.
pub(super) fn padding(len: u64) -> u64 {
    len.wrapping_neg() % BLOCK as u64
}
