//! The command line: what was typed becomes what was meant.

use clap::{Arg, ArgAction, ArgMatches, Command as Cli, value_parser};
use layerfs::config::{Manner, Opt, Settings, check_mount_point, split};
use layerfs::types::WhiteoutForm;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is to be done.
pub(crate) enum Command {
    /// Mount.
    Mount(Box<MountRequest>),
    /// Print the request counts of a mount.
    Stats(PathBuf),
    /// Change the flags of a live mount.
    Remount(PathBuf, Vec<Opt>),
}

/// A mount as asked for.
pub(crate) struct MountRequest {
    /// Shown as the device; the image to be mounted where the settings have no lowers.
    pub(crate) source: String,
    /// Where to mount.
    pub(crate) mount_point: PathBuf,
    /// The settings, checked.
    pub(crate) settings: Settings,
    /// Do not go to the background.
    pub(crate) foreground: bool,
}

/// With this in the environment fuse-overlayfs writes whiteouts as `.wh.` files, and so do we.
const PLAIN_WHITEOUTS: &str = "FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT";

/// Whose command line it is, by the name that the program was started under.
fn manner_of(program: Option<&OsStr>) -> Manner {
    match program.map(Path::new).and_then(Path::file_name) {
        Some(name) if name == Manner::FuseOverlayfs.name() => Manner::FuseOverlayfs,
        _ => Manner::Layerfs,
    }
}

/// What `--version` prints after the program's name. Programs that look for fuse-overlayfs (podman's
/// info, moby's and buildkit's tests) take the last word of the line `fuse-overlayfs: version X`, which
/// is the version whose options are known here.
fn version(manner: Manner) -> &'static str {
    match manner {
        Manner::Layerfs => env!("CARGO_PKG_VERSION"),
        Manner::FuseOverlayfs => concat!("version 2.0.0\nlayerfs ", env!("CARGO_PKG_VERSION")),
    }
}

fn cli(manner: Manner) -> Cli {
    let flag = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name).short(short).long(name).action(ArgAction::SetTrue).help(help)
    };
    let name = match manner {
        Manner::Layerfs => "layerfs",
        Manner::FuseOverlayfs => "fuse-overlayfs:",
    };
    Cli::new(name)
        .version(version(manner))
        .about("Mounts an image, or a stack of read-only directories, below one writable directory")
        .override_usage(
            "layerfs [SOURCE] MOUNTPOINT -o OPTIONS\n       layerfs IMAGE MOUNTPOINT [-o OPTIONS]\n       \
             layerfs --stats MOUNTPOINT",
        )
        .after_help(OPTIONS_HELP)
        .arg(
            Arg::new("options")
                .short('o')
                .value_name("OPTIONS")
                .action(ArgAction::Append)
                .value_parser(value_parser!(OsString))
                .help("Mount options, parted by commas"),
        )
        .arg(flag("foreground", 'f', "Stay in the foreground"))
        .arg(flag("debug", 'd', "Stay in the foreground and log each request"))
        .arg(
            Arg::new("stats")
                .long("stats")
                .value_name("MOUNTPOINT")
                .value_parser(value_parser!(PathBuf))
                .exclusive(true)
                .help("Print how many requests of each kind a mount has served"),
        )
        // mount(8) passes these to its helpers.
        .arg(Arg::new("sloppy").short('s').action(ArgAction::SetTrue).hide(true))
        .arg(Arg::new("no-mtab").short('n').action(ArgAction::SetTrue).hide(true))
        .arg(Arg::new("verbose").short('v').action(ArgAction::SetTrue).hide(true))
        .arg(Arg::new("type").short('t').num_args(1).hide(true))
        .arg(
            Arg::new("operands")
                .action(ArgAction::Append)
                .num_args(0..=2)
                .value_parser(value_parser!(OsString))
                .hide(true),
        )
}

