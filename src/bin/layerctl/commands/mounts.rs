//! `mount`, `umount`, `mounts`: an image at a place of the filesystem.

use super::{all, flag, json_flag, needed, operand, option};
use crate::failure::{Failure, Result};
use crate::output::table::write_aligned;
use crate::output::units::short_id;
use crate::session::{Outcomes, Session, finish, output};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use layerfs::sys::{Errno, SysError, effective_ids, unmount, unmount_detached, unmount_with_fusermount};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(super) fn mount_grammar() -> Command {
    Command::new("mount")
        .about("Mounts an image, read-only or with a directory for changes")
        .arg(operand("image", "IMAGE", "The image, by name or id"))
        .arg(path_operand("mountpoint", "MOUNTPOINT", "A directory"))
        .arg(
            option("rw", "DIR", "Take changes: DIR/upper gets them, DIR/work is for the driver")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("options")
                .short('o')
                .value_name("OPTIONS")
                .action(ArgAction::Append)
                .value_parser(value_parser!(OsString))
                .help("Mount options of layerfs(8), parted by commas"),
        )
}

pub(super) fn umount_grammar() -> Command {
    Command::new("umount")
        .about("Unmounts")
        .arg(flag("lazy", "Detach now, end when the last open file is closed").short('l'))
        .arg(path_operand("mountpoint", "MOUNTPOINT", "Where something is mounted").num_args(1..))
}

pub(super) fn mounts_grammar() -> Command {
    Command::new("mounts").about("Lists which images are mounted where").arg(json_flag())
}

fn path_operand(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    operand(name, value, help).value_parser(value_parser!(PathBuf))
}

pub(super) fn mount(matches: &ArgMatches, session: &Session) -> Result<()> {
    let image: &String = needed(matches, "image")?;
    let mount_point: &PathBuf = needed(matches, "mountpoint")?;
    // A name that is not there is refused before any directory is made.
    session.image(image)?;
    let options = options(matches)?;
    let program = driver()?;
    let mut command = std::process::Command::new(&program);
    command.arg(image).arg(mount_point).env("LAYERFS_ROOT", session.root()?);
    if !options.is_empty() {
        command.arg("-o").arg(OsStr::from_bytes(&options));
    }
    let cannot = |error| Failure::failed(format_args!("cannot run {}: {error}", program.display()));
    match command.status().map_err(cannot)?.code() {
        Some(0) => Ok(()),
        // It has said why.
        _ => Err(Failure::Said(1)),
    }
}

/// The driver's options: those that were typed, and the upper and workdir of `--rw`, which are made.
fn options(matches: &ArgMatches) -> Result<Vec<u8>> {
    let typed = all::<OsString>(matches, "options");
    let mut parts: Vec<Vec<u8>> = typed.map(|part| part.as_bytes().to_vec()).collect();
    if let Some(dir) = matches.get_one::<PathBuf>("rw") {
        parts.extend(own_view(&parts));
        for (option, name) in [("upperdir=", "upper"), ("workdir=", "work")] {
            let path = dir.join(name);
            std::fs::create_dir_all(&path)
                .map_err(|error| Failure::failed(format_args!("cannot make {}: {error}", path.display())))?;
            let path = path.canonicalize()?;
            parts.push([option.as_bytes(), &escape(path.as_os_str().as_bytes())].concat());
        }
    }
    Ok(parts.join(&b','))
}

/// Without privilege all must seem to be the user's, who could else change nothing that belongs to root; and
/// the copies are the user's in truth.
fn own_view(typed: &[Vec<u8>]) -> Option<Vec<u8>> {
    const OWNERS: [&[u8]; 3] = [b"squash_to_", b"uidmapping=", b"gidmapping="];
    let mut options = typed.iter().flat_map(|part| part.split(|byte| *byte == b','));
    let chosen = options.any(|option| OWNERS.iter().any(|word| option.starts_with(word)));
    let (uid, gid) = effective_ids();
    (uid != 0 && !chosen).then(|| format!("squash_to_uid={uid},squash_to_gid={gid}").into_bytes())
}

/// A path as a value in a list of options.
fn escape(path: &[u8]) -> Vec<u8> {
    let special = |byte: &u8| [b',', b':', b'\\'].contains(byte);
    path.iter().flat_map(|byte| special(byte).then_some(b'\\').into_iter().chain([*byte])).collect()
}

/// The driver: beside this program, else wherever PATH has it.
fn driver() -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("layerfs");
    Ok(if beside.is_file() { beside } else { PathBuf::from("layerfs") })
}

pub(super) fn umount(matches: &ArgMatches, _: &Session) -> Result<()> {
    let lazy = matches.get_flag("lazy");
    let mut outcomes = Outcomes::default();
    for mount_point in all::<PathBuf>(matches, "mountpoint") {
        outcomes.note(umount_one(mount_point, lazy))?;
    }
    outcomes.end()
}

fn umount_one(typed: &Path, lazy: bool) -> Result<()> {
    let unusable = |error| Failure::failed(format_args!("{}: {error}", typed.display()));
    let parent = typed.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let path = match (typed.canonicalize(), typed.file_name()) {
        (Ok(path), _) => path,
        // The root of a dead mount cannot be looked at.
        (Err(_), Some(name)) => parent.canonicalize().map_err(unusable)?.join(name),
        (Err(error), None) => return Err(unusable(error)),
    };
    let done = match (effective_ids().0, lazy) {
        (0, false) => unmount(&path),
        (0, true) => unmount_detached(&path),
        (_, lazy) => unmount_with_fusermount(&path, lazy),
    };
    done.map_err(|error| not_unmounted(typed, error))
}

fn not_unmounted(path: &Path, error: SysError) -> Failure {
    let why = match error.errno {
        Errno::BUSY => "in use: leave it and close its files, or detach it with --lazy".to_owned(),
        Errno::INVAL => "nothing is mounted there".to_owned(),
        Errno::PERM => "not mounted by this user, in use, or nothing is mounted there".to_owned(),
        _ => error.to_string(),
    };
    Failure::failed(format_args!("{}: {why}", path.display()))
}

pub(super) fn mounts(matches: &ArgMatches, session: &Session) -> Result<()> {
    let store = session.store()?;
    let mut out = output();
    let mut rows = vec![["IMAGE", "IMAGE ID", "MOUNTPOINT", "PID"].map(str::to_owned).to_vec()];
    let mut documents = Vec::new();
    for record in store.mounts()? {
        let at = record.mount_point.display().to_string();
        let id = record.image.map(|id| id.to_string());
        let layers: Vec<String> = record.layers.iter().map(ToString::to_string).collect();
        let upper = record.upper.map(|upper| upper.display().to_string());
        let shown = id.as_deref().map_or("-", short_id).to_owned();
        rows.push(vec![record.name.clone(), shown, at.clone(), record.pid.to_string()]);
        documents.push(json!({
            "Image": record.name, "Id": id, "Layers": layers, "MountPoint": at, "Upper": upper, "Pid": record.pid,
        }));
    }
    match matches.get_flag("json") {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&documents)?)?,
        false => write_aligned(&mut out, &rows)?,
    }
    finish(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_a_list_of_options() {
        assert_eq!(escape(b"/a,b:c\\d"), b"/a\\,b\\:c\\\\d");
    }
}
