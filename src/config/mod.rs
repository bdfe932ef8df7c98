//! The settings of one mount: parsed from `-o`, then checked against the filesystem.
//!
//! 1. *Options come from many hands* (a person, mount(8), fstab, podman): [`options`] splits them,
//!    [`parse`](Settings::parse) gives each a meaning or refuses it by name.
//! 2. *A mount must be refused before anything is changed*: [`check`] (rule M6).

mod check;
mod options;
mod parse;

pub use check::check_mount_point;
pub use options::{Opt, split};

use crate::types::{IdMap, WhiteoutForm};
use std::path::PathBuf;
use std::time::Duration;

/// What is wrong with the settings: one line for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Whose command line is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// Our own: what is unknown is refused.
    #[default]
    Layerfs,
    /// That of fuse-overlayfs, when started under its name: its defaults where they show, and what
    /// it ignores is ignored.
    FuseOverlayfs,
}

impl Manner {
    /// The name that messages begin with, the mount's source by default, and its type after `fuse.`.
    pub fn name(self) -> &'static str {
        match self {
            Manner::Layerfs => "layerfs",
            Manner::FuseOverlayfs => "fuse-overlayfs",
        }
    }
}

/// How renames of directories of lowers are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectDir {
    /// Redirect marks are written and followed.
    On,
    /// They are followed, but not written: such renames answer EXDEV.
    Follow,
    /// They are neither followed nor written.
    NoFollow,
}

/// A lower layer as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lower {
    /// A directory.
    Directory(PathBuf),
    /// A layer of the cache, by its digest: `sha256:` and 64 hex digits.
    Cached(String),
}

/// The two directories of a writable mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpperDirs {
    /// Holds what changes.
    pub upper: PathBuf,
    /// Scratch space on the same filesystem.
    pub work: PathBuf,
}

/// Standard mount options, as mount(2) has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountFlags {
    /// No set-id.
    pub nosuid: bool,
    /// No devices.
    pub nodev: bool,
    /// No programs.
    pub noexec: bool,
    /// No access times.
    pub noatime: bool,
    /// No access times of directories.
    pub nodiratime: bool,
    /// Access times always.
    pub strictatime: bool,
    /// Times are written late.
    pub lazytime: bool,
    /// Writes are synchronous.
    pub sync: bool,
    /// Changes of directories are synchronous.
    pub dirsync: bool,
}

/// The settings of one mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Lower layers, topmost first.
    pub lowers: Vec<Lower>,
    /// Where the layer cache is; `None`: at its usual place.
    pub root: Option<PathBuf>,
    /// What owners are shown.
    pub users: IdMap,
    /// What groups are shown.
    pub groups: IdMap,
    /// Upper and workdir; without them the mount is read-only.
    pub upper: Option<UpperDirs>,
    /// Nothing is changed even if there is an upper.
    pub read_only: bool,
    /// How renames of directories of lowers are handled.
    pub redirect_dir: RedirectDir,
    /// Attribute changes of lower files copy no data.
    pub metacopy: bool,
    /// Hard links of lowers are kept over copy-up.
    pub index: bool,
    /// Marks are written as `user.overlay.*` even by root.
    pub userxattr: bool,
    /// The form in which whiteouts are written; `None`: the first that the upper can hold.
    pub whiteouts: Option<WhiteoutForm>,
    /// Owners and modes are kept in xattrs of the upper: 1 in root's, 2 in a user's, 0 not.
    pub xattr_permissions: u32,
    /// fsync reaches the disk.
    pub durable: bool,
    /// The kernel keeps writes and sends them later.
    pub writeback: bool,
    /// Requests come over io_uring where the kernel offers it.
    pub io_uring: bool,
    /// POSIX ACLs are offered.
    pub acl: bool,
    /// How long the kernel may remember what it was told; `None`: for ever.
    pub cache: Option<Duration>,
    /// Threads that serve requests; `None`: as many as suit the machine.
    pub threads: Option<usize>,
    /// Each request is logged.
    pub debug: bool,
    /// Others than the mounting user have access; `None`: if root mounts.
    pub allow_other: Option<bool>,
    /// Standard mount options.
    pub flags: MountFlags,
    /// Options by which the kernel labels the mount, each with its quoted value.
    pub labels: Vec<(String, String)>,
    /// Whose command line was spoken.
    pub manner: Manner,
    /// Options that were accepted though they mean nothing here, one line each.
    pub warnings: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            lowers: Vec::new(),
            root: None,
            users: IdMap::default(),
            groups: IdMap::default(),
            upper: None,
            read_only: false,
            redirect_dir: RedirectDir::On,
            metacopy: true,
            index: true,
            userxattr: false,
            whiteouts: None,
            xattr_permissions: 0,
            durable: true,
            writeback: false,
            io_uring: false,
            acl: true,
            cache: None,
            threads: None,
            debug: false,
            allow_other: None,
            flags: MountFlags::default(),
            labels: Vec::new(),
            manner: Manner::Layerfs,
            warnings: Vec::new(),
        }
    }
}

impl Settings {
    /// What holds where no option says otherwise (rule M12).
    fn of(manner: Manner) -> Self {
        match manner {
            Manner::Layerfs => Settings::default(),
            // Its uppers know neither redirects nor metacopies: with them it could not go on with ours.
            Manner::FuseOverlayfs => Settings {
                manner,
                redirect_dir: RedirectDir::Follow,
                metacopy: false,
                flags: MountFlags { noatime: true, ..MountFlags::default() },
                ..Settings::default()
            },
        }
    }
}

impl MountFlags {
    /// The flags of a live mount after a remount: those it has, as /proc/mounts lists them, changed by
    /// `options`; and whether it is to be read-only.
    pub fn after_remount(current: &[u8], options: &[Opt]) -> (Self, bool) {
        let (mut flags, mut read_only) = (MountFlags::default(), false);
        parse::flags_of(&split(current), &mut flags, &mut read_only);
        parse::flags_of(options, &mut flags, &mut read_only);
        (flags, read_only)
    }
}
