//! `history`: how an image was made.

use super::{flag, format_option, needed, no_trunc_flag, operand};
use crate::failure::Result;
use crate::output::listing::{Column, Format};
use crate::output::units::{human_age, human_size, now, short_id, utc_time};
use crate::session::{Session, finish, output};
use clap::{Arg, ArgMatches, Command, value_parser};
use layerfs::store::HistoryEntry;
use serde_json::{Value, json};
use std::io::Write;

/// What docker shows of an image that is not there by itself.
const MISSING: &str = "<missing>";
/// How many characters of CREATED BY docker shows.
const CREATED_BY: usize = 45;

const COLUMNS: [Column; 6] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

pub(super) fn grammar() -> Command {
    Command::new("history")
        .about("Shows how an image was made, the latest step first")
        .arg(format_option())
        .arg(
            Arg::new("human")
                .short('H')
                .long("human")
                .value_name("BOOL")
                .num_args(0..=1)
                .require_equals(true)
                .default_value("true")
                .default_missing_value("true")
                .value_parser(value_parser!(bool))
                .help("Sizes and dates for people; --human=false: bytes and RFC 3339"),
        )
        .arg(no_trunc_flag())
        .arg(flag("quiet", "Print ids only").short('q'))
        .arg(operand("image", "IMAGE", "The image, by name or id"))
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let human = matches.get_one("human").copied().unwrap_or(true);
    let created = if human { "CreatedSince" } else { "CreatedAt" };
    let format = Format::new(matches.get_one("format"), &["ID", created, "CreatedBy", "Size", "Comment"])?;
    let (_, image) = session.image(needed::<String>(matches, "image")?)?;
    let whole = matches.get_flag("no-trunc");
    let rows: Vec<Value> = image.history().iter().map(|step| row(step, human, whole)).collect();
    let mut out = output();
    if matches.get_flag("quiet") {
        for row in &rows {
            writeln!(out, "{}", row["ID"].as_str().unwrap_or(MISSING))?;
        }
        return finish(out);
    }
    format.write(&mut out, &COLUMNS, &rows)?;
    finish(out)
}

fn row(step: &HistoryEntry, human: bool, whole: bool) -> Value {
    let by = step.created_by.replace('\t', " ");
    let id = step.id.map(|id| id.to_string());
    json!({
        "ID": id.as_deref().map_or(MISSING, |id| if whole { id } else { short_id(id) }),
        "CreatedSince": human_age(step.created, now()),
        "CreatedAt": utc_time(step.created),
        "CreatedBy": if whole { by } else { shortened(&by) },
        "Size": if human { human_size(step.size) } else { step.size.to_string() },
        "Comment": step.comment,
    })
}

/// In one line, and not longer than docker shows it.
fn shortened(text: &str) -> String {
    let text = text.replace('\n', " ");
    match text.chars().count() > CREATED_BY {
        true => text.chars().take(CREATED_BY - 1).chain(['…']).collect(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(shortened(&"x".repeat(45)), "x".repeat(45));
        assert_eq!(shortened(&"é".repeat(46)), format!("{}…", "é".repeat(44)));
        assert_eq!(shortened("a\nb"), "a b");
    }
}
