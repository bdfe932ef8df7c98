//! `du`: what the layers of an image weigh, and what of it is hidden.

use super::{json_flag, needed, operand, option};
use crate::failure::Result;
use crate::output::table::write_aligned;
use crate::output::units::{human_size, short_id};
use crate::session::{Session, finish, output};
use crate::stack::{path_fields, tree_of};
use clap::{ArgMatches, Command, value_parser};
use layerfs::store::Image;
use layerfs::store::inside::du::{LayerUse, Usage, Wasted, du};
use layerfs::store::inside::text::PathText;
use serde_json::{Value, json};
use std::io::Write;

pub(super) fn grammar() -> Command {
    Command::new("du")
        .about("Says what each layer weighs, and how much of it later layers hide")
        .arg(option("top", "N", "The N paths that waste most").value_parser(value_parser!(usize)))
        .arg(json_flag())
        .arg(operand("image", "IMAGE", "The image, by name or id"))
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let (store, image) = session.image(needed::<String>(matches, "image")?)?;
    let usage = du(&tree_of(&store, &image, None)?)?;
    let top: usize = matches.get_one("top").copied().unwrap_or(0);
    let mut out = output();
    match matches.get_flag("json") {
        true => writeln!(out, "{:#}", document(&image, &usage, top))?,
        false => write_usage(&image, &usage, top, &mut out)?,
    }
    finish(out)
}

/// The layers by number, base first, with the sizes of their tars.
fn numbered<'a>(
    image: &'a Image,
    usage: &'a Usage,
) -> impl Iterator<Item = (usize, String, u64, &'a LayerUse)> {
    let tars = image.diff_ids().iter().zip(image.layer_sizes());
    let layers = tars.zip(usage.layers.iter().rev()).enumerate();
    layers.map(|(at, ((diff_id, tar), layer))| (at + 1, diff_id.to_string(), *tar, layer))
}

fn write_usage(image: &Image, usage: &Usage, top: usize, out: &mut dyn Write) -> Result<()> {
    let headings = ["LAYER", "DIGEST", "TAR", "FILES", "ENTRIES", "HIDDEN"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    for (number, digest, tar, layer) in numbered(image, usage) {
        rows.push(vec![
            number.to_string(),
            short_id(&digest).to_owned(),
            human_size(tar),
            human_size(layer.bytes),
            layer.entries.to_string(),
            human_size(layer.hidden),
        ]);
    }
    write_aligned(out, &rows)?;
    let (shown, all) = (human_size(usage.visible()), human_size(usage.bytes()));
    writeln!(out, "efficiency: {:.1} % ({shown} of {all} are shown)", usage.efficiency() * 100.0)?;
    if top > 0 && !usage.wasted.is_empty() {
        writeln!(out)?;
        let mut rows = vec![["WASTED", "COPIES", "PATH"].map(str::to_owned).to_vec()];
        for wasted in usage.top(top) {
            let path = PathText::from(wasted.path.as_slice()).to_string();
            rows.push(vec![human_size(wasted.bytes), wasted.times.to_string(), path]);
        }
        write_aligned(out, &rows)?;
    }
    Ok(())
}

fn document(image: &Image, usage: &Usage, top: usize) -> Value {
    let layers: Vec<Value> = numbered(image, usage)
        .map(|(number, digest, tar, layer)| {
            json!({
                "Layer": number,
                "Digest": digest,
                "TarBytes": tar,
                "Bytes": layer.bytes,
                "Entries": layer.entries,
                "Whiteouts": layer.whiteouts,
                "HiddenBytes": layer.hidden,
            })
        })
        .collect();
    let waste = |wasted: &Wasted| {
        let mut fields = path_fields(&wasted.path);
        fields.insert("Bytes".to_owned(), wasted.bytes.into());
        fields.insert("Copies".to_owned(), wasted.times.into());
        Value::Object(fields)
    };
    json!({
        "Layers": layers,
        "Bytes": usage.bytes(),
        "ShownBytes": usage.visible(),
        "Efficiency": usage.efficiency(),
        "Wasted": usage.top(top).iter().map(waste).collect::<Vec<_>>(),
    })
}
