//! `gc`: removes what no image refers to.

use super::{flag, json_flag};
use crate::failure::Result;
use crate::output::units::human_size;
use crate::session::{Session, finish, output};
use clap::{ArgMatches, Command};
use serde_json::json;
use std::io::Write;

pub(super) fn grammar() -> Command {
    Command::new("gc")
        .about("Removes what no image refers to")
        .arg(flag("dry-run", "Only say what would be removed").short('n'))
        .arg(json_flag())
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let dry = matches.get_flag("dry-run");
    let garbage = session.store()?.gc(dry)?;
    let mut out = output();
    if matches.get_flag("json") {
        let files: Vec<_> =
            garbage.files.iter().map(|(path, size)| json!({"Path": path, "Size": size})).collect();
        let document = json!({"Files": files, "Bytes": garbage.bytes(), "Removed": !dry});
        writeln!(out, "{document:#}")?;
        return finish(out);
    }
    for (path, size) in &garbage.files {
        writeln!(out, "{}: {path} ({})", if dry { "Would delete" } else { "Deleted" }, human_size(*size))?;
    }
    let verb = if dry { "Reclaimable space" } else { "Total reclaimed space" };
    writeln!(out, "{verb}: {}", human_size(garbage.bytes()))?;
    finish(out)
}
