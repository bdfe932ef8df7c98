//! `diff`: what one image or layer changes against another.

use super::{flag, json_flag, needed, target_operand};
use crate::failure::{Failure, Result};
use crate::session::{Session, finish, output};
use crate::stack::{name_style, path_fields, typed_tree};
use crate::target::Target;
use clap::{ArgMatches, Command};
use layerfs::store::inside::diff::{Change, DiffOptions, What, diff, fields_text, write_change};
use serde_json::Value;
use std::ffi::OsString;
use std::io::Write;

/// Exit codes of diff(1).
const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;

pub(super) fn grammar() -> Command {
    Command::new("diff")
        .about("Says what one image or layer adds, changes and deletes against another; exits as diff(1)")
        .arg(flag("content", "Show how texts changed, in the unified form"))
        .arg(flag("no-times", "Changed times alone are no change"))
        .arg(json_flag())
        .arg(target_operand("old", "A[@N]", "The older one"))
        .arg(target_operand("new", "B[@M]", "The newer one"))
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    match compare(matches, session) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::Said(DIFFERENT)),
        Err(Failure::Failed(line)) => Err(Failure::Usage(line)),
        Err(Failure::Said(_)) => Err(Failure::Said(TROUBLE)),
        Err(other) => Err(other),
    }
}

/// Whether there are differences, which are printed.
fn compare(matches: &ArgMatches, session: &Session) -> Result<bool> {
    let operand = |name| Target::parse(needed::<OsString>(matches, name)?)?.without_path();
    let (old, new) = (operand("old")?, operand("new")?);
    let json = matches.get_flag("json");
    let options = DiffOptions {
        content: matches.get_flag("content"),
        mtimes: !matches.get_flag("no-times"),
        labels: ([old.title().as_bytes(), b":"].concat(), [new.title().as_bytes(), b":"].concat()),
        names: name_style(),
    };
    let (old, new) = (typed_tree(session, &old)?, typed_tree(session, &new)?);
    let mut out = output();
    let mut different = false;
    diff(&old, &new, &options, &mut |change| {
        different = true;
        match json {
            true => Ok(writeln!(out, "{}", document(&change))?),
            false => write_change(&change, &options, &mut out),
        }
    })?;
    finish(out)?;
    Ok(different)
}

fn document(change: &Change) -> Value {
    let mut fields = path_fields(&change.path);
    let (kind, what) = match &change.what {
        What::Added(_) => ("added", None),
        What::Deleted(_) => ("deleted", None),
        What::Changed { old, new, fields } => ("changed", Some((old, new, fields))),
    };
    fields.insert("Kind".to_owned(), kind.into());
    if let Some((old, new, changed)) = what {
        let words: Vec<&str> = changed.iter().map(|field| field.word()).collect();
        fields.insert("Fields".to_owned(), words.into());
        fields.insert("Details".to_owned(), fields_text(old, new, changed).into());
    }
    if let Some(text) = &change.text {
        fields.insert("Content".to_owned(), String::from_utf8_lossy(text).into());
    }
    Value::Object(fields)
}
