//! Archives by name: what each means, or why it is refused.

use super::testing::{TarBuilder, index_of, rows_as_text};
use crate::store::digest::Hasher;
use ::tar::Header;

mod extracted;
mod forms;
mod links;
mod refused;
mod tree;

fn new() -> TarBuilder {
    TarBuilder::new()
}

/// Compares the rows, the root's left out.
#[track_caller]
fn means(tar: TarBuilder, expected: &str) {
    let index = index_of(&tar.end()).unwrap_or_else(|e| panic!("refused: {e}"));
    let text = rows_as_text(&index);
    let (_, text) = text.split_once('\n').unwrap();
    let expected: String = expected.trim().lines().map(|line| format!("{}\n", line.trim())).collect();
    assert_eq!(text, expected);
}

#[track_caller]
fn refused(tar: &[u8], expected: &str) {
    match index_of(tar) {
        Err(e) => assert_eq!(e.to_string(), expected),
        Ok(index) => panic!("taken:\n{}", rows_as_text(&index)),
    }
}

fn header(kind: u8, name: &str, change: impl FnOnce(&mut Header)) -> Header {
    let mut header = TarBuilder::header(kind, name);
    change(&mut header);
    header
}

/// The digest of a file's data as [`layer_as_text`] gives it.
fn hash(data: &str) -> String {
    let mut hasher = Hasher::new();
    hasher.update(data.as_bytes());
    hasher.finish_diff().hex()[..16].to_owned()
}
