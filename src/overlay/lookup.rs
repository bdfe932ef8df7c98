//! Lookup: from a name to a node (rules U1 to U12).

use super::error::{Error, Result};
use super::index::shown_nlink;
use super::listing::{Builder, Listing, Part, UPPER};
use super::node::{Body, DirBody, IndexEntry, LeafBody, Link, Node, NodeState, Place, RareBody, UpperPart};
use super::reload::renew;
use super::table::NodeRef;
use super::upper_access::DirFd;
use super::{Overlay, RedirectDir};
use crate::layer::{Finding, Found, NlinkMark, Object, probe_name};
use crate::semantics::change::{NameInfo, UpperName};
use crate::semantics::lookup::{Class, Scope, Search, Step};
use crate::semantics::names::{self, NameClass};
use crate::sys::{AsFd, Ref};
use crate::types::{Attr, FileKind, FileName, Ino, LayerIdx, RealId};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What a lookup found.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The object's shown number.
    pub ino: Ino,
    /// Its attributes as shown.
    pub attr: Attr,
    /// The reference that the kernel will hold.
    pub node: NodeRef<'a>,
}

/// The findings for one name, topmost first.
#[derive(Debug, Default)]
pub(super) struct Resolution {
    pub(super) upper: Option<Box<Found>>,
    pub(super) lowers: SmallVec<[(Place, Box<Found>); 1]>,
    /// The name in the index under which `upper` was found.
    pub(super) index: Option<Vec<u8>>,
    /// A redirect mark on the way is no path, so that what is below is not known.
    pub(super) misled: bool,
}

impl Resolution {
    /// The topmost finding.
    pub(super) fn top(&self) -> Option<&Found> {
        self.upper.as_deref().or(self.lowers.first().map(|(_, found)| &**found))
    }

    /// Which of the lowers has the attributes, if the upper has none (rule U14).
    fn described_by(&self) -> usize {
        self.lowers.iter().position(|(_, found)| !found.implied).unwrap_or(0)
    }

    /// The attributes that are shown.
    fn attributes(&self) -> Option<Attr> {
        let lower = || self.lowers.get(self.described_by()).map(|(_, found)| found.attr);
        self.upper.as_ref().map(|upper| upper.attr).or_else(lower)
    }
}

/// Refuses names that cannot be made.
pub(super) fn check_new_name(name: &[u8]) -> Result<()> {
    if name.len() > names::NAME_MAX {
        return Err(Error::NameTooLong);
    }
    match names::classify_name(name) {
        NameClass::Plain => Ok(()),
        _ => Err(Error::ReservedName),
    }
}

