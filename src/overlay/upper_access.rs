//! Reaching upper objects: by their directory's descriptor and their name, or by their anchor.

use super::Overlay;
use super::error::{Error, Result};
use super::node::{DirBody, Node, NodeState, UpperPart};
use crate::layer::{FdKey, Finding, Upper};
use crate::sys::{AsFd, OwnedFd, Ref, open_dir_path};
use parking_lot::RwLockReadGuard;
use std::sync::Arc;

/// A descriptor of an upper directory, borrowed for one operation.
pub(super) type DirFd = Arc<OwnedFd>;

impl Overlay {
    /// The upper layer; EROFS without one.
    pub(super) fn upper(&self) -> Result<&Upper> {
        self.stack.upper.as_ref().ok_or(Error::ReadOnly)
    }

    /// What the root has in the upper; also fills what its marks say.
    pub(super) fn root_upper_part(&self, upper: &Upper, dir: &mut DirBody) -> Option<UpperPart> {
        let found = match upper.find(Ref::Fd(upper.root()), false) {
            Ok(Finding::Found(found)) => found,
            Ok(_) => return None,
            Err(e) => {
                log::error!("upperdir: {e}");
                return None;
            }
        };
        if found.marks.opaque {
            dir.lowers.clear();
        }
        dir.impure = found.marks.impure;
        dir.opaque = found.marks.opaque;
        dir.xattr_whiteouts = found.marks.xattr_whiteouts;
        Some(UpperPart { real: found.real, metacopy: false, index: None })
    }

    /// A descriptor of the upper part of a directory, which must have one.
    pub(super) fn upper_dir(&self, node: &Arc<Node>) -> Result<DirFd> {
        if let Some(fd) = self.pool.peek(FdKey::UpperDir(node.ino)) {
            return Ok(fd);
        }
        let walking = self.renaming.read();
        self.walk_upper_dir(node, &walking)
    }

    /// The same, opening from the nearest ancestor that is open. The guard keeps the way as it is.
    fn walk_upper_dir(&self, node: &Arc<Node>, _walking: &RwLockReadGuard<'_, ()>) -> Result<DirFd> {
        if let Some(fd) = self.pool.peek(FdKey::UpperDir(node.ino)) {
            return Ok(fd);
        }
        let link = {
            let state = node.state.read();
            if let Some(anchor) = &state.anchor {
                return Ok(anchor.clone());
            }
            state.links.first().cloned()
        };
        let open = match link {
            Some(link) => {
                let parent = self.walk_upper_dir(&link.parent, _walking)?;
                open_dir_path(parent.as_fd(), &link.name, true)
            }
            None => open_dir_path(self.upper()?.root(), b".", true),
        };
        let fd = Arc::new(open?);
        self.pool.put(FdKey::UpperDir(node.ino), fd.clone());
        Ok(fd)
    }

    /// The same, or `None` if the directory has no upper part.
    pub(super) fn upper_dir_if_any(&self, node: &Arc<Node>) -> Result<Option<DirFd>> {
        let has = node.state.read().upper.is_some();
        if has { self.upper_dir(node).map(Some) } else { Ok(None) }
    }

    /// Runs `body` on the upper object of a node, which must have one. The node's state is held
    /// shared meanwhile, so that the name cannot be taken by another object.
    pub(super) fn with_upper<T>(
        &self,
        node: &Arc<Node>,
        body: impl FnOnce(Ref<'_>, &NodeState) -> Result<T>,
    ) -> Result<T> {
        if node.kind.is_dir() {
            let fd = self.upper_dir(node)?;
            return body(Ref::Fd(fd.as_fd()), &node.state.read());
        }
        loop {
            let parent = {
                let state = node.state.read();
                if let Some(object) = self.nameless(&state)? {
                    return body(object, &state);
                }
                state.links.first().ok_or(Error::NotFound)?.parent.clone()
            };
            // Opened without the node's lock: walking may take the rename lock, which comes first.
            let dir = self.upper_dir(&parent)?;
            let state = node.state.read();
            match state.links.first() {
                Some(link) if Arc::ptr_eq(&link.parent, &parent) && state.anchor.is_none() => {
                    return body(Ref::At(dir.as_fd(), &link.name), &state);
                }
                // It moved meanwhile.
                _ => {}
            }
        }
    }

    /// The upper object where it does not hang on a name in the tree: an index entry or an anchor.
    fn nameless<'a>(&'a self, state: &'a NodeState) -> Result<Option<Ref<'a>>> {
        if let Some(anchor) = &state.anchor {
            return Ok(Some(Ref::Fd(anchor.as_fd())));
        }
        let entry = state.upper.as_ref().and_then(|upper| upper.index.as_ref());
        match (entry, self.upper()?.index()) {
            (Some(entry), Some(index)) => Ok(Some(Ref::At(index, &entry.name))),
            _ => Ok(None),
        }
    }
}
