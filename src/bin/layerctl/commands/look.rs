//! `ls`, `cat`, `cp`: files of an image without a mount.

use super::{all, flag, json_flag, needed, operand, target_operand};
use crate::failure::{Failure, Result, say};
use crate::session::{Session, finish, output};
use crate::stack::{name_style, object_fields, typed_tree};
use crate::target::Target;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use layerfs::store::inside::cat::cat as write_data;
use layerfs::store::inside::cp::{CpOptions, cp as copy_out, cp_to_tar};
use layerfs::store::inside::ls::{LsOptions, ls as list};
use layerfs::store::inside::owners::Owners;
use layerfs::store::inside::{Flow, LastLink, Tree, Visit, walk};
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

pub(super) fn ls_grammar() -> Command {
    Command::new("ls")
        .about("Lists files of an image, or of one layer")
        // -h is for sizes, as of ls(1).
        .disable_help_flag(true)
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Print help"))
        .arg(flag("long", "Modes, owners, sizes, times").short('l'))
        .arg(flag("all", "Names that begin with a dot, too").short('a'))
        .arg(flag("almost-all", "The same without . and ..").short('A'))
        .arg(flag("directory", "Directories themselves").short('d'))
        .arg(flag("numeric", "Owners as numbers, with -l").short('n'))
        .arg(flag("recursive", "What is below directories, too").short('R'))
        .arg(flag("human-readable", "Sizes in powers of 1024").short('h'))
        .arg(flag("layer", "The layer that gives each entry"))
        .arg(json_flag())
        .arg(target_operand("target", "IMAGE[@N][:PATH]", "Where to look").num_args(1..))
}

pub(super) fn ls(matches: &ArgMatches, session: &Session) -> Result<()> {
    let groups = groups(matches)?;
    let mut out = output();
    for (number, group) in groups.iter().enumerate() {
        let tree = typed_tree(session, &group[0])?;
        let paths: Vec<&[u8]> = group.iter().map(Target::path_or_root).collect();
        if matches.get_flag("json") {
            for path in paths {
                list_json(&tree, path, matches, &mut out)?;
            }
            continue;
        }
        if groups.len() > 1 {
            writeln!(out, "{}{}:", if number == 0 { "" } else { "\n" }, group[0].title())?;
        }
        list(&tree, &paths, &ls_options(matches, &tree)?, &mut out)?;
    }
    finish(out)
}

fn ls_options(matches: &ArgMatches, tree: &Tree<'_>) -> Result<LsOptions> {
    let numeric = matches.get_flag("numeric");
    Ok(LsOptions {
        long: matches.get_flag("long") || numeric,
        all: matches.get_flag("all"),
        almost_all: matches.get_flag("almost-all"),
        recursive: matches.get_flag("recursive"),
        directory: matches.get_flag("directory"),
        human: matches.get_flag("human-readable"),
        layers: matches.get_flag("layer"),
        owners: if numeric { Owners::numeric() } else { Owners::of(tree)? },
        names: name_style(),
        ..LsOptions::default()
    })
}

/// One object a line; of a directory what is in it.
fn list_json(tree: &Tree<'_>, path: &[u8], matches: &ArgMatches, out: &mut dyn Write) -> Result<()> {
    let start = tree.resolve(path, LastLink::Follow)?;
    let directory = start.node.is_dir() && !matches.get_flag("directory");
    let recursive = matches.get_flag("recursive");
    walk(tree, &start, &mut |visit: &Visit<'_>| -> Result<Flow> {
        if visit.leaving {
            return Ok(Flow::Pass);
        }
        if visit.depth > 0 || !directory {
            writeln!(out, "{}", object_fields(tree, visit.path, visit.child)?)?;
        }
        Ok(if directory && (visit.depth == 0 || recursive) { Flow::Enter } else { Flow::Pass })
    })
}

/// The targets, those of one image together as long as they follow each other.
fn groups(matches: &ArgMatches) -> Result<Vec<Vec<Target>>> {
    let mut groups: Vec<Vec<Target>> = Vec::new();
    for typed in all::<OsString>(matches, "target") {
        let target = Target::parse(typed)?;
        match groups.last_mut() {
            Some(group) if group[0].image == target.image && group[0].layer == target.layer => {
                group.push(target);
            }
            _ => groups.push(vec![target]),
        }
    }
    Ok(groups)
}

pub(super) fn cat_grammar() -> Command {
    Command::new("cat")
        .about("Writes the data of files of an image")
        .arg(target_operand("target", "IMAGE[@N]:PATH", "Files").num_args(1..))
}

pub(super) fn cat(matches: &ArgMatches, session: &Session) -> Result<()> {
    let groups = groups(matches)?;
    for target in groups.iter().flatten() {
        target.needed_path()?;
    }
    let mut out = output();
    for group in &groups {
        let paths: Vec<&[u8]> = group.iter().map(Target::path_or_root).collect();
        write_data(&typed_tree(session, &group[0])?, &paths, &mut out)?;
    }
    finish(out)
}

pub(super) fn cp_grammar() -> Command {
    Command::new("cp")
        .about("Copies files and directories out of an image")
        .arg(flag("follow-link", "Copy what a symlink named by PATH leads to").short('L'))
        .arg(target_operand("target", "IMAGE[@N]:PATH", "What to copy"))
        .arg(
            operand("dest", "DEST", "Where to; - writes a tar to the standard output")
                .value_parser(value_parser!(PathBuf)),
        )
}

pub(super) fn cp(matches: &ArgMatches, session: &Session) -> Result<()> {
    let target = Target::parse(needed::<OsString>(matches, "target")?)?;
    let path = target.needed_path()?;
    let tree = typed_tree(session, &target)?;
    let options = CpOptions { follow: matches.get_flag("follow-link") };
    let dest = needed::<PathBuf>(matches, "dest")?;
    if dest.as_os_str() == "-" {
        if std::io::stdout().is_terminal() {
            return Err(Failure::usage("no tar to a terminal: give a destination, or a pipe"));
        }
        let mut out = output();
        let left_out = cp_to_tar(&tree, path, &options, &mut out)?.to_string();
        finish(out)?;
        if !left_out.is_empty() {
            say(&left_out);
        }
        return Ok(());
    }
    let report = copy_out(&tree, path, dest, &options)?;
    if !report.is_exact() {
        say(&report.to_string());
    }
    Ok(())
}
