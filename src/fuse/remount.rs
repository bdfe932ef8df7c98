//! `-o remount`: other flags for a mount that goes on (rule M13).

use super::control::mount_at;
use super::serve::mount_flags;
use crate::config::{MountFlags, Opt};
use crate::sys;
use std::io::{Error, Result};
use std::path::Path;

/// Changes the flags of the live mount at a path: what `options` do not name stays as it is.
pub fn remount(mount_point: &Path, options: &[Opt]) -> Result<()> {
    let problem = |text: &str| Error::other(format!("{}: {text}", mount_point.display()));
    let mount = mount_at(mount_point)?;
    if !mount.is_ours() {
        return Err(problem(&format!("is a mount of type {}: remount those of layerfs only", mount.kind)));
    }
    let (flags, read_only) = MountFlags::after_remount(mount.options.as_bytes(), options);
    let mut wanted = mount_flags(&flags, read_only, true);
    if !flags.noatime && !flags.strictatime {
        // Without a word on access times the kernel leaves them as they were.
        wanted |= sys::MountFlags::RELATIME;
    }
    sys::remount(mount_point, wanted).map_err(|e| match e.errno {
        sys::Errno::PERM => problem("only root may remount: unmount it and mount it anew"),
        sys::Errno::BUSY => problem("is in use for writing: close the files, or end their programs"),
        _ => problem(&e.to_string()),
    })
}
