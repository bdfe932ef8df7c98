//! How far long work has come: bars on a terminal, lines elsewhere.

use super::units::human_size;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use layerfs::store::Progress;
use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// Shows the progress of one command on stderr.
pub(crate) struct Meter {
    verb: &'static str,
    quiet: bool,
    /// None where stderr is no terminal.
    bars: Option<MultiProgress>,
    /// What is worked on, by the thread that began it: several layers may be read at once.
    current: Mutex<Vec<(ThreadId, Layer)>>,
}

struct Layer {
    id: String,
    bytes: u64,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// For work that is called this ("Loading layer").
    pub(crate) fn new(verb: &'static str, quiet: bool) -> Meter {
        let terminal = !quiet && stderr().is_terminal();
        let bars = terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Meter { verb, quiet, bars, current: Mutex::new(Vec::new()) }
    }

    fn bar(&self, bars: &MultiProgress, id: &str, total: Option<u64>) -> ProgressBar {
        let bar = bars.add(total.map_or_else(ProgressBar::no_length, ProgressBar::new));
        let counts = match total {
            Some(_) => "[{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}",
            None => "{decimal_bytes} {decimal_bytes_per_sec}",
        };
        let template = format!("{{prefix}}: {{msg}} {counts}");
        // A template that could not be parsed would leave indicatif's own.
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(id.to_owned());
        bar.set_message(if is_id(id) { self.verb } else { "" });
        bar
    }

    fn current(&self) -> MutexGuard<'_, Vec<(ThreadId, Layer)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line, above the bars where there are some.
    fn line(&self, text: &str) {
        match &self.bars {
            _ if self.quiet => {}
            // A terminal that cannot be written to shows nothing anyway.
            Some(bars) => bars.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

/// Whether this is the beginning of a digest, and no word for what is read.
fn is_id(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The layer that this thread began, else the latest.
fn own(current: &[(ThreadId, Layer)]) -> Option<usize> {
    let thread = std::thread::current().id();
    current.iter().position(|(owner, _)| *owner == thread).or_else(|| current.len().checked_sub(1))
}

impl Progress for Meter {
    fn layer(&self, short_id: &str, total: Option<u64>) {
        let bar = self.bars.as_ref().map(|bars| self.bar(bars, short_id, total));
        let layer = Layer { id: short_id.to_owned(), bytes: 0, bar };
        let thread = std::thread::current().id();
        let mut current = self.current();
        current.retain(|(owner, _)| *owner != thread);
        current.push((thread, layer));
    }

    fn advance(&self, bytes: u64) {
        let mut current = self.current();
        let Some(at) = own(&current) else { return };
        let layer = &mut current[at].1;
        layer.bytes += bytes;
        if let Some(bar) = &layer.bar {
            bar.inc(bytes);
        }
    }

    fn done(&self, outcome: &str) {
        let mut current = self.current();
        let Some(at) = own(&current) else { return };
        let (_, layer) = current.remove(at);
        drop(current);
        if let Some(bar) = &layer.bar {
            bar.finish_and_clear();
        }
        let mut words = vec![format!("{}:", layer.id)];
        if is_id(&layer.id) {
            words.push(self.verb.to_owned());
        }
        if layer.bytes > 0 {
            words.push(human_size(layer.bytes));
        }
        words.push(outcome.to_owned());
        self.line(&words.join(" "));
    }

    fn message(&self, text: &str) {
        self.line(text);
    }
}