impl Overlay {
    /// Looks a name up; `None` if the mount shows none.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Option<Entry<'_>>> {
        if name.len() > names::NAME_MAX {
            return Err(Error::NameTooLong);
        }
        let dir = self.directory(parent)?;
        self.lookup_in(&dir, name)
    }

    /// The same, in a known directory.
    pub(super) fn lookup_in(&self, dir: &Arc<Node>, name: &[u8]) -> Result<Option<Entry<'_>>> {
        if names::classify_name(name) != NameClass::Plain {
            return Ok(None);
        }
        let fd = self.prepare(dir)?;
        let state = dir.state.read();
        self.lookup_locked(dir, &state, fd.as_ref(), &FileName::from(name))
    }

    /// What must be at hand before the directory's lock is taken: its upper descriptor, and its
    /// listing if several layers would have to be asked for each name.
    pub(super) fn prepare(&self, dir: &Arc<Node>) -> Result<Option<DirFd>> {
        let fd = self.upper_dir_if_any(dir)?;
        let merged = {
            let state = dir.state.read();
            let body = state.known_dir()?;
            self.must_list(body) && body.lowers.len() + usize::from(state.upper.is_some()) > 1
        };
        if merged {
            self.load_listing(dir)?;
        }
        Ok(fd)
    }

    /// The same, with the directory's lock held.
    pub(super) fn lookup_locked(
        &self,
        dir: &Arc<Node>,
        state: &NodeState,
        fd: Option<&DirFd>,
        name: &FileName,
    ) -> Result<Option<Entry<'_>>> {
        let body = state.dir().ok_or(Error::NotDirectory)?;
        if body.listing.as_ref().is_some_and(|listing| !listing.get(name).is_some_and(|n| n.visible)) {
            return Ok(None);
        }
        let mut resolution = self.resolve(body, fd, name)?;
        self.apply_index(&mut resolution, body, name)?;
        match resolution.top() {
            None => Ok(None),
            Some(_) => self.intern(dir, name, resolution).map(Some),
        }
    }

    /// Asks the layers for a name, topmost first.
    pub(super) fn resolve(&self, body: &DirBody, fd: Option<&DirFd>, name: &FileName) -> Result<Resolution> {
        let mut search = Search::new(name);
        let mut found = Resolution::default();
        let listed = body.listing.as_ref().and_then(|listing| listing.get(name));
        let skip = |search: &Search, part: Part| {
            search.follows_listing() && listed.as_ref().is_some_and(|n| !n.has_part(part))
        };
        if let Some(fd) = fd.filter(|_| !skip(&search, UPPER)) {
            let finding = self.upper()?.find(Ref::At(fd.as_fd(), name), body.xattr_whiteouts)?;
            if self.feed(&mut search, 0, &finding) == Step::Keep
                && let Finding::Found(upper) = finding
            {
                found.upper = Some(upper);
            }
        }
        let mut own = body.lowers.iter().enumerate().peekable();
        for layer in self.stack.indices() {
            if search.ended() {
                break;
            }
            let part = own.next_if(|(_, place)| place.layer == layer);
            let start = match (search.scope(), part) {
                (Scope::Root, _) => self.stack.layer(layer).root(),
                (Scope::Parent, None) => continue,
                (Scope::Parent, Some((at, _)))
                    if skip(&search, u16::try_from(at + 1).unwrap_or(Part::MAX)) =>
                {
                    continue;
                }
                (Scope::Parent, Some((_, place))) => place.object.clone(),
            };
            found.lowers.extend(self.ask_layer(&mut search, layer, start, name)?);
        }
        found.misled = search.misled();
        Ok(found)
    }

    /// Asks one layer for the search's path.
    fn ask_layer(
        &self,
        search: &mut Search,
        layer: LayerIdx,
        start: Object,
        name: &FileName,
    ) -> Result<Option<(Place, Box<Found>)>> {
        let lower = self.stack.layer(layer);
        let path: SmallVec<[Box<[u8]>; 1]> = search.path().iter().cloned().collect();
        let mut at = start;
        for (n, component) in path.iter().enumerate() {
            let rest = path.len() - 1 - n;
            let finding = lower.find(&at, component)?;
            let step = self.feed(search, rest, &finding);
            let (Finding::Found(found), true) = (finding, step != Step::Skip) else {
                return Ok(None);
            };
            let shared = if **component == **name { name.clone() } else { FileName::from(&**component) };
            at = lower.object(&at, &shared, &found);
            if step == Step::Keep {
                return Ok(Some((Place { layer, object: at }, found)));
            }
        }
        Ok(None)
    }

    /// Tells the search what a layer has.
    fn feed(&self, search: &mut Search, rest: usize, finding: &Finding) -> Step {
        let follow = self.redirect_dir != RedirectDir::NoFollow;
        let class = match finding {
            Finding::Absent => Class::Absent,
            Finding::Whiteout => Class::Whiteout,
            Finding::Found(found) => {
                let redirect = found.marks.redirect.as_deref().filter(|_| follow);
                match found.attr.kind {
                    FileKind::Directory => Class::Directory { opaque: found.marks.opaque, redirect },
                    FileKind::Regular => Class::Other { metacopy: found.marks.metacopy, redirect },
                    _ => Class::Other { metacopy: false, redirect: None },
                }
            }
        };
        search.component(rest, class)
    }

    /// Makes or finds the node of a resolution, and counts a reference.
    pub(super) fn intern(&self, dir: &Arc<Node>, name: &FileName, found: Resolution) -> Result<Entry<'_>> {
        let top = found.top().ok_or(Error::NotFound)?;
        let (real, attr) = (top.real, found.attributes().unwrap_or(top.attr));
        let own = match &found.upper {
            Some(upper) => self.upper_number(real, Some(upper)),
            // Its names will be files of their own, so they are from the start.
            None if self.breaks_links(&found) => self.nodes.alias(dir.ino, name),
            None => self.stack.inos.number(real),
        };
        let generation = self.generation.load(Ordering::Acquire);
        let state = self.node_state(dir, name, found);
        let (node, unused) = self.nodes.intern(own, attr.kind, generation, state);
        let node = match unused {
            None => node,
            Some(state) if self.same_object(&node, dir, name, real, attr.kind) => {
                if !attr.kind.is_dir() {
                    self.nodes.add_link(&mut node.node().state.write(), dir, name);
                }
                let seen = node.node().generation.swap(generation, Ordering::AcqRel);
                if seen != generation || self.trust.is_some() {
                    renew(&mut node.node().state.write(), state);
                }
                node
            }
            Some(state) => {
                drop(node);
                self.nodes.intern(self.nodes.alias(dir.ino, name), attr.kind, generation, state).0
            }
        };
        let attr = self.shown(node.node(), &node.node().state.read(), attr)?;
        Ok(Entry { ino: node.node().ino, attr, node })
    }

    /// The number of an upper object: that of what it is a copy of, as its marks say.
    fn upper_number(&self, real: RealId, found: Option<&Found>) -> Ino {
        let recorded = || self.stack.inos.number(found.map_or(real, |found| self.stack.identity(found)));
        self.nodes.kept_number(real).unwrap_or_else(recorded)
    }

    /// Whether a change through one name of a lower file would not show through the others: without an
    /// index.
    fn breaks_links(&self, found: &Resolution) -> bool {
        let Some((_, lower)) = found.lowers.first() else {
            return false;
        };
        let kind = lower.attr.kind;
        let linked = !kind.is_dir() && lower.attr.nlink > 1;
        linked && self.stack.upper.as_ref().is_some_and(|upper| upper.index_for(kind).is_none())
    }

    /// Whether a node that has the number of a finding is the node of that finding.
    fn same_object(
        &self,
        node: &NodeRef<'_>,
        dir: &Arc<Node>,
        name: &[u8],
        real: RealId,
        kind: FileKind,
    ) -> bool {
        let node = node.node();
        let state = node.state.read();
        if node.kind != kind
            || state.removed && state.links.is_empty() && state.anchor.is_none() && kind.is_dir()
        {
            return false;
        }
        if kind.is_dir() {
            // A directory has one name.
            return node.ino != Ino::ROOT && state.links.iter().any(|link| link.is(dir, name));
        }
        let upper = state.upper.as_ref();
        let lower = state.leaf().and_then(|leaf| leaf.lower.as_ref()).map(|(_, real)| *real);
        upper.is_some_and(|u| u.real == real)
            || lower == Some(real)
                && upper.is_none_or(|u| u.index.is_some() || state.links.iter().any(|l| l.is(dir, name)))
    }

    /// The state of a new node.
    fn node_state(&self, dir: &Arc<Node>, name: &FileName, found: Resolution) -> NodeState {
        let kind = found.top().map_or(FileKind::Regular, |top| top.attr.kind);
        let upper = found.upper.as_ref().map(|upper| UpperPart {
            real: upper.real,
            metacopy: upper.marks.metacopy && kind == FileKind::Regular,
            index: found.index.clone().map(|name| {
                Box::new(IndexEntry {
                    name,
                    settled: !matches!(upper.marks.nlink, Some(NlinkMark::Lower(_))),
                    nlink_delta: self.index_delta(upper, &found),
                })
            }),
        });
        let body = match kind {
            FileKind::Directory => Body::Dir(Box::new(dir_body(found))),
            _ => Body::Leaf(leaf_body(found)),
        };
        NodeState {
            links: smallvec![Link { parent: dir.clone(), name: name.clone() }],
            upper,
            anchor: None,
            removed: false,
            body,
        }
    }

    /// The attributes as the mount shows them, from those of the topmost object.
    pub(super) fn shown(&self, node: &Arc<Node>, state: &NodeState, mut attr: Attr) -> Result<Attr> {
        if let Some(device) = state.device() {
            (attr.kind, attr.rdev) = device;
        }
        (attr.uid, attr.gid) = (self.users.shown(attr.uid), self.groups.shown(attr.gid));
        if node.kind.is_dir() {
            attr.nlink = dir_nlink(state, attr.nlink);
            return Ok(attr);
        }
        attr.nlink = shown_nlink(state, attr.nlink);
        if state.upper.as_ref().is_some_and(|upper| upper.metacopy)
            && let Some(place) = state.lower_data()
        {
            attr.blocks = self.stack.of(place).attr(&place.object)?.blocks;
        }
        Ok(attr)
    }

    /// Reads the listing of a directory, if it is not at hand.
    pub(super) fn load_listing(&self, dir: &Arc<Node>) -> Result<()> {
        let fd = self.upper_dir_if_any(dir)?;
        let mut state = dir.state.write();
        state.known_dir()?;
        let body = state.dir_mut().ok_or(Error::NotDirectory)?;
        if self.must_list(body) {
            let (listing, cut) = self.read_listing(body, fd.as_ref())?;
            if let Some(keep) = cut {
                body.lowers.truncate(keep);
            }
            body.listing = Some(listing);
            body.listed_at = self.trust.map(|_| Instant::now());
        }
        Ok(())
    }

    /// Whether a directory must be read: it was not yet, or too long ago to be trusted.
    fn must_list(&self, body: &DirBody) -> bool {
        let old = |at: Instant| self.trust.is_some_and(|trust| at.elapsed() >= trust);
        body.listing.is_none() || body.listed_at.is_some_and(old)
    }

    /// Reads and merges all parts; also says how many lowers are left if a file made a part opaque.
    fn read_listing(&self, body: &DirBody, fd: Option<&DirFd>) -> Result<(Listing, Option<usize>)> {
        let mut builder = Builder::default();
        if let Some(fd) = fd {
            let mixed = body.impure || !body.lowers.is_empty();
            let opaque = self.upper()?.list(
                fd,
                body.xattr_whiteouts,
                mixed,
                &mut |entry, found| match entry.whiteout {
                    true => builder.whiteout(entry.name),
                    false => {
                        builder.entry(UPPER, entry.name, entry.kind, self.upper_number(entry.real, found));
                    }
                },
            )?;
            builder.end_part(UPPER);
            if opaque {
                return Ok((builder.finish(), Some(0)));
            }
        }
        for (at, place) in body.lowers.iter().enumerate() {
            let part = u16::try_from(at + 1).unwrap_or(Part::MAX);
            let opaque = self.stack.of(place).list(&place.object, &mut |entry| match entry.whiteout {
                true => builder.whiteout(entry.name),
                false => builder.entry(part, entry.name, entry.kind, self.stack.inos.number(entry.real)),
            })?;
            builder.end_part(part);
            if opaque {
                return Ok((builder.finish(), Some(at + 1)));
            }
        }
        Ok((builder.finish(), None))
    }

    /// What stands at a name: the upper's part, and whether the lowers have it.
    pub(super) fn name_info(&self, body: &DirBody, fd: Option<&DirFd>, name: &[u8]) -> Result<NameInfo> {
        if let Some(listing) = &body.listing {
            return Ok(match listing.get(name) {
                None => NameInfo { upper: UpperName::Absent, lower: false },
                Some(n) => {
                    NameInfo { upper: upper_name(n.top == UPPER, n.visible, n.kind), lower: n.in_lower }
                }
            });
        }
        let upper = match fd {
            None => UpperName::Absent,
            Some(fd) => match probe_name(Ref::At(fd.as_fd(), name), body.xattr_whiteouts)? {
                None => UpperName::Absent,
                Some((kind, whiteout)) => upper_name(true, !whiteout, kind),
            },
        };
        let mut lower = false;
        for place in &body.lowers {
            match self.stack.of(place).find(&place.object, name)? {
                Finding::Absent => continue,
                Finding::Whiteout => {}
                Finding::Found(_) => lower = true,
            }
            break;
        }
        Ok(NameInfo { upper, lower })
    }
}

