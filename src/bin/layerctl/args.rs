//! The command line: its grammar, and refusals in one line.

use crate::commands;
use crate::failure::{Failure, Result};
use clap::{Arg, ArgMatches, Command, value_parser};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit status: 0 done, 1 failed, 2 the command line makes no sense; of diff: 0 no difference, 1 differences,
2 trouble.

See layerctl(1).";

/// The whole grammar.
pub(crate) fn cli() -> Command {
    Command::new("layerctl")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Keeps container images without a daemon, looks into them, and mounts them without unpacking")
        .arg_required_else_help(true)
        .subcommand_required(true)
        .subcommand_value_name("COMMAND")
        .subcommand_help_heading("Commands")
        .disable_help_subcommand(true)
        .after_help(EXIT_CODES)
        .arg(
            Arg::new("root")
                .long("root")
                .value_name("DIR")
                .global(true)
                .value_parser(value_parser!(PathBuf))
                .help("Where the cache is [default: $LAYERFS_ROOT, else /var/lib/layerfs or the user's own]"),
        )
        .subcommands(commands::grammar())
}

/// Parses the command line; nothing if help or version was asked for and is printed.
pub(crate) fn parse(typed: impl Iterator<Item = OsString>) -> Result<Option<ArgMatches>> {
    match cli().try_get_matches_from(find_spelling(typed.collect())) {
        Ok(matches) => Ok(Some(matches)),
        Err(error) if !error.use_stderr() => {
            write!(std::io::stdout(), "{error}")?;
            Ok(None)
        }
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{error}");
            Err(Failure::Said(2))
        }
        Err(error) => Err(Failure::Usage(one_line(&error.to_string()))),
    }
}

/// What clap says before its usage, in one line.
fn one_line(text: &str) -> String {
    let said: Vec<&str> =
        text.lines().take_while(|line| !line.starts_with("Usage:")).map(str::trim).collect();
    let said = said.join(" ");
    let command = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    let command = command.map_or_else(|| "layerctl".to_owned(), command_of);
    let words = said.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    let words = words.trim_end_matches("For more information, try '--help'.").trim();
    format!("{words}: see {command} --help")
}

/// The names of program and command at the beginning of a usage.
fn command_of(usage: &str) -> String {
    let is_name = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase());
    usage.split(' ').take_while(is_name).take(2).collect::<Vec<_>>().join(" ")
}

/// The words of find(1) begin with one dash; all others stay as they are typed.
fn find_spelling(mut typed: Vec<OsString>) -> Vec<OsString> {
    const WORDS: [&str; 13] = [
        "-name",
        "-iname",
        "-path",
        "-type",
        "-size",
        "-perm",
        "-user",
        "-group",
        "-newer",
        "-empty",
        "-mindepth",
        "-maxdepth",
        "-print0",
    ];
    if typed.iter().skip(1).any(|word| word == "find") {
        for word in typed.iter_mut().skip(1).filter(|word| WORDS.iter().any(|own| word == own)) {
            let mut long = OsString::from("-");
            long.push(&*word);
            *word = long;
        }
    }
    typed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(typed: &[&str]) -> String {
        match parse(typed.iter().map(OsString::from)) {
            Err(Failure::Usage(line)) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_grammar_is_consistent() {
        cli().debug_assert();
    }

    #[test]
    fn refusals_are_one_line_and_name_the_command() {
        let line = refused(&["layerctl", "imagse"]);
        assert!(line.contains("'imagse'") && line.contains("'images'"), "{line}");
        assert!(line.ends_with(": see layerctl --help"), "{line}");
        let line = refused(&["layerctl", "tag", "a"]);
        assert!(line.ends_with(": see layerctl tag --help"), "{line}");
        let line = refused(&["layerctl", "rmi", "--frobnicate", "a"]);
        assert!(line.contains("'--frobnicate'") && line.ends_with("see layerctl rmi --help"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn the_words_of_find_are_taken_with_one_dash() {
        let typed = ["layerctl", "find", "a:/", "-name", "*.so", "-type", "f"].map(OsString::from);
        assert!(parse(typed.into_iter()).unwrap().is_some());
    }

    /// The manual must not forget a command or an option.
    #[test]
    fn the_man_page_has_every_command_and_option() {
        let page = include_str!("../../../docs/man/layerctl.1").replace("\\-", "-");
        for command in cli().get_subcommands() {
            let name = command.get_name();
            let section = page.split("\n.SS ").find(|part| part.lines().next() == Some(name));
            let section = section.unwrap_or_else(|| panic!("no section {name} in the man page"));
            for option in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                for long in option.get_long().into_iter().filter(|long| !["root", "help"].contains(long)) {
                    assert!(
                        section.contains(&format!("--{long}")),
                        "{name}: --{long} is not in the man page"
                    );
                }
                if let Some(short) = option.get_short() {
                    assert!(
                        section.contains(&format!("-{short}")),
                        "{name}: -{short} is not in the man page"
                    );
                }
            }
        }
    }
}
