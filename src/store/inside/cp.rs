//! Copying out of a tree, as `docker cp` does it.

use super::error::{InsideError, Result};
use super::node::Child;
use super::tree::{LastLink, Located, Tree};
use super::unpack::{Keep, Paths, Placer, Report, Target, sys_error};
use super::walk::{Flow, Visit, name_of, walk};
use crate::store::object_writer::{ObjectWriter, TarReport};
use crate::sys::{AsFd, OwnedFd, Ref, effective_uid, open_directory};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What `cp` was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpOptions {
    /// `-L`: what a symlink at the source leads to instead of the link.
    pub follow: bool,
}

/// Where the source goes.
struct Place {
    /// The directory of the host.
    dir: PathBuf,
    /// The name in it; `None` if what is in the source goes into the directory itself.
    name: Option<Vec<u8>>,
}

/// Copies a path with all below it to the host. If the destination is a directory the source goes into
/// it (of a source that ends with `/.` what is in it), else it becomes the destination. Owners are kept
/// by root alone; what is there already is replaced, but never a directory by a file nor the other way.
pub fn cp(tree: &Tree<'_>, path: &[u8], dest: &Path, options: &CpOptions) -> Result<Report> {
    let source = source(tree, path, options)?;
    let place = place(&source, path, dest)?;
    let opened = open_directory(&place.dir);
    let root = opened.map_err(|error| InsideError::Host { path: place.dir.clone(), error })?;
    let keep = Keep { owners: effective_uid() == 0, xattrs: false, replace: true, overlay: false };
    let mut placer = Placer::new(tree, &place.dir, root, keep);
    let mut dirs: Vec<OwnedFd> = vec![placer.root()?];
    walk(tree, &source, &mut |visit: &Visit<'_>| -> Result<Flow> {
        let (Child::Object(node), Some(parent)) = (visit.child, dirs.last()) else {
            return Ok(Flow::Pass);
        };
        let at_root = visit.depth == 0;
        let written = written(&source, &place, visit.path);
        let paths = Paths { tree: visit.path, dest: &written };
        if visit.leaving {
            let dir = dirs.pop();
            if let Some(dir) = dir.filter(|_| !at_root || place.name.is_some()) {
                let looks = placer.looks(node, visit.path)?;
                placer.dress(Ref::Fd(dir.as_fd()), paths, &looks)?;
            }
            return Ok(Flow::Pass);
        }
        let name = match (at_root, &place.name) {
            (false, _) => visit.name,
            (true, Some(name)) => name,
            (true, None) => {
                let again = placer.root()?;
                dirs.push(again);
                return Ok(Flow::Enter);
            }
        };
        let at = Target { dir: parent.as_fd(), name, paths };
        match node.is_dir() {
            true => {
                let dir = placer.directory(at)?;
                dirs.push(dir);
            }
            false => placer.leaf(at, node)?,
        }
        Ok(Flow::Enter)
    })?;
    Ok(placer.report)
}

/// Where an object is written, from the directory that the source goes into.
fn written(source: &Located, place: &Place, path: &[u8]) -> Vec<u8> {
    let below = &path[source.path.len().min(path.len())..];
    let below = below.strip_prefix(b"/").unwrap_or(below);
    match (&place.name, below) {
        (Some(name), b"") => name.clone(),
        (Some(name), _) => [name, &b"/"[..], below].concat(),
        (None, _) => below.to_vec(),
    }
}

fn source(tree: &Tree<'_>, path: &[u8], options: &CpOptions) -> Result<Located> {
    tree.resolve(path, if options.follow { LastLink::Follow } else { LastLink::Keep })
}

/// The name that a source has where it goes: the last component as it was asked for.
fn source_name(source: &Located, path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
    match name_of(&path[..end]) {
        b"" | b"." | b".." => name_of(&source.path).to_vec(),
        name => name.to_vec(),
    }
}

fn place(source: &Located, path: &[u8], dest: &Path) -> Result<Place> {
    let refuse = |why| InsideError::Destination { path: dest.to_owned(), why };
    let is_dir = source.node.is_dir();
    let slash = dest.as_os_str().as_bytes().ends_with(b"/");
    match std::fs::metadata(dest) {
        Ok(there) if there.is_dir() => {
            let name = source_name(source, path);
            let contents = is_dir && (path.ends_with(b"/.") || path == b"." || name.is_empty());
            return Ok(Place { dir: dest.to_owned(), name: (!contents).then_some(name) });
        }
        Ok(_) if is_dir => return Err(refuse("is not a directory, but the source is; name a directory")),
        Ok(_) if slash => return Err(refuse("is not a directory")),
        Err(_) if slash && !is_dir => {
            return Err(refuse("does not exist; make it first, or leave out the slash"));
        }
        _ => {}
    }
    let (Some(parent), Some(name)) = (dest.parent(), dest.file_name()) else {
        return Err(refuse("is no place for a file; name a directory that exists"));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    match std::fs::metadata(parent) {
        Ok(_) => {}
        Err(e) => {
            return Err(InsideError::Host { path: parent.to_owned(), error: sys_error("stat", &e) });
        }
    }
    Ok(Place { dir: parent.to_owned(), name: Some(name.as_bytes().to_vec()) })
}

/// Writes a path with all below it as a tar, under the name of its last component.
pub fn cp_to_tar(
    tree: &Tree<'_>,
    path: &[u8],
    options: &CpOptions,
    out: &mut dyn Write,
) -> Result<TarReport> {
    let source = source(tree, path, options)?;
    let name = source_name(&source, path);
    let name = if name.is_empty() || path.ends_with(b"/.") { None } else { Some(name) };
    let place = Place { dir: PathBuf::new(), name };
    let mut writer = ObjectWriter::new(tree, out, None);
    walk(tree, &source, &mut |visit: &Visit<'_>| -> Result<Flow> {
        if let (Child::Object(node), false) = (visit.child, visit.leaving) {
            let written = written(&source, &place, visit.path);
            let written = if written.is_empty() { b".".to_vec() } else { written };
            writer.write(node, visit.path, &written)?;
        }
        Ok(Flow::Enter)
    })?;
    writer.finish()
}