/// The number of links shown for a directory: the real one unless it is merged, when counting would
/// mean to read all parts.
fn dir_nlink(state: &NodeState, real: u32) -> u32 {
    let parts = state.dir().map_or(0, |dir| dir.lowers.len()) + usize::from(state.upper.is_some());
    match (state.removed, parts) {
        (true, _) => 0,
        (false, 1) => real,
        (false, _) => 1,
    }
}

fn upper_name(in_upper: bool, visible: bool, kind: FileKind) -> UpperName {
    match (in_upper, visible, kind) {
        (false, ..) => UpperName::Absent,
        (true, false, _) => UpperName::Whiteout,
        (true, true, FileKind::Directory) => UpperName::Directory,
        (true, true, _) => UpperName::Other,
    }
}

fn dir_body(found: Resolution) -> DirBody {
    let described_by = u16::try_from(found.described_by()).unwrap_or(0);
    let marks = found.upper.map(|upper| upper.marks);
    DirBody {
        described_by,
        misled: found.misled,
        lowers: found.lowers.into_iter().map(|(place, _)| place).collect(),
        impure: marks.as_ref().is_some_and(|m| m.impure),
        opaque: marks.as_ref().is_some_and(|m| m.opaque),
        xattr_whiteouts: marks.as_ref().is_some_and(|m| m.xattr_whiteouts),
        redirect: marks.and_then(|m| m.redirect),
        ..DirBody::default()
    }
}

