//! `completions`: what a shell needs to complete our words.

use super::{needed, operand};
use crate::args::cli;
use crate::failure::Result;
use crate::session::{Session, finish, output};
use clap::{ArgMatches, Command, value_parser};
use clap_complete::Shell;
use std::io::Write;

pub(super) fn grammar() -> Command {
    Command::new("completions")
        .about("Prints the completions for a shell")
        .arg(operand("shell", "SHELL", "The shell").value_parser(value_parser!(Shell)))
}

pub(super) fn run(matches: &ArgMatches, _: &Session) -> Result<()> {
    let shell = *needed::<Shell>(matches, "shell")?;
    // The generator panics where it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli(), "layerctl", &mut script);
    let mut out = output();
    out.write_all(&script)?;
    finish(out)
}
