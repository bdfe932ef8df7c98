//! `unpack`: an image or a layer as plain directories.

use super::{needed, operand, quiet_flag, target_operand};
use crate::failure::{Result, say};
use crate::output::progress::Meter;
use crate::session::Session;
use crate::stack::{diff_id_of, tree_of};
use crate::target::Target;
use clap::{ArgMatches, Command, value_parser};
use layerfs::layer::Layer;
use layerfs::store::inside::Tree;
use layerfs::store::inside::unpack::{Report, UnpackOptions, unpack};
use layerfs::store::{Image, Progress, Store};
use std::cell::Cell;
use std::ffi::OsString;
use std::path::PathBuf;

pub(super) fn grammar() -> Command {
    Command::new("unpack")
        .about("Writes an image, or one layer in overlayfs format, into a directory")
        .arg(quiet_flag())
        .arg(target_operand("target", "IMAGE[@N]", "The image or layer"))
        .arg(operand("dir", "DIR", "Empty or missing").value_parser(value_parser!(PathBuf)))
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let target = Target::parse(needed::<OsString>(matches, "target")?)?.without_path()?;
    let (store, image) = session.image(&target.image)?;
    let tree = tree_of(&store, &image, target.layer)?;
    let below = target.layer.map(|number| below(&store, &image, number)).transpose()?;
    let meter = Meter::new("Unpacking", matches.get_flag("quiet"));
    meter.layer("unpacking", Some(image.size()).filter(|_| target.layer.is_none()));
    let told = Cell::new(0);
    let tell = |report: &Report| meter.advance(report.bytes - told.replace(report.bytes));
    let options = UnpackOptions { below: below.as_ref(), progress: Some(&tell) };
    let report = unpack(&tree, needed::<PathBuf>(matches, "dir")?, &options)?;
    meter.done(&format!("in {} files and directories", report.written));
    if !report.is_exact() {
        say(&report.to_string());
    }
    Ok(())
}

/// The layers below one, as a tree.
fn below(store: &Store, image: &Image, number: usize) -> Result<Tree<'static>> {
    let mut layers: Vec<Box<dyn Layer>> = Vec::new();
    for lower in (1..number).rev() {
        layers.push(Box::new(store.layer(diff_id_of(image, lower)?)?));
    }
    Ok(Tree::new(layers))
}
