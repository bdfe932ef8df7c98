//! `load`: images out of an archive or directory.

use super::quiet_flag;
use crate::failure::{Failure, Result};
use crate::output::progress::Meter;
use crate::session::{Session, finish, output};
use clap::{Arg, ArgMatches, Command, value_parser};
use layerfs::store::LoadSource;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

pub(super) fn grammar() -> Command {
    Command::new("load")
        .about("Loads images from a docker-archive, an OCI archive or an OCI directory")
        .arg(
            Arg::new("input")
                .short('i')
                .long("input")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("The archive or directory [default: the standard input]"),
        )
        .arg(quiet_flag())
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let source = match matches.get_one::<PathBuf>("input") {
        Some(path) => LoadSource::Path(path.clone()),
        None if std::io::stdin().is_terminal() => {
            return Err(Failure::usage("no archive: give -i FILE, or one on the standard input"));
        }
        None => LoadSource::stdin()?,
    };
    let meter = Meter::new("Loading layer", matches.get_flag("quiet"));
    let mut out = output();
    for image in session.store()?.load(source, &meter)? {
        if image.names.is_empty() {
            writeln!(out, "Loaded image ID: {}", image.id)?;
        }
        for name in &image.names {
            writeln!(out, "Loaded image: {name}")?;
        }
    }
    finish(out)
}
