//! Writing the objects of a tree as entries of a tar.

use super::inside::text::PathText;
use super::inside::{InsideError, LinkId, Node, Tree};
use super::tar_writer::{Body, Entry, TarWriter, can_hold_xattr};
use crate::types::{Attr, DeviceNumber, FileKind, Timestamp};
use std::collections::HashMap;
use std::fmt::{Display, Formatter};
use std::io::Write;

/// As many names as a person reads.
const NAMED: usize = 3;
/// 256 KiB: past it the cost of the calls no longer shows.
const CHUNK: usize = 1 << 18;
/// A label says what the host's policy thinks of a file; on another host it is wrong.
const HOST_LABEL: &[u8] = b"security.selinux";

/// What was written to a tar, and what it has no form for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TarReport {
    /// Entries written, whiteouts included.
    pub entries: u64,
    /// Bytes of the files written, hard links once.
    pub bytes: u64,
    /// Whiteouts written.
    pub whiteouts: u64,
    /// Opaque directories written.
    pub opaque: u64,
    /// Sockets, which were left out.
    pub sockets: u64,
    /// Objects that lost xattrs with a `=` in their names.
    pub xattrs: u64,
    /// The first of what was left out.
    pub first: Vec<Vec<u8>>,
}

impl Display for TarReport {
    /// One line of what was left out; nothing if all is there.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut between = "";
        for (count, what) in [(self.sockets, "sockets left out"), (self.xattrs, "xattrs with = left out")] {
            if count > 0 {
                write!(f, "{between}{what}: {count}")?;
                between = ", ";
            }
        }
        for (at, path) in self.first.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { ": " } else { ", " }, PathText::from(path.as_slice()))?;
        }
        Ok(())
    }
}

/// Writes objects of one tree.
pub(super) struct ObjectWriter<'t, 'w> {
    tree: &'t Tree<'t>,
    tar: TarWriter<'w>,
    /// Files that may have further names, by the path of the first.
    links: HashMap<LinkId, Vec<u8>>,
    buf: Vec<u8>,
    report: TarReport,
}

type Result<T> = std::result::Result<T, InsideError>;

impl<'t, 'w> ObjectWriter<'t, 'w> {
    /// Times of modification after `clamp` become `clamp`.
    pub(super) fn new(tree: &'t Tree<'t>, out: &'w mut dyn Write, clamp: Option<i64>) -> Self {
        ObjectWriter {
            tree,
            tar: TarWriter::new(out, clamp),
            links: HashMap::new(),
            buf: Vec::new(),
            report: TarReport::default(),
        }
    }

    /// Writes an object that stands at `path` of the tree as the entry `written`.
    pub(super) fn write(&mut self, node: &Node, path: &[u8], written: &[u8]) -> Result<()> {
        self.write_linked(node, node.shared_link_id(), path, written)
    }

    /// The same, as a hard link of what was written before under the same `id`.
    pub(super) fn write_linked(
        &mut self,
        node: &Node,
        id: Option<LinkId>,
        path: &[u8],
        written: &[u8],
    ) -> Result<()> {
        let attr = node.attr();
        if attr.kind == FileKind::Socket {
            self.report.sockets += 1;
            self.left_out(path);
            return Ok(());
        }
        self.report.entries += 1;
        if let Some(first) = id.and_then(|id| self.links.get(&id)) {
            let body = Body::HardLink(first);
            return Ok(self.tar.begin(&Entry { path: written, attr: &attr, xattrs: &[], body })?);
        }
        if let Some(id) = id {
            self.links.insert(id, written.to_vec());
        }
        let xattrs = self.xattrs(node, path)?;
        let entry = |body| Entry { path: written, attr: &attr, xattrs: &xattrs, body };
        match attr.kind {
            FileKind::Regular => {
                let contents = self.tree.open(node, path)?;
                self.tar.begin(&entry(Body::File(attr.size)))?;
                self.data(&contents, attr.size, path)
            }
            FileKind::Symlink => {
                let target = self.tree.read_link(node, path)?;
                Ok(self.tar.begin(&entry(Body::Symlink(&target)))?)
            }
            _ => Ok(self.tar.begin(&entry(Body::Plain))?),
        }
    }

    fn xattrs(&mut self, node: &Node, path: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut xattrs = self.tree.xattrs(node, path)?;
        xattrs.retain(|(name, _)| name != HOST_LABEL);
        if xattrs.iter().any(|(name, _)| !can_hold_xattr(name)) {
            self.report.xattrs += 1;
            self.left_out(path);
        }
        Ok(xattrs)
    }

    fn left_out(&mut self, path: &[u8]) {
        if self.report.first.len() < NAMED {
            self.report.first.push(path.to_vec());
        }
    }

    fn data(&mut self, contents: &crate::layer::Contents, size: u64, path: &[u8]) -> Result<()> {
        self.buf.resize(CHUNK, 0);
        let mut at = 0;
        while at < size {
            let want = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
            let got = contents.read_at(&mut self.buf[..want], at).map_err(InsideError::layer(path))?;
            if got == 0 {
                return Err(InsideError::Shortened(path.into()));
            }
            self.tar.write_data(&self.buf[..got])?;
            at += got as u64;
        }
        self.report.bytes += size;
        Ok(self.tar.end_data()?)
    }

    /// Writes the whiteout at a path; `name` has the prefix already.
    pub(super) fn marker(&mut self, written: &[u8], opaque: bool) -> Result<()> {
        let attr = marker_attr();
        self.tar.begin(&Entry { path: written, attr: &attr, xattrs: &[], body: Body::File(0) })?;
        self.report.entries += 1;
        *(if opaque { &mut self.report.opaque } else { &mut self.report.whiteouts }) += 1;
        Ok(())
    }

    /// Ends the archive.
    pub(super) fn finish(self) -> Result<TarReport> {
        self.tar.finish()?;
        Ok(self.report)
    }
}

/// A marker has no attributes of its own: these are the same each time.
fn marker_attr() -> Attr {
    let epoch = Timestamp::default();
    Attr {
        kind: FileKind::Regular,
        mode: 0o600,
        uid: 0,
        gid: 0,
        size: 0,
        blocks: 0,
        blksize: 512,
        nlink: 1,
        rdev: DeviceNumber::default(),
        atime: epoch,
        mtime: epoch,
        ctime: epoch,
    }
}
