//! What every command stands on: the cache, and the standard streams.

use crate::failure::{Failure, Result, say};
use clap::ArgMatches;
use layerfs::store::{Image, Store, default_root};
use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::PathBuf;

/// One run of the program.
pub(crate) struct Session {
    typed_root: Option<PathBuf>,
}

impl Session {
    /// With the root that was typed, or the usual one.
    pub(crate) fn new(matches: &ArgMatches) -> Session {
        Session { typed_root: matches.get_one::<PathBuf>("root").cloned() }
    }

    /// Where the cache is.
    pub(crate) fn root(&self) -> Result<PathBuf> {
        Ok(default_root(self.typed_root.as_deref())?)
    }

    /// The cache, made if it is missing and cleaned of what killed commands left.
    pub(crate) fn store(&self) -> Result<Store> {
        Ok(Store::open(&self.root()?)?)
    }

    /// The cache and an image in it.
    pub(crate) fn image(&self, name: &str) -> Result<(Store, Image)> {
        let store = self.store()?;
        let image = store.resolve(name)?;
        Ok((store, image))
    }
}

/// Standard output, buffered; what is left in it is written by [`finish`].
pub(crate) fn output() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Writes what is left in the buffer.
pub(crate) fn finish(mut out: impl Write) -> Result<()> {
    Ok(out.flush()?)
}

/// Goes on after a failure that concerns one of several operands: says it, and remembers it.
#[derive(Default)]
pub(crate) struct Outcomes {
    failed: bool,
}

impl Outcomes {
    /// Takes note of one operand's outcome.
    pub(crate) fn note(&mut self, done: Result<()>) -> Result<()> {
        match done {
            Err(Failure::Failed(line)) => {
                say(&line);
                self.failed = true;
                Ok(())
            }
            other => other,
        }
    }

    /// The outcome of all.
    pub(crate) fn end(self) -> Result<()> {
        if self.failed { Err(Failure::Said(1)) } else { Ok(()) }
    }
}
