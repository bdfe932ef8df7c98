//! Unpacking into plain directories.
//!
//! A tree of one layer alone becomes a lower of overlayfs, with its whiteouts and opaque marks; a
//! merged tree becomes the directory that its mount would show.

mod placer;
mod report;

pub use report::{Lost, Report};

pub(super) use placer::{Keep, Looks, Paths, Placer, Target};

use super::error::{InsideError, Result};
use super::node::{Child, Node};
use super::tree::{LastLink, Tree};
use super::walk::{Flow, Visit, walk};
use crate::sys::{AsFd, OwnedFd, Ref, open_directory, read_dir};
use std::path::Path;

/// What `unpack` was asked for.
#[derive(Clone, Copy, Default)]
pub struct UnpackOptions<'t> {
    /// The layers below the one that is unpacked alone: directories that it has only because of what
    /// is in them look as they do there.
    pub below: Option<&'t Tree<'t>>,
    /// Told of what is written so far, after each object but directories.
    pub progress: Option<&'t dyn Fn(&Report)>,
}

impl UnpackOptions<'_> {
    fn tell(&self, report: &Report) {
        if let Some(progress) = self.progress {
            progress(report);
        }
    }
}

/// Unpacks a tree into a directory that is empty or does not exist yet.
pub fn unpack(tree: &Tree<'_>, dest: &Path, options: &UnpackOptions<'_>) -> Result<Report> {
    let root = open_empty(dest)?;
    let keep = Keep { owners: true, xattrs: true, replace: false, overlay: tree.is_alone() };
    let mut placer = Placer::new(tree, dest, root, keep);
    let mut dirs: Vec<OwnedFd> = Vec::new();
    let start = tree.resolve(b"/", LastLink::Keep)?;
    walk(tree, &start, &mut |visit: &Visit<'_>| -> Result<Flow> {
        let Some(parent) = dirs.last() else {
            dirs.push(placer.root()?);
            return Ok(Flow::Enter);
        };
        match visit.child {
            Child::Object(node) if visit.leaving => {
                if let Some(dir) = dirs.pop() {
                    finish_directory(&mut placer, &dir, visit.path, node, options)?;
                }
            }
            Child::Object(node) => {
                if node.is_dir() {
                    let dir = placer.directory(at(parent, visit))?;
                    dirs.push(dir);
                    return Ok(Flow::Enter);
                }
                placer.leaf(at(parent, visit), node)?;
            }
            Child::Whiteout => placer.whiteout(at(parent, visit))?,
        }
        options.tell(&placer.report);
        Ok(Flow::Pass)
    })?;
    Ok(placer.report)
}

/// Where an object goes that is written at its own path.
fn at<'d>(parent: &'d OwnedFd, visit: &'d Visit<'_>) -> Target<'d> {
    Target { dir: parent.as_fd(), name: visit.name, paths: Paths::same(visit.path) }
}

/// Gives a directory its looks once all is in it.
fn finish_directory(
    placer: &mut Placer<'_>,
    dir: &OwnedFd,
    path: &[u8],
    node: &Node,
    options: &UnpackOptions<'_>,
) -> Result<()> {
    if node.is_opaque() {
        placer.opaque(dir.as_fd(), path)?;
    }
    let mut looks = placer.looks(node, path)?;
    if let Some(below) = options.below.filter(|_| node.is_implied())
        && let Ok(found) = below.resolve(path, LastLink::Keep)
        && found.node.is_dir()
    {
        looks = Looks { attr: found.node.attr(), xattrs: below.xattrs(&found.node, path)? };
    }
    placer.dress(Ref::Fd(dir.as_fd()), Paths::same(path), &looks)
}

/// Opens an empty directory, which is made if it is not there.
fn open_empty(dest: &Path) -> Result<OwnedFd> {
    let host = |error| InsideError::Host { path: dest.to_owned(), error };
    match std::fs::create_dir(dest) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(host(sys_error("mkdir", &e))),
    }
    let root = open_directory(dest).map_err(host)?;
    let mut empty = true;
    read_dir(root.as_fd(), |_| empty = false).map_err(host)?;
    match empty {
        true => Ok(root),
        false => Err(InsideError::Destination {
            path: dest.to_owned(),
            why: "is not empty; name an empty or a new directory",
        }),
    }
}

pub(super) fn sys_error(call: &'static str, error: &std::io::Error) -> crate::sys::SysError {
    let errno = crate::sys::Errno::from_io_error(error).unwrap_or(crate::sys::Errno::IO);
    crate::sys::SysError { call, errno }
}
