//! Writing the objects of a tree into directories of the host.
//!
//! 1. *No name leads out of the destination.* Every step names one component in an open directory,
//!    and no symlink is followed, whoever put it there.
//! 2. *The order of the steps matters.* Owner before mode and capability, since chown clears both;
//!    xattrs before a mode that forbids them; times last, those of directories after their contents.
//! 3. *Not everything can be kept.* What the filesystem or the lack of rights refuses is counted in
//!    the [`Report`], everything else is an error.

use super::report::Report;
use crate::semantics::names::{Mark, MarkSpace, WHITEOUT_PREFIX, stored_xattr};
use crate::store::inside::error::{InsideError, Result};
use crate::store::inside::node::{LinkId, Node};
use crate::store::inside::tree::{Tree, components};
use crate::sys::{
    AsFd, BorrowedFd, Errno, OwnedFd, Ref, SysError, WriteBack, XattrSet, chmod, chown, duplicate, link,
    make_device, make_dir, make_node, make_symlink, open_at, open_dir_path, set_xattr, stat, unlink, utimens,
};
use crate::types::{Attr, DeviceNumber, FileKind, SetTime};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is kept of objects beyond kind, data, mode and times.
#[derive(Clone, Copy, Debug)]
pub(in crate::store::inside) struct Keep {
    /// Owner and group.
    pub(in crate::store::inside) owners: bool,
    /// xattrs.
    pub(in crate::store::inside) xattrs: bool,
    /// What is there already is replaced.
    pub(in crate::store::inside) replace: bool,
    /// Devices 0:0 are written so that they are no whiteouts.
    pub(in crate::store::inside) overlay: bool,
}

/// Where an object goes: a name in an open directory.
#[derive(Clone, Copy)]
pub(in crate::store::inside) struct Target<'d> {
    pub(in crate::store::inside) dir: BorrowedFd<'d>,
    pub(in crate::store::inside) name: &'d [u8],
    pub(in crate::store::inside) paths: Paths<'d>,
}

/// What an object is called in messages.
#[derive(Clone, Copy)]
pub(in crate::store::inside) struct Paths<'d> {
    /// Its path in the tree.
    pub(in crate::store::inside) tree: &'d [u8],
    /// Its path below the destination.
    pub(in crate::store::inside) dest: &'d [u8],
}

impl<'d> Paths<'d> {
    /// Of an object that is written at its own path.
    pub(in crate::store::inside) fn same(path: &'d [u8]) -> Self {
        Paths { tree: path, dest: path }
    }
}

/// What an object is to look like.
pub(in crate::store::inside) struct Looks {
    pub(in crate::store::inside) attr: Attr,
    pub(in crate::store::inside) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(in crate::store::inside) struct Placer<'t> {
    tree: &'t Tree<'t>,
    /// Where the destination is, for messages.
    shown: PathBuf,
    root: OwnedFd,
    keep: Keep,
    /// Files that may have further names, by where the first one was written from the root.
    links: HashMap<LinkId, Vec<u8>>,
    /// Marks could not be written in this space.
    no_trusted: bool,
    pub(in crate::store::inside) report: Report,
}

impl<'t> Placer<'t> {
    pub(in crate::store::inside) fn new(tree: &'t Tree<'t>, shown: &Path, root: OwnedFd, keep: Keep) -> Self {
        Placer {
            tree,
            shown: shown.to_owned(),
            root,
            keep,
            links: HashMap::new(),
            no_trusted: false,
            report: Report::default(),
        }
    }

    /// A descriptor of the destination.
    pub(in crate::store::inside) fn root(&self) -> Result<OwnedFd> {
        duplicate(self.root.as_fd()).map_err(self.host(b""))
    }

