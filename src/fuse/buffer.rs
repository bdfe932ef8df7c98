//! The memory that a thread reads data to before it replies.
//!
//! It grows to the largest read, 1 MiB, so that a large read finds its pages there. Few threads read much for
//! long: one that has answered small reads only for a while gives the rest back.

use std::cell::RefCell;

/// What a small read fits in: the read-ahead that the kernel has by itself.
const SMALL: usize = 128 << 10;
/// So many small reads in a row mean that the large ones are over: one directory of small files is.
const PATIENCE: u32 = 64;

/// Counts the small ones between large ones.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Since the last large one.
    small: u32,
}

impl Patience {
    /// Whether large ones are over with this one.
    pub(super) fn is_over(&mut self, len: usize) -> bool {
        self.small = if len <= SMALL { self.small.saturating_add(1) } else { 0 };
        self.small == PATIENCE
    }
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    patience: Patience,
}

impl Buffer {
    fn get(&mut self, len: usize) -> &mut [u8] {
        if self.patience.is_over(len) {
            self.bytes.truncate(SMALL);
            self.bytes.shrink_to_fit();
        }
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        &mut self.bytes[..len]
    }
}

thread_local! {
    static BUFFER: RefCell<Buffer> = RefCell::default();
}

/// Runs `body` with so many bytes, whatever is in them. `body` must not come here again.
pub(super) fn with_buffer<T>(len: usize, body: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| body(buffer.get(len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_is_kept_through_some_small_reads_and_then_given_back() {
        let mut buffer = Buffer::default();
        for round in 0..3 {
            assert_eq!(buffer.get(1 << 20).len(), 1 << 20);
            for _ in 1..PATIENCE {
                assert_eq!(buffer.get(4096).len(), 4096);
            }
            assert!(buffer.bytes.capacity() >= 1 << 20, "{round}");
        }
        assert_eq!(buffer.get(4096).len(), 4096);
        assert!(buffer.bytes.capacity() <= SMALL);
        assert_eq!(buffer.get(SMALL + 1).len(), SMALL + 1);
    }
}
