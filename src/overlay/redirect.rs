//! Redirects: where the lowers have what was moved or linked elsewhere (rules R2, R3, C5).

use super::Overlay;
use super::error::{Error, Result};
use super::node::{Node, NodeState};
use crate::semantics::change::{MoveMark, Moved, mark_to_move};
use crate::semantics::lookup::redirect_path;
use crate::semantics::names::Mark;
use crate::types::Ino;
use parking_lot::RwLockWriteGuard;
use std::sync::Arc;

/// The rename lock, held alone: the way from a node to the root stays as it is.
pub(super) type Alone<'a> = RwLockWriteGuard<'a, ()>;

impl Overlay {
    /// The redirect that a node needs to be found at another name.
    pub(super) fn redirect_if_moved(&self, node: &Arc<Node>, alone: &Alone<'_>) -> Result<Option<Vec<u8>>> {
        // Let go before the path is walked: a lock taken twice waits for a writer in between.
        let mark = mark_to_move(moved(&node.state.read()), false);
        match mark {
            MoveMark::Redirect => self.lower_path(node, alone)?.ok_or(Error::NotFound).map(Some),
            MoveMark::None | MoveMark::Opaque => Ok(None),
        }
    }

    /// The path from the layers' roots at which the lowers have a node: each ancestor's redirect
    /// where it has one, else its name. `None` if it has neither, since all its known names were removed.
    fn lower_path(&self, node: &Arc<Node>, _alone: &Alone<'_>) -> Result<Option<Vec<u8>>> {
        let mut path = Vec::new();
        let mut at = node.clone();
        while at.ino != Ino::ROOT {
            let (part, parent) = {
                let state = at.state.read();
                let link = state.links.first();
                let redirect = match state.dir() {
                    Some(dir) => dir.redirect.clone(),
                    None => state.leaf().and_then(|leaf| leaf.rare().redirect.clone()),
                };
                // What it stands for is not known, and must not become what another path names.
                if redirect.as_deref().is_some_and(|mark| redirect_path(mark).is_none()) {
                    return Err(Error::BadRedirect);
                }
                let part = redirect.or_else(|| link.map(|link| (*link.name).into()));
                (part, link.map(|link| link.parent.clone()))
            };
            let Some(part) = part else {
                return Ok(None);
            };
            let absolute = part.first() == Some(&b'/');
            let prefix = if absolute { part.to_vec() } else { [b"/", &*part].concat() };
            path.splice(0..0, prefix);
            match parent {
                _ if absolute => break,
                Some(parent) => at = parent,
                None => return Ok(None),
            }
        }
        Ok(Some(path))
    }

    /// Writes the redirect that a leaf needs before it is linked elsewhere. False if no path is known
    /// that it could have.
    pub(super) fn mark_redirect(&self, node: &Arc<Node>) -> Result<bool> {
        let Some(path) = self.lower_path(node, &self.renaming.write())? else {
            return Ok(false);
        };
        self.with_upper(node, |object, _| Ok(self.upper()?.mark(object, Mark::Redirect, &path)?))?;
        if let Some(leaf) = node.state.write().leaf_mut() {
            leaf.rare_mut().redirect = Some(path.into());
        }
        Ok(true)
    }
}

/// What an object is to [`mark_to_move`].
pub(super) fn moved(state: &NodeState) -> Moved {
    match (state.dir(), &state.upper) {
        (Some(dir), _) if dir.lowers.is_empty() => Moved::PureDirectory,
        (Some(_), _) => Moved::MergedDirectory,
        (None, Some(upper)) if upper.metacopy => Moved::Metacopy,
        (None, _) => Moved::Other,
    }
}
