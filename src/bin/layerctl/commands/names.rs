//! `tag`, `rmi`: names given and taken away, images removed.

use super::{all, flag, needed, operand};
use crate::failure::Result;
use crate::session::{Outcomes, Session, finish, output};
use clap::{Arg, ArgMatches, Command};
use layerfs::store::Name;
use std::io::Write;

pub(super) fn tag_grammar() -> Command {
    Command::new("tag")
        .about("Gives an image one more name")
        .arg(operand("image", "IMAGE", "The image, by name or id"))
        .arg(operand("name", "NAME[:TAG]", "The new name"))
}

pub(super) fn tag(matches: &ArgMatches, session: &Session) -> Result<()> {
    let name: Name = needed::<String>(matches, "name")?.parse()?;
    Ok(session.store()?.tag(needed::<String>(matches, "image")?, &name)?)
}

pub(super) fn rmi_grammar() -> Command {
    Command::new("rmi")
        .about("Takes names away, and removes images that have no other")
        .arg(flag("force", "Remove an image with all its names").short('f'))
        .arg(Arg::new("image").value_name("IMAGE").required(true).num_args(1..).help("Images, by name or id"))
}

pub(super) fn rmi(matches: &ArgMatches, session: &Session) -> Result<()> {
    let store = session.store()?;
    let mut out = output();
    let mut outcomes = Outcomes::default();
    for image in all::<String>(matches, "image") {
        outcomes.note(store.remove(image, matches.get_flag("force")).map_err(Into::into).and_then(
            |removed| {
                for what in removed {
                    writeln!(out, "{what}")?;
                }
                Ok(())
            },
        ))?;
    }
    finish(out)?;
    outcomes.end()
}
