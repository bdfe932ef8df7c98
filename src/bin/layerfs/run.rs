//! Wiring: opens the layers, mounts, serves.

use crate::args::{MountRequest, refuse};
use crate::cache;
use layerfs::config::Opt;
use layerfs::fuse::{Device, mount_and_serve, query_stats};
use layerfs::overlay::Overlay;
use layerfs::sys::{Readiness, block_signals, daemonize, enable_acting_as, raise_file_limit, tune_allocator};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Mounts and serves until the mount ends.
pub(crate) fn mount(request: MountRequest) -> ExitCode {
    for warning in &request.settings.warnings {
        eprintln!("layerfs: warning: {warning}");
    }
    tune_allocator();
    let mut readiness = match request.foreground {
        true => None,
        // Nothing has been opened and no thread runs: the child is a fresh process.
        false => match daemonize() {
            Ok(readiness) => Some(readiness),
            Err(e) => return refuse(e),
        },
    };
    start_log(request.settings.debug, request.settings.io_uring);
    // The parent waits for as long as this is not dropped: a refusal is written before it exits.
    match serve(&request, &mut readiness) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => refuse(e),
    }
}

fn start_log(debug: bool, io_uring: bool) {
    let filter = match (debug, io_uring) {
        (true, _) => "debug",
        // fuser answers that it does not know INTERRUPT, for which the kernel has no place if the
        // interrupted request came by the ring.
        (false, true) => "warn,fuser::reply=off",
        (false, false) => "warn",
    };
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("LAYERFS_LOG", filter)).init();
}

fn serve(
    request: &MountRequest,
    readiness: &mut Option<Readiness>,
) -> Result<(), Box<dyn std::error::Error>> {
    // Modes of new objects are worked out from each request's own umask.
    layerfs::sys::clear_umask();
    // Before threads start, which inherit it. The kernel has checked the caller's rights: that the caller's
    // ids alone could not write where its supplementary groups can must not count here.
    if !enable_acting_as() {
        log::debug!("objects are made with this process's own ids");
    }
    let signals = block_signals()?;
    let device = Device::open()?;
    let mut settings = request.settings.clone();
    let cached = cache::open(request, &mut settings)?;
    let limit = raise_file_limit();
    let overlay = Arc::new(Overlay::open(&settings, cached.layers, &request.mount_point, limit)?);
    let served = mount_and_serve(device, overlay.clone(), &request.source, &request.mount_point, &settings)?;
    if let Some(readiness) = readiness.take() {
        std::env::set_current_dir("/")?;
        readiness.announce()?;
    }
    served.run(signals)?;
    overlay.close();
    // The image may be removed from here on.
    drop(cached.guard);
    Ok(())
}

/// Prints the request counts of a mount.
pub(crate) fn stats(mount_point: &Path) -> ExitCode {
    let absolute = std::path::absolute(mount_point).unwrap_or_else(|_| mount_point.to_owned());
    match query_stats(&absolute) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(e) => refuse(e),
    }
}

/// Changes the flags of a live mount.
pub(crate) fn remount(mount_point: &Path, options: &[Opt]) -> ExitCode {
    match layerfs::fuse::remount(mount_point, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => refuse(e),
    }
}
