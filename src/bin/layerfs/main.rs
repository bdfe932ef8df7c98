//! `layerfs`: mounts a union of directories.

mod args;
mod cache;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse(std::env::args_os()) {
        Ok(args::Command::Mount(request)) => run::mount(*request),
        Ok(args::Command::Stats(mount_point)) => run::stats(&mount_point),
        Ok(args::Command::Remount(mount_point, options)) => run::remount(&mount_point, &options),
        Err(exit) => exit,
    }
}
