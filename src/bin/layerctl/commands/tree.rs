//! `tree`: what is below a directory, drawn.

use super::{flag, needed, option, target_operand};
use crate::failure::Result;
use crate::session::{Session, finish, output};
use crate::stack::{name_style, typed_tree};
use crate::target::Target;
use clap::{ArgMatches, Command, value_parser};
use layerfs::store::inside::tree_view::{TreeOptions, tree};
use std::ffi::OsString;

pub(super) fn grammar() -> Command {
    Command::new("tree")
        .about("Draws what is below a directory of an image")
        .arg(option("level", "N", "So many levels").short('L').value_parser(value_parser!(usize)))
        .arg(flag("all", "Names that begin with a dot, too").short('a'))
        .arg(flag("directories", "Directories only").short('d'))
        .arg(target_operand("target", "IMAGE[@N][:PATH]", "Where to begin"))
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let target = Target::parse(needed::<OsString>(matches, "target")?)?;
    let options = TreeOptions {
        depth: matches.get_one("level").copied(),
        all: matches.get_flag("all"),
        directories: matches.get_flag("directories"),
        names: name_style(),
    };
    let mut out = output();
    tree(&typed_tree(session, &target)?, target.path_or_root(), &options, &mut out)?;
    finish(out)
}
