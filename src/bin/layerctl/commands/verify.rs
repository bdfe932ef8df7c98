//! `verify`: whether the cache is what it says.

use super::{all, json_flag, quiet_flag};
use crate::failure::{Failure, Result};
use crate::output::progress::Meter;
use crate::session::{Session, finish, output};
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};
use std::io::Write;

pub(super) fn grammar() -> Command {
    Command::new("verify")
        .about("Reads all blobs and indexes again and says what is wrong")
        .arg(quiet_flag())
        .arg(json_flag())
        .arg(Arg::new("image").value_name("IMAGE").num_args(0..).help("Images, by name or id [default: all]"))
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let store = session.store()?;
    let meter = Meter::new("Verifying layer", matches.get_flag("quiet"));
    let images: Vec<&String> = all(matches, "image").collect();
    let mut findings = Vec::new();
    if images.is_empty() {
        findings = store.verify(None, &meter)?;
    }
    for image in images {
        findings.extend(store.verify(Some(image), &meter)?);
    }
    let mut out = output();
    if matches.get_flag("json") {
        let all: Vec<Value> =
            findings.iter().map(|finding| json!({"About": finding.about, "What": finding.what})).collect();
        writeln!(out, "{:#}", Value::from(all))?;
    } else {
        for finding in &findings {
            writeln!(out, "{finding}")?;
        }
        if findings.is_empty() && !matches.get_flag("quiet") {
            writeln!(out, "nothing is wrong")?;
        }
    }
    finish(out)?;
    if findings.is_empty() { Ok(()) } else { Err(Failure::Said(1)) }
}
