//! `images`: the list of images.

use super::{all, flag, format_option, no_trunc_flag};
use crate::failure::{Failure, Result};
use crate::output::listing::{Column, Format};
use crate::output::units::{human_age, human_size, local_time, now, short_id};
use crate::session::{Session, finish, output};
use clap::{Arg, ArgAction, ArgMatches, Command};
use globset::{GlobBuilder, GlobMatcher};
use layerfs::store::ImageRef;
use layerfs::types::Timestamp;
use serde_json::{Value, json};
use std::io::Write;

/// What docker shows where there is no name.
const NONE: &str = "<none>";

const COLUMNS: [Column; 8] = [
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
];

pub(super) fn grammar() -> Command {
    Command::new("images")
        .about("Lists the images")
        .arg(flag("all", "All images: there are no hidden ones, so this changes nothing").short('a'))
        .arg(flag("digests", "Show digests: those images were imported with, else the cache's own"))
        .arg(
            Arg::new("filter")
                .short('f')
                .long("filter")
                .value_name("FILTER")
                .action(ArgAction::Append)
                .help("reference=PATTERN or dangling=true|false"),
        )
        .arg(format_option())
        .arg(no_trunc_flag())
        .arg(flag("quiet", "Print ids only").short('q'))
        .arg(Arg::new("name").value_name("REPOSITORY[:TAG]").help("Only images whose name matches"))
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let mut filters = Vec::new();
    for typed in all::<String>(matches, "filter") {
        filters.push(Filter::parse(typed)?);
    }
    if let Some(name) = matches.get_one::<String>("name") {
        filters.push(Filter::reference(name)?);
    }
    let digests = matches.get_flag("digests");
    let fields: &[&str] = match digests {
        true => &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"],
        false => &["Repository", "Tag", "ID", "CreatedSince", "Size"],
    };
    let format = Format::new(matches.get_one("format"), fields)?;
    let mut images = session.store()?.images()?;
    images.retain(|image| filters.iter().all(|filter| filter.holds(image)));
    // The newest first, as docker lists them; names of equal age stay together.
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let mut out = output();
    if matches.get_flag("quiet") {
        for image in &images {
            writeln!(out, "{}", shown_id(image, matches.get_flag("no-trunc")))?;
        }
        return finish(out);
    }
    let now = now();
    let rows: Vec<Value> = images.iter().map(|image| row(image, now, matches.get_flag("no-trunc"))).collect();
    format.write(&mut out, &COLUMNS, &rows)?;
    finish(out)
}

fn shown_id(image: &ImageRef, whole: bool) -> String {
    let id = image.id.to_string();
    if whole { id } else { short_id(&id).to_owned() }
}

fn row(image: &ImageRef, now: Timestamp, whole: bool) -> Value {
    let name = image.name.as_ref();
    json!({
        "Repository": name.map_or(NONE, |name| name.repository()),
        "Tag": name.map_or(NONE, |name| name.tag()),
        "Digest": image.original.unwrap_or(image.digest).to_string(),
        "ID": shown_id(image, whole),
        "CreatedSince": human_age(image.created, now),
        "CreatedAt": local_time(image.created),
        "Size": human_size(image.size),
        "Containers": "N/A",
    })
}

/// A condition on images.
enum Filter {
    Dangling(bool),
    Reference(GlobMatcher),
}

impl Filter {
    fn parse(typed: &str) -> Result<Filter> {
        let unknown = || {
            Failure::usage(format_args!(
                "--filter {typed}: known are reference=PATTERN and dangling=true|false"
            ))
        };
        match typed.split_once('=').ok_or_else(unknown)? {
            ("dangling", "true" | "1") => Ok(Filter::Dangling(true)),
            ("dangling", "false" | "0") => Ok(Filter::Dangling(false)),
            ("reference", pattern) => Filter::reference(pattern),
            _ => Err(unknown()),
        }
    }

    /// A name or a pattern of names, in which `*` stops at a slash.
    fn reference(pattern: &str) -> Result<Filter> {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        let glob = glob.map_err(|error| Failure::usage(format_args!("{pattern}: {}", error.kind())))?;
        Ok(Filter::Reference(glob.compile_matcher()))
    }

    fn holds(&self, image: &ImageRef) -> bool {
        match self {
            Filter::Dangling(wanted) => image.name.is_none() == *wanted,
            Filter::Reference(glob) => image
                .name
                .as_ref()
                .is_some_and(|name| glob.is_match(name.repository()) || glob.is_match(name.to_string())),
        }
    }
}