    /// For `map_err` on calls about an object of the host.
    pub(in crate::store::inside) fn host<'p>(
        &self,
        path: &'p [u8],
    ) -> impl Fn(SysError) -> InsideError + use<'p> {
        let base = self.shown.clone();
        move |error| {
            let below = path.strip_prefix(b"/").unwrap_or(path);
            let path = if below.is_empty() { base.clone() } else { base.join(OsStr::from_bytes(below)) };
            InsideError::Host { path, error }
        }
    }

    /// What an object looks like in the tree.
    pub(in crate::store::inside) fn looks(&self, node: &Node, path: &[u8]) -> Result<Looks> {
        let xattrs = if self.keep.xattrs { self.tree.xattrs(node, path)? } else { Vec::new() };
        Ok(Looks { attr: node.attr(), xattrs })
    }

    /// Makes or finds a directory and opens it; how it looks comes when it is full.
    pub(in crate::store::inside) fn directory(&mut self, at: Target<'_>) -> Result<OwnedFd> {
        match make_dir(at.dir, at.name, 0o700) {
            Ok(()) => self.report.written += 1,
            Err(e) if e.errno == Errno::EXIST && self.keep.replace => {}
            Err(e) => return Err(self.host(at.paths.dest)(e)),
        }
        // What is there and is no directory answers ENOTDIR, a symlink to one too.
        open_dir_path(at.dir, at.name, true).map_err(self.host(at.paths.dest))
    }

    /// Writes anything but a directory.
    pub(in crate::store::inside) fn leaf(&mut self, at: Target<'_>, node: &Node) -> Result<()> {
        if self.keep.replace {
            match unlink(at.dir, at.name) {
                Ok(()) => {}
                Err(e) if e.errno == Errno::NOENT => {}
                Err(e) => return Err(self.host(at.paths.dest)(e)),
            }
        }
        let shared = node.shared_link_id();
        if let Some(id) = shared
            && let Some(first) = self.links.get(&id)
            && self.link(at, first)?
        {
            self.report.written += 1;
            return Ok(());
        }
        let looks = self.looks(node, at.paths.tree)?;
        if !self.make(at, node, &looks.attr)? {
            return Ok(());
        }
        self.report.written += 1;
        if let Some(id) = shared {
            self.links.insert(id, at.paths.dest.to_vec());
        }
        self.dress(Ref::At(at.dir, at.name), at.paths, &looks)
    }

    /// A further name of what was written before; false where the filesystem gives it no more names.
    fn link(&self, at: Target<'_>, first: &[u8]) -> Result<bool> {
        let mut dir = self.root()?;
        let mut parts: Vec<Vec<u8>> = components(first).collect();
        let name = parts.pop().unwrap_or_default();
        for part in parts {
            dir = open_dir_path(dir.as_fd(), &part, true).map_err(self.host(first))?;
        }
        match link(dir.as_fd(), &name, at.dir, at.name) {
            Ok(()) => Ok(true),
            Err(e) if e.errno == Errno::MLINK => Ok(false),
            Err(e) => Err(self.host(at.paths.dest)(e)),
        }
    }

    /// Makes the object with its data; false if it could not be made at all.
    fn make(&mut self, at: Target<'_>, node: &Node, attr: &Attr) -> Result<bool> {
        let made = match attr.kind {
            FileKind::Regular => return self.file(at, node, attr).map(|()| true),
            FileKind::Symlink => make_symlink(at.dir, at.name, &self.tree.read_link(node, at.paths.tree)?),
            FileKind::CharDevice if self.keep.overlay && attr.rdev == DeviceNumber::default() => {
                return self.marked_device(at).map(|()| true);
            }
            FileKind::CharDevice | FileKind::BlockDevice => {
                match make_device(at.dir, at.name, attr.kind, 0o600, attr.rdev) {
                    Err(e) if e.errno == Errno::PERM => {
                        self.report.devices.add(at.paths.tree);
                        return Ok(false);
                    }
                    done => done,
                }
            }
            FileKind::Fifo | FileKind::Socket | FileKind::Directory => {
                make_node(at.dir, at.name, attr.kind, 0o600)
            }
        };
        made.map(|()| true).map_err(self.host(at.paths.dest))
    }

    fn file(&mut self, at: Target<'_>, node: &Node, attr: &Attr) -> Result<()> {
        let contents = self.tree.open(node, at.paths.tree)?;
        let host = self.host(at.paths.dest);
        make_node(at.dir, at.name, FileKind::Regular, 0o600).map_err(&host)?;
        let file = open_at(at.dir, at.name, true).map_err(&host)?;
        contents.copy_to(file.as_fd(), attr.size, true, WriteBack::Later).map_err(&host)?;
        self.report.bytes += attr.size;
        Ok(())
    }

    /// An empty file that stands for a device 0:0.
    fn marked_device(&mut self, at: Target<'_>) -> Result<()> {
        make_node(at.dir, at.name, FileKind::Regular, 0o600).map_err(self.host(at.paths.dest))?;
        let marked = self.mark(Ref::At(at.dir, at.name), at.paths.dest, Mark::Device, b"c 0:0")?
            && self.mark(Ref::Fd(at.dir), at.paths.dest, Mark::Impure, b"y")?;
        if !marked {
            self.report.devices.add(at.paths.tree);
        }
        Ok(())
    }

    /// Writes a mark, as `trusted.` where that is allowed; false if the filesystem takes none.
    fn mark(&mut self, object: Ref<'_>, path: &[u8], mark: Mark, value: &[u8]) -> Result<bool> {
        let host = self.host(path);
        let set = |space: MarkSpace| set_xattr(object, &mark.xattr(space), value, XattrSet::Any);
        if !self.no_trusted {
            match set(MarkSpace::Trusted) {
                Err(e) if is_refusal(e.errno) => self.no_trusted = true,
                done => return done.map(|()| true).map_err(host),
            }
        }
        match set(MarkSpace::User) {
            Err(e) if is_refusal(e.errno) => Ok(false),
            done => done.map(|()| true).map_err(host),
        }
    }

    /// Marks a directory as opaque: by a file in it where no mark can be written.
    pub(in crate::store::inside) fn opaque(&mut self, dir: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
        if self.mark(Ref::Fd(dir), path, Mark::Opaque, b"y")? {
            return Ok(());
        }
        self.report.marker_files.add(path);
        make_node(dir, crate::semantics::names::OPAQUE_FILE, FileKind::Regular, 0o600)
            .map_err(self.host(path))
    }

    /// Writes a whiteout: by a file beside it where no device can be made.
    pub(in crate::store::inside) fn whiteout(&mut self, at: Target<'_>) -> Result<()> {
        let zero = DeviceNumber::default();
        match make_device(at.dir, at.name, FileKind::CharDevice, 0, zero) {
            Ok(()) => self.report.written += 1,
            Err(e) if e.errno == Errno::PERM => {
                let marker = [WHITEOUT_PREFIX, at.name].concat();
                match make_node(at.dir, &marker, FileKind::Regular, 0o600) {
                    Ok(()) => self.report.marker_files.add(at.paths.tree),
                    Err(e) if e.errno == Errno::NAMETOOLONG => self.report.whiteouts.add(at.paths.tree),
                    Err(e) => return Err(self.host(at.paths.dest)(e)),
                }
            }
            Err(e) => return Err(self.host(at.paths.dest)(e)),
        }
        Ok(())
    }

    /// Gives an object its owner, xattrs, mode and times.
    pub(in crate::store::inside) fn dress(
        &mut self,
        object: Ref<'_>,
        paths: Paths<'_>,
        looks: &Looks,
    ) -> Result<()> {
        let attr = &looks.attr;
        let host = self.host(paths.dest);
        let (_, now) = stat(object).map_err(&host)?;
        let mut mode = attr.mode;
        if self.keep.owners && (now.uid, now.gid) != (attr.uid, attr.gid) {
            match chown(object, Some(attr.uid), Some(attr.gid)) {
                // EINVAL: an id that this user namespace does not have.
                Err(e) if matches!(e.errno, Errno::PERM | Errno::INVAL) => {
                    self.report.owners.add(paths.tree);
                    mode = self.without_set_id(mode, attr.kind, paths.tree);
                }
                done => done.map_err(&host)?,
            }
        } else if (now.uid, now.gid) != (attr.uid, attr.gid) {
            mode = self.without_set_id(mode, attr.kind, paths.tree);
        }
        self.set_xattrs(object, paths, looks)?;
        if attr.kind != FileKind::Symlink {
            chmod(object, mode).map_err(&host)?;
        }
        utimens(object, SetTime::To(attr.atime), SetTime::To(attr.mtime)).map_err(&host)
    }

    fn without_set_id(&mut self, mode: u32, kind: FileKind, path: &[u8]) -> u32 {
        if mode & 0o6000 == 0 || kind.is_dir() {
            return mode;
        }
        self.report.set_id.add(path);
        mode & !0o6000
    }

    fn set_xattrs(&mut self, object: Ref<'_>, paths: Paths<'_>, looks: &Looks) -> Result<()> {
        let mut lost = false;
        for (name, value) in &looks.xattrs {
            let Some(stored) = stored_xattr(name) else {
                lost = true;
                continue;
            };
            match set_xattr(object, &stored, value, XattrSet::Any) {
                Ok(()) => {}
                Err(e) if is_refusal(e.errno) => lost = true,
                Err(e) => return Err(self.host(paths.dest)(e)),
            }
        }
        if lost {
            self.report.xattrs.add(paths.tree);
        }
        Ok(())
    }
}

/// Answers to setxattr that say what the filesystem or the caller cannot do.
fn is_refusal(errno: Errno) -> bool {
    // ENOSPC, E2BIG and ERANGE: the value is longer than this filesystem takes; EINVAL: an access list
    // that it cannot read.
    matches!(
        errno,
        Errno::PERM
            | Errno::ACCESS
            | Errno::OPNOTSUPP
            | Errno::NOSPC
            | Errno::TOOBIG
            | Errno::RANGE
            | Errno::INVAL
    )
}
