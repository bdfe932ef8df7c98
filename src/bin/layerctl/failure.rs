//! Why a command did not do what it was asked for, and the exit code of that.

use layerfs::store::StoreError;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// What a shell shows of a program that SIGPIPE ended.
const BROKEN_PIPE: u8 = 141;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line makes no sense: exit code 2.
    Usage(String),
    /// One line that says what went wrong: exit code 1.
    Failed(String),
    /// All is said already: this exit code.
    Said(u8),
    /// Nobody reads the output any more: no word about it.
    BrokenPipe,
}

/// The outcome of a command.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        match is_broken_pipe(&error) {
            true => Failure::BrokenPipe,
            false => Failure::Failed(error.to_string()),
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let io = match error.downcast_ref::<StoreError>() {
        // Its text says all of it, so it has no source.
        Some(StoreError::Io { error, .. }) => Some(error),
        _ => error.downcast_ref::<io::Error>(),
    };
    let broken = io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    broken || error.source().is_some_and(is_broken_pipe)
}

impl Failure {
    /// A failure in these words.
    pub(crate) fn failed(problem: impl Display) -> Failure {
        Failure::Failed(problem.to_string())
    }

    /// A mistake in the command line.
    pub(crate) fn usage(problem: impl Display) -> Failure {
        Failure::Usage(problem.to_string())
    }

    /// Says it on stderr and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Failure::Usage(line) => {
                say(line);
                ExitCode::from(2)
            }
            Failure::Failed(line) => {
                say(line);
                ExitCode::FAILURE
            }
            Failure::Said(code) => ExitCode::from(*code),
            Failure::BrokenPipe => ExitCode::from(BROKEN_PIPE),
        }
    }
}

/// Says one line on stderr. Names in it may be hostile: what a terminal would act on is escaped.
pub(crate) fn say(line: &str) {
    let shown: String = line
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    eprintln!("layerctl: {shown}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_is_known_however_deep_it_lies() {
        #[derive(Debug, thiserror::Error)]
        #[error("saving")]
        struct Outer(#[source] io::Error);
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Failure::from(broken()), Failure::BrokenPipe));
        assert!(matches!(Failure::from(Outer(broken())), Failure::BrokenPipe));
        let path = "x".into();
        let stored = Failure::from(StoreError::Io { doing: "write", path, error: broken() });
        assert!(matches!(stored, Failure::BrokenPipe));
        let other = Failure::from(Outer(io::ErrorKind::StorageFull.into()));
        assert!(matches!(other, Failure::Failed(line) if line == "saving"));
    }
}
