//! `inspect`: all that is known of an image, in docker's shape.

use super::all;
use crate::failure::Result;
use crate::session::{Outcomes, Session, finish, output};
use crate::template::Template;
use clap::{Arg, ArgMatches, Command};
use layerfs::store::Image;
use serde_json::{Map, Value};
use std::io::Write;

/// Fields of `Config` that docker always shows, with what it shows where a config has none.
const CONFIG_FIELDS: [(&str, Value); 12] = [
    ("Hostname", Value::String(String::new())),
    ("User", Value::String(String::new())),
    ("WorkingDir", Value::String(String::new())),
    ("StopSignal", Value::Null),
    ("ExposedPorts", Value::Null),
    ("Env", Value::Null),
    ("Cmd", Value::Null),
    ("Entrypoint", Value::Null),
    ("Volumes", Value::Null),
    ("Labels", Value::Null),
    ("OnBuild", Value::Null),
    ("Healthcheck", Value::Null),
];

pub(super) fn grammar() -> Command {
    Command::new("inspect")
        .about("Prints all that is known of images, as a JSON array")
        .arg(
            Arg::new("format")
                .short('f')
                .long("format")
                .value_name("FORMAT")
                .help("'json' or a Go template like '{{.Id}}', for each image"),
        )
        .arg(Arg::new("image").value_name("IMAGE").required(true).num_args(1..).help("Images, by name or id"))
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let format = matches.get_one::<String>("format").map(|text| text.trim());
    let template = format.filter(|text| *text != "json").map(Template::parse).transpose()?;
    let store = session.store()?;
    let mut outcomes = Outcomes::default();
    let mut documents = Vec::new();
    let mut out = output();
    for name in all::<String>(matches, "image") {
        outcomes.note(store.resolve(name).map_err(Into::into).and_then(|image| {
            let document = document(&image);
            match (&template, format) {
                (Some(template), _) => writeln!(out, "{}", template.render(&document)?)?,
                (None, Some(_)) => writeln!(out, "{document}")?,
                (None, None) => documents.push(document),
            }
            Ok(())
        }))?;
    }
    if format.is_none() {
        writeln!(out, "{}", serde_json::to_string_pretty(&documents)?)?;
    }
    finish(out)?;
    outcomes.end()
}

/// All of it, with the settings that docker always shows.
fn document(image: &Image) -> Value {
    let mut document = image.inspect();
    let mut settings: Map<String, Value> =
        CONFIG_FIELDS.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    if let Some(Value::Object(own)) = document.get("Config") {
        settings.extend(own.clone());
    }
    document["Config"] = Value::Object(settings);
    document["History"] = image.config().document().get("history").cloned().unwrap_or_default();
    document
}
