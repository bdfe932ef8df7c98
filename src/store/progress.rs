//! What long work tells of itself.

/// Hears how far long work has come. Calls may come from any thread.
pub trait Progress: Sync {
    /// Work on a layer begins; `total` is the number of bytes to read, where it is known.
    fn layer(&self, short_id: &str, total: Option<u64>);
    /// So many more bytes are read.
    fn advance(&self, bytes: u64);
    /// The layer is done: "loaded", "exists" and so on.
    fn done(&self, outcome: &str);
    /// One line for the user.
    fn message(&self, text: &str);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn layer(&self, _short_id: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn done(&self, _outcome: &str) {}
    fn message(&self, _text: &str) {}
}
