//! `commit`: the changes in an upper as one more layer; and what `import` of a directory shares with it.

use super::{needed, operand, option, quiet_flag};
use crate::failure::{Failure, Result, say};
use crate::output::progress::Meter;
use crate::session::{Session, finish, output};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use layerfs::layer::{DirLayer, FdPool, Layer};
use layerfs::store::commit::{CommitOptions, RootOwned, write_upper_tar};
use layerfs::store::{Change, ConfigEdit, Image, LayerWriter, Progress, StagedLayer, Store};
use layerfs::sys::{effective_ids, raise_file_limit, sync_filesystem};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) fn grammar() -> Command {
    Command::new("commit")
        .about("Makes an image of another one and the changes in an upper directory or mount")
        .arg(text_option("message", 'm', "The comment in its history"))
        .arg(text_option("author", 'a', "The author"))
        .arg(change_option())
        .arg(
            option("workdir", "DIR", "The workdir of UPPERDIR [default: work beside it]")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(quiet_flag())
        .arg(
            operand("upper", "UPPERDIR|MOUNTPOINT", "Where the changes are")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(operand("image", "IMAGE", "The image that was changed, by name or id"))
        .arg(operand("name", "NAME[:TAG]", "The name of the new image"))
}

/// An option with a text, long and short.
pub(super) fn text_option(name: &'static str, short: char, help: &'static str) -> Arg {
    Arg::new(name).short(short).long(name).value_name("TEXT").help(help)
}

/// `--change`.
pub(super) fn change_option() -> Arg {
    Arg::new("change").short('c').long("change").value_name("CHANGE").action(ArgAction::Append).help(
        "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR, STOPSIGNAL or ONBUILD, as in a Dockerfile",
    )
}

/// What is new about an image, by the options that commit and import share.
pub(super) fn edit(matches: &ArgMatches, created_by: &str) -> Result<ConfigEdit> {
    let mut changes = Vec::new();
    for line in super::all::<String>(matches, "change") {
        changes.push(line.parse::<Change>()?);
    }
    Ok(ConfigEdit {
        name: Some(needed::<String>(matches, "name")?.parse()?),
        changes,
        message: matches.get_one("message").cloned(),
        created_by: Some(created_by.to_owned()),
        ..ConfigEdit::default()
    })
}

pub(super) fn run(matches: &ArgMatches, session: &Session) -> Result<()> {
    let mut edit = edit(matches, "layerctl commit")?;
    edit.author = matches.get_one("author").cloned();
    let (store, image) = session.image(needed::<String>(matches, "image")?)?;
    let mut changed = changed_in(&store, &image, needed::<PathBuf>(matches, "upper")?)?;
    changed.work = matches.get_one("workdir").cloned().or(changed.work);
    let meter = Meter::new("Writing layer", matches.get_flag("quiet"));
    let layer = stage_directory(&store, Some(&image), &changed, &meter)?;
    let added = store.add_image(Some(&image), layer, &edit)?;
    let mut out = output();
    writeln!(out, "{}", added.id)?;
    finish(out)
}

/// A directory with changes.
pub(super) struct Changed {
    /// The directory.
    pub(super) upper: PathBuf,
    /// Its workdir: the index in it knows which names of lower files a change of another name shows at.
    pub(super) work: Option<PathBuf>,
}

/// The given directory, or the upper of the mount there, which must be one of the image.
fn changed_in(store: &Store, image: &Image, typed: &Path) -> Result<Changed> {
    let unusable = |error| Failure::failed(format_args!("{}: {error}", typed.display()));
    let path = typed.canonicalize().map_err(unusable)?;
    let Some(mount) = store.mounts()?.into_iter().find(|mount| mount.mount_point == path) else {
        return directory(path).map_err(unusable)?.ok_or_else(|| {
            let at = typed.display();
            Failure::failed(format_args!(
                "{at} is a mount of no image of this cache: give its upper directory"
            ))
        });
    };
    let at = typed.display();
    if mount.image != Some(image.id()) {
        let (shown, title) = (mount.name, image.title());
        return Err(Failure::failed(format_args!(
            "{at} is a mount of {shown}, not of {title}: name that one"
        )));
    }
    let Some(upper) = mount.upper else {
        return Err(Failure::failed(format_args!("{at} is mounted read-only: nothing was changed in it")));
    };
    // What the kernel holds back must be in the upper.
    let root = File::open(&path).map_err(unusable)?;
    sync_filesystem(&root).map_err(|error| Failure::failed(format_args!("{at}: {error}")))?;
    Ok(Changed { upper, work: mount.work })
}

/// A directory that is no mount of the cache; nothing if another FUSE filesystem is mounted there, which shows
/// more than changes.
fn directory(path: PathBuf) -> io::Result<Option<Changed>> {
    const FUSE_MAGIC: u32 = 0x6573_5546;
    let own = std::fs::metadata(&path)?;
    let parent = path.parent().map_or_else(|| Ok(own.clone()), std::fs::metadata)?;
    let kind = rustix::fs::statfs(&path)?.f_type;
    if !own.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if own.dev() != parent.dev() && u32::try_from(kind).is_ok_and(|kind| kind == FUSE_MAGIC) {
        return Ok(None);
    }
    let work = Some(path.with_file_name("work")).filter(|work| work.is_dir());
    Ok(Some(Changed { upper: path, work }))
}

/// Writes a directory as a layer: over an image that of its upper, else as it is.
pub(super) fn stage_directory(
    store: &Store,
    base: Option<&Image>,
    changed: &Changed,
    progress: &dyn Progress,
) -> Result<StagedLayer> {
    let pool = Arc::new(FdPool::new(raise_file_limit()));
    let open = |dir: &Path| {
        let opened = DirLayer::open(dir, pool.clone());
        opened.map_err(|error| Failure::failed(format_args!("{}: {error}", dir.display())))
    };
    let upper = open(&changed.upper)?;
    let index = changed.work.as_ref().map(|work| work.join("index")).filter(|index| index.is_dir());
    let index = index.map(|index| open(&index)).transpose()?;
    let index = index.as_ref().map(|index| index as &dyn Layer);
    let options = CommitOptions { clamp_mtime: source_date()?, index, ..CommitOptions::default() };
    let cached = base.map(|image| store.layers(image)).transpose()?.unwrap_or_default();
    let lowers: Vec<&dyn Layer> = cached.iter().rev().map(|layer| layer as &dyn Layer).collect();
    progress.layer("new layer", None);
    let mut writer = Counted { writer: store.stage_layer(&changed.upper.display().to_string())?, progress };
    let (uid, gid) = effective_ids();
    let owned = RootOwned::new(&upper, uid, gid);
    let upper: &dyn Layer = if uid == 0 { &upper } else { &owned };
    let report = write_upper_tar(upper, &lowers, &mut writer, &options)?;
    let layer = writer.writer.finish()?;
    progress.done("written");
    let left_out = report.to_string();
    if !left_out.is_empty() {
        say(&left_out);
    }
    Ok(layer)
}

/// The time that `SOURCE_DATE_EPOCH` says.
fn source_date() -> Result<Option<i64>> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = text.to_str().and_then(|text| text.parse().ok());
    let wrong =
        || Failure::failed(format_args!("SOURCE_DATE_EPOCH={}: not a number of seconds", text.display()));
    seconds.map(Some).ok_or_else(wrong)
}

/// Tells of the bytes that are written.
struct Counted<'a> {
    writer: LayerWriter,
    progress: &'a dyn Progress,
}

impl Write for Counted<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(data)?;
        self.progress.advance(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
