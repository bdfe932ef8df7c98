//! `blame`: which layer gives a path, and what the others have to do with it.

use super::{flag, json_flag, needed, operand};
use crate::failure::{Failure, Result};
use crate::output::table::write_aligned;
use crate::output::units::{human_size, short_id};
use crate::session::{Session, finish, output};
use crate::stack::{name_style, path_fields, tree_of};
use clap::{Arg, ArgMatches, Command, value_parser};
use layerfs::store::Image;
use layerfs::store::inside::blame::{Blame, Deletion, LayerBlame, blame};
use layerfs::store::inside::hidden::{Hidden, hidden};
use layerfs::store::inside::text::PathText;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

pub(super) fn grammar() -> Command {
    Command::new("blame")
        .about("Says which layer gives a file, and which others had, changed or deleted it")
        .arg(flag("deleted", "What later layers hid, with its size"))
        .arg(json_flag())
        .arg(operand("image", "IMAGE", "The image, by name or id"))
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .value_parser(value_parser!(OsString))
                .required_unless_present("deleted")
                .conflicts_with("deleted")
                .help("The file"),
        )
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let (store, image) = session.image(needed::<String>(matches, "image")?)?;
    let tree = tree_of(&store, &image, None)?;
    let layers = Layers::of(&image);
    let json = matches.get_flag("json");
    let mut out = output();
    if matches.get_flag("deleted") {
        write_hidden(&hidden(&tree)?, &layers, json, &mut out)?;
        return finish(out);
    }
    let path = needed::<OsString>(matches, "path")?.as_bytes();
    if path.first() != Some(&b'/') {
        return Err(Failure::usage(format_args!("{}: paths in images begin with /", PathText::from(path))));
    }
    let found = blame(&tree, path)?;
    match json {
        true => writeln!(out, "{:#}", document(&found, &layers))?,
        false => write_blame(&found, &layers, &mut out)?,
    }
    finish(out)
}

/// What is told of layers: their number from the lowest, digest, and how they were made.
struct Layers {
    digests: Vec<String>,
    made_by: Vec<String>,
}

impl Layers {
    fn of(image: &Image) -> Layers {
        let made = |entry: Option<&oci_spec::image::History>| {
            entry.and_then(|entry| entry.created_by().clone()).unwrap_or_default()
        };
        Layers {
            digests: image.diff_ids().iter().map(ToString::to_string).collect(),
            made_by: image.layer_history().into_iter().map(made).collect(),
        }
    }

    /// The number of a layer that is counted from the topmost, 0.
    fn number(&self, from_top: usize) -> usize {
        self.digests.len() - from_top
    }

    fn digest(&self, from_top: usize) -> &str {
        &self.digests[self.number(from_top) - 1]
    }

    fn made_by(&self, from_top: usize) -> &str {
        &self.made_by[self.number(from_top) - 1]
    }
}

fn write_blame(found: &Blame, layers: &Layers, out: &mut dyn Write) -> Result<()> {
    out.write_all(&name_style().apply(&found.path))?;
    match found.gives {
        Some(layer) => writeln!(out, ": from layer {}, {}", layers.number(layer), layers.digest(layer))?,
        None => writeln!(out, ": not shown, deleted or hidden by later layers")?,
    }
    let mut rows = vec![["LAYER", "DIGEST", "HERE", "CREATED BY"].map(str::to_owned).to_vec()];
    for layer in found.layers.iter().filter(|layer| !layer.is_nothing()) {
        rows.push(vec![
            layers.number(layer.layer).to_string(),
            short_id(layers.digest(layer.layer)).to_owned(),
            words(layer, found.gives, layers),
            layers.made_by(layer.layer).replace(['\t', '\n'], " "),
        ]);
    }
    Ok(write_aligned(out, &rows)?)
}

/// What a layer has to do with the path, in words.
fn words(layer: &LayerBlame, gives: Option<usize>, layers: &Layers) -> String {
    let mut said = Vec::new();
    if layer.has.is_some() {
        let changed: Vec<&str> = layer.changed.iter().map(|field| field.word()).collect();
        let what = match (layer.replaces, changed.is_empty()) {
            (None, _) => "added".to_owned(),
            (Some(_), true) => "repeated without a change".to_owned(),
            (Some(_), false) => format!("changed {}", changed.join(", ")),
        };
        said.push(match (layer.hidden_by, gives == Some(layer.layer)) {
            (Some(by), _) => format!("{what}, hidden by layer {}", layers.number(by)),
            (None, true) => format!("{what}, shown"),
            (None, false) => format!("{what}, merged"),
        });
    }
    said.extend(layer.deletes.as_ref().map(deletion));
    said.join("; ")
}

fn deletion(how: &Deletion) -> String {
    let at = |path: &Vec<u8>| PathText::from(path.as_slice());
    match how {
        Deletion::Whiteout => "deleted".to_owned(),
        Deletion::AboveWhiteout(path) => format!("deleted with {}", at(path)),
        Deletion::Opaque(path) => format!("deleted what was in {} before", at(path)),
        Deletion::ReplacedAbove(path) => format!("deleted: {} is no directory", at(path)),
    }
}

fn document(found: &Blame, layers: &Layers) -> Value {
    let mut fields = path_fields(&found.path);
    let one = |layer: &LayerBlame| {
        json!({
            "Layer": layers.number(layer.layer),
            "Digest": layers.digest(layer.layer),
            "CreatedBy": layers.made_by(layer.layer),
            "Has": layer.has.is_some(),
            "Shown": layer.shown,
            "HiddenBy": layer.hidden_by.map(|by| layers.number(by)),
            "Changed": layer.changed.iter().map(|field| field.word()).collect::<Vec<_>>(),
            "Replaces": layer.replaces.map(|by| layers.number(by)),
            "Deletes": layer.deletes.as_ref().map(deletion),
        })
    };
    let all: Vec<Value> = found.layers.iter().filter(|layer| !layer.is_nothing()).map(one).collect();
    fields.insert("Layer".to_owned(), found.gives.map(|layer| layers.number(layer)).into());
    fields.insert("Layers".to_owned(), all.into());
    Value::Object(fields)
}

/// What is hidden, a line each; and the sum.
fn write_hidden(hidden: &[Hidden], layers: &Layers, json: bool, out: &mut dyn Write) -> Result<()> {
    if json {
        for one in hidden {
            let mut fields = path_fields(&one.path);
            fields.insert("Size".to_owned(), one.attr.size.into());
            fields.insert("Layer".to_owned(), layers.number(one.layer).into());
            fields.insert("HiddenBy".to_owned(), layers.number(one.hidden_by).into());
            fields.insert("Overwritten".to_owned(), one.overwritten.into());
            writeln!(out, "{}", Value::Object(fields))?;
        }
        return Ok(());
    }
    let mut rows = vec![["SIZE", "LAYER", "HIDDEN BY", "HOW", "PATH"].map(str::to_owned).to_vec()];
    for one in hidden {
        let size = if one.attr.kind.is_dir() { "-".to_owned() } else { human_size(one.attr.size) };
        let how = if one.overwritten { "overwritten" } else { "deleted" };
        let path = PathText::from(one.path.as_slice()).to_string();
        let number = |layer| layers.number(layer).to_string();
        rows.push(vec![size, number(one.layer), number(one.hidden_by), how.to_owned(), path]);
    }
    Ok(write_aligned(out, &rows)?)
}