fn leaf_body(found: Resolution) -> LeafBody {
    let top_is_meta = found.top().is_some_and(|top| top.marks.metacopy && top.attr.kind == FileKind::Regular);
    let has_data = |f: &Found| f.attr.kind == FileKind::Regular && !f.marks.metacopy;
    let data_missing = top_is_meta && !found.lowers.last().is_some_and(|(_, last)| has_data(last));
    let device = found.top().and_then(|top| top.marks.device);
    let in_upper = found.upper.is_some();
    let metacopy = found.upper.as_ref().filter(|_| top_is_meta);
    let redirect = metacopy.and_then(|upper| upper.marks.redirect.clone());
    let several_names = found.lowers.first().is_some_and(|(_, lower)| lower.attr.nlink > 1);
    let mut lowers = found.lowers.into_iter();
    let first = lowers.next().map(|(place, found)| (place, found.real));
    let data = lowers.next_back().map(|(place, _)| place);
    let rare = RareBody { data_missing, device, redirect, ..RareBody::NONE };
    match (in_upper, first) {
        // The shown object is the upper's: the lowers only give the data.
        (true, Some(lower)) if top_is_meta || found.index.is_some() => {
            LeafBody { lower: Some(lower), several_names, rare: RareBody { data, ..rare }.kept() }
        }
        (true, _) => LeafBody { lower: None, several_names: false, rare: rare.kept() },
        (false, lower) => LeafBody { lower, several_names, rare: RareBody { data, ..rare }.kept() },
    }
}
