//! `save`: images as an archive.

use super::{all, flag, quiet_flag};
use crate::failure::{Failure, Result};
use crate::output::progress::Meter;
use crate::session::Session;
use clap::{Arg, ArgMatches, Command, value_parser};
use layerfs::store::SaveFormat;
use std::io::{BufWriter, IsTerminal, Write, stdout};
use std::path::PathBuf;

/// Bytes handed to a pipe at once: as many as it can take.
const BUFFER: usize = 1 << 16;

pub(super) fn grammar() -> Command {
    Command::new("save")
        .about("Writes images as a docker-archive or OCI archive")
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Where to; with --oci, into a directory that exists [default: the standard output]"),
        )
        .arg(flag("oci", "Write an OCI image layout"))
        .arg(quiet_flag())
        .arg(Arg::new("image").value_name("IMAGE").required(true).num_args(1..).help("Images, by name or id"))
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let images: Vec<&str> = all::<String>(matches, "image").map(String::as_str).collect();
    let oci = matches.get_flag("oci");
    let format = if oci { SaveFormat::OciArchive } else { SaveFormat::DockerArchive };
    let meter = Meter::new("Saving layer", matches.get_flag("quiet"));
    let store = session.store()?;
    match matches.get_one::<PathBuf>("output") {
        Some(path) if oci && path.is_dir() => store.save_directory(&images, path, &meter)?,
        Some(path) => store.save_file(&images, format, path, &meter)?,
        None if stdout().is_terminal() => {
            return Err(Failure::usage("not to a terminal: give -o FILE, or a pipe"));
        }
        None => {
            let mut out = BufWriter::with_capacity(BUFFER, stdout().lock());
            store.save(&images, format, &mut out, &meter)?;
            out.flush()?;
        }
    }
    Ok(())
}
