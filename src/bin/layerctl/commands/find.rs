//! `find`: searching an image.

use super::{flag, json_flag, needed, option, target_operand};
use crate::failure::{Failure, Result};
use crate::session::{Session, finish, output};
use crate::stack::{child_at, name_style, object_fields, typed_tree};
use crate::target::Target;
use clap::{Arg, ArgMatches, Command, value_parser};
use layerfs::store::inside::find::{FindOptions, Test, find, kinds, pattern};
use layerfs::store::inside::owners::Owners;
use layerfs::store::inside::text::NameStyle;
use layerfs::store::inside::{LastLink, Tree};
use std::ffi::OsString;
use std::io::Write;

pub(super) fn grammar() -> Command {
    let number = |name: &'static str, help| option(name, "N", help).value_parser(value_parser!(usize));
    // Signs before numbers and modes are part of them.
    let signed = |arg: Arg| arg.allow_hyphen_values(true);
    Command::new("find")
        .about("Searches an image, or one layer")
        .arg(target_operand("target", "IMAGE[@N][:PATH]", "Where to begin"))
        .arg(option("name", "PATTERN", "The last part of the path"))
        .arg(option("iname", "PATTERN", "The same whatever the case of its letters"))
        .arg(option("path", "PATTERN", "The whole path"))
        .arg(option("type", "LETTERS", "Any of f, d, l, c, b, p, s; w: whiteouts of one layer"))
        .arg(signed(option("size", "[+-]N[cwbkMG]", "More, less or just N units")))
        .arg(signed(option("perm", "[-/]MODE", "Just these, all or any of these permission bits")))
        .arg(option("user", "NAME", "The owner, by the image's own names or a number"))
        .arg(option("group", "NAME", "The group"))
        .arg(option("newer", "PATH", "Changed later than another path of the image"))
        .arg(flag("empty", "Regular files of no bytes"))
        .arg(number("mindepth", "Not above this level"))
        .arg(number("maxdepth", "Not below this level"))
        .arg(flag("print0", "NUL after each path"))
        .arg(json_flag())
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let target = Target::parse(needed::<OsString>(matches, "target")?)?;
    let tree = typed_tree(session, &target)?;
    let start = target.path_or_root();
    let json = matches.get_flag("json");
    let options = FindOptions {
        tests: tests(matches, &tree)?,
        min_depth: matches.get_one("mindepth").copied().unwrap_or(0),
        max_depth: matches.get_one("maxdepth").copied(),
        nul: json || matches.get_flag("print0"),
        names: if json || matches.get_flag("print0") { NameStyle::Raw } else { name_style() },
    };
    let mut out = output();
    if json {
        let mut found = Vec::new();
        find(&tree, &[start], &options, &mut found)?;
        for path in found.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
            writeln!(out, "{}", object_fields(&tree, path, &child_at(&tree, path)?)?)?;
        }
    } else {
        find(&tree, &[start], &options, &mut out)?;
    }
    finish(out)
}

fn tests(matches: &ArgMatches, tree: &Tree<'_>) -> Result<Vec<Test>> {
    let typed = |name: &str| matches.get_one::<String>(name);
    let mut tests = Vec::new();
    if let Some(glob) = typed("name") {
        tests.push(Test::Name(pattern(glob, false)?));
    }
    if let Some(glob) = typed("iname") {
        tests.push(Test::Name(pattern(glob, true)?));
    }
    if let Some(glob) = typed("path") {
        tests.push(Test::Path(pattern(glob, false)?));
    }
    if let Some(letters) = typed("type") {
        tests.push(Test::Kinds(kinds(letters)?));
    }
    if let Some(size) = typed("size") {
        tests.push(Test::Size(size.parse()?));
    }
    if let Some(mode) = typed("perm") {
        tests.push(Test::Perm(mode.parse()?));
    }
    if let Some(name) = typed("user") {
        tests.push(Test::User(owner(name, Owners::of(tree)?.uid(name.as_bytes()), "user")?));
    }
    if let Some(name) = typed("group") {
        tests.push(Test::Group(owner(name, Owners::of(tree)?.gid(name.as_bytes()), "group")?));
    }
    if let Some(path) = typed("newer") {
        tests.push(Test::Newer(tree.resolve(path.as_bytes(), LastLink::Follow)?.node.attr().mtime));
    }
    if matches.get_flag("empty") {
        tests.push(Test::EmptyFile);
    }
    Ok(tests)
}

fn owner(typed: &str, known: Option<u32>, what: &str) -> Result<u32> {
    let number = known.or_else(|| typed.parse().ok());
    number.ok_or_else(|| {
        Failure::failed(format_args!("{typed}: the image knows no such {what}; give a number"))
    })
}
