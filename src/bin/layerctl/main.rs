//! `layerctl`: fills the layer cache, looks into it, and mounts from it.

mod args;
mod commands;
mod failure;
mod output;
mod session;
mod stack;
mod target;
mod template;

use std::process::ExitCode;

fn main() -> ExitCode {
    let done = args::parse(std::env::args_os()).and_then(|parsed| match parsed {
        Some(matches) => commands::run(&matches),
        None => Ok(()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
