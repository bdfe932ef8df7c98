//! `import`: a tar or a directory as an image of one layer.

use super::commit::{Changed, change_option, edit, stage_directory, text_option};
use super::{needed, operand, quiet_flag};
use crate::failure::Result;
use crate::output::progress::Meter;
use crate::session::{Session, finish, output};
use clap::{ArgMatches, Command, value_parser};
use layerfs::store::LoadSource;
use std::io::Write;
use std::path::PathBuf;

pub(super) fn grammar() -> Command {
    Command::new("import")
        .about("Makes an image of one layer of a tar (plain, gzip, zstd) or a directory")
        .arg(change_option())
        .arg(text_option("message", 'm', "The comment in its history"))
        .arg(quiet_flag())
        .arg(
            operand("file", "FILE", "A tar, a directory, or - for the standard input")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(operand("name", "NAME[:TAG]", "The name of the image"))
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let edit = edit(matches, "layerctl import")?;
    let path = needed::<PathBuf>(matches, "file")?;
    let meter = Meter::new("Importing layer", matches.get_flag("quiet"));
    let store = session.store()?;
    let added = if path.is_dir() {
        let files = Changed { upper: path.clone(), work: None };
        let layer = stage_directory(&store, None, &files, &meter)?;
        store.add_image(None, layer, &edit)?
    } else {
        let source = match path.as_os_str() == "-" {
            true => LoadSource::stdin()?,
            false => LoadSource::Path(path.clone()),
        };
        store.import_layer(source, &edit, &meter)?
    };
    let mut out = output();
    writeln!(out, "{}", added.id)?;
    finish(out)
}