const OPTIONS_HELP: &str = "\
Mount options:
  lowerdir=A:B:C     read-only layers, topmost first (\\: \\, \\\\ in paths)
  lowerdir+=D        one more layer below those
  upperdir=U         directory that takes all changes; without it the mount is read-only
  workdir=W          scratch directory on the filesystem of U
  redirect_dir=on|follow|nofollow|off, metacopy=on|off, index=on|off, userxattr
  uidmapping=STORED:SHOWN:COUNT..., gidmapping=, squash_to_root, squash_to_uid=UID, squash_to_gid=GID
  xattr_permissions=0|1|2, whiteouts=auto|device|xattr|file
  volatile, fsync=0|1, timeout=SECONDS, noacl, threads=N, io_uring, debug
  ro, rw, nosuid, nodev, noexec, noatime and the other standard mount options
  remount            change those of a live mount

See layerfs(8) and docs/options.md.";

/// Prints one line and gives the exit code of a refusal.
pub(crate) fn refuse(problem: impl std::fmt::Display) -> ExitCode {
    eprintln!("layerfs: {problem}");
    ExitCode::FAILURE
}

/// Parses and checks the command line. On refusal, help and version all is printed already.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, ExitCode> {
    let mut arguments = arguments.peekable();
    let manner = manner_of(arguments.peek().map(OsString::as_os_str));
    let matches = cli(manner).try_get_matches_from(arguments).map_err(|e| match e.use_stderr() {
        false => {
            print!("{e}");
            ExitCode::SUCCESS
        }
        true => {
            let text = e.to_string();
            let line = text.lines().next().unwrap_or_default();
            refuse(format_args!("{}: see layerfs --help", line.trim_start_matches("error: ")))
        }
    })?;
    if let Some(mount_point) = matches.get_one::<PathBuf>("stats") {
        return Ok(Command::Stats(mount_point.clone()));
    }
    let (source, mount_point) = operands(&matches)?;
    let options = options(&matches);
    if options.iter().any(|option| option.name == "remount") {
        return Ok(Command::Remount(check_mount_point(&mount_point).map_err(refuse)?, options));
    }
    let settings = Settings::parse_as(&options, manner).and_then(Settings::check).map_err(refuse)?;
    if settings.lowers.is_empty() && source.is_none() {
        return Err(refuse("no layers: give lowerdir=DIR[:DIR…], or name an image before the mount point"));
    }
    let source = source.unwrap_or_else(|| manner.name().to_owned());
    let mount_point = check_mount_point(&mount_point).map_err(refuse)?;
    let debug = matches.get_flag("debug") || settings.debug;
    let foreground = matches.get_flag("foreground") || debug;
    let plain = std::env::var_os(PLAIN_WHITEOUTS).map(|_| WhiteoutForm::File);
    let settings = Settings { debug, whiteouts: settings.whiteouts.or(plain), ..settings };
    Ok(Command::Mount(Box::new(MountRequest { source, mount_point, settings, foreground })))
}

/// Source, if one is given, and mount point.
fn operands(matches: &ArgMatches) -> Result<(Option<String>, PathBuf), ExitCode> {
    let operands: Vec<OsString> = matches.get_many("operands").into_iter().flatten().cloned().collect();
    match &operands[..] {
        [] => Err(refuse("no mount point: see layerfs --help")),
        [mount_point] => Ok((None, PathBuf::from(mount_point))),
        [source, mount_point] => {
            Ok((Some(source.to_string_lossy().into_owned()), PathBuf::from(mount_point)))
        }
        [_, _, third, ..] => {
            Err(refuse(format_args!("too many operands: {}: see layerfs --help", third.display())))
        }
    }
}

/// The options of all `-o`, in order.
fn options(matches: &ArgMatches) -> Vec<Opt> {
    let typed = matches.get_many::<OsString>("options").into_iter().flatten();
    typed.flat_map(|part| split(part.as_bytes())).collect()
}
