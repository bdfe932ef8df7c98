//! The commands: each has its grammar and what it does side by side.

mod blame;
mod commit;
mod completions;
mod diff;
mod du;
mod find;
mod gc;
mod history;
mod images;
mod import;
mod inspect;
mod load;
mod look;
mod mounts;
mod names;
mod save;
mod tree;
mod unpack;
mod verify;

use crate::failure::{Failure, Result};
use crate::session::Session;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ffi::OsString;

type Grammar = fn() -> Command;
type Run = fn(&ArgMatches, &Session) -> Result<()>;

/// All commands, in the order of the help.
const COMMANDS: [(Grammar, Run); 24] = [
    (load::grammar, load::run),
    (import::grammar, import::run),
    (save::grammar, save::run),
    (images::grammar, images::run),
    (history::grammar, history::run),
    (inspect::grammar, inspect::run),
    (names::tag_grammar, names::tag),
    (names::rmi_grammar, names::rmi),
    (commit::grammar, commit::run),
    (look::ls_grammar, look::ls),
    (look::cat_grammar, look::cat),
    (find::grammar, find::run),
    (look::cp_grammar, look::cp),
    (tree::grammar, tree::run),
    (diff::grammar, diff::run),
    (blame::grammar, blame::run),
    (du::grammar, du::run),
    (unpack::grammar, unpack::run),
    (verify::grammar, verify::run),
    (gc::grammar, gc::run),
    (mounts::mount_grammar, mounts::mount),
    (mounts::umount_grammar, mounts::umount),
    (mounts::mounts_grammar, mounts::mounts),
    (completions::grammar, completions::run),
];

/// The grammars of all commands.
pub(crate) fn grammar() -> impl Iterator<Item = Command> {
    COMMANDS.iter().map(|(grammar, _)| grammar())
}

/// Runs the command that was typed.
pub(crate) fn run(matches: &ArgMatches) -> Result<()> {
    let Some((name, own)) = matches.subcommand() else {
        return Err(Failure::usage("no command: see layerctl --help"));
    };
    let session = Session::new(matches);
    match COMMANDS.iter().find(|(grammar, _)| grammar().get_name() == name) {
        Some((_, run)) => run(own, &session),
        None => Err(Failure::usage(format_args!("no command {name}: see layerctl --help"))),
    }
}

/// An option without a value.
fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// An option with a value.
fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// An operand that must be given.
fn operand(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(value).required(true).help(help)
}

/// `IMAGE[@N]:PATH`, in which the path may have any bytes.
fn target_operand(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    operand(name, value, help).value_parser(value_parser!(OsString))
}

/// `--json`.
fn json_flag() -> Arg {
    flag("json", "Print JSON")
}

/// `--quiet`, of commands that take long.
fn quiet_flag() -> Arg {
    flag("quiet", "No progress").short('q')
}

/// `--no-trunc`.
fn no_trunc_flag() -> Arg {
    flag("no-trunc", "Do not shorten ids and texts")
}

/// `--format`.
fn format_option() -> Arg {
    option("format", "FORMAT", "'json', 'table TEMPLATE' or a Go template like '{{.ID}}'")
}

/// The value of an operand that the grammar requires.
fn needed<'a, T: Clone + Send + Sync + 'static>(matches: &'a ArgMatches, name: &str) -> Result<&'a T> {
    matches.get_one(name).ok_or_else(|| Failure::usage(format_args!("{name} is missing")))
}

/// The values of an operand that may be repeated.
fn all<'a, T: Clone + Send + Sync + 'static>(
    matches: &'a ArgMatches,
    name: &str,
) -> impl Iterator<Item = &'a T> + use<'a, T> {
    matches.get_many(name).into_iter().flatten()
}
