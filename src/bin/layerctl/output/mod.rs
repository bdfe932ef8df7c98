//! What the commands print: tables, templates, sizes, ages, progress.

pub(crate) mod listing;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod units;
