//! Forgetting what is known of the lowers, which somebody changed: rule M17.
//!
//! 1. *Listings and descriptors are kept for ever.* They go at once.
//! 2. *A node says where its lowers are.* That is found out anew by the next lookup of its name, which
//!    compares the node's `generation` with the overlay's; the root, which is never looked up, at once.
//! 3. *The kernel has names, attributes and pages.* [`Overlay::forget_lowers`] answers what it may have,
//!    for the face to tell it.

use super::Overlay;
use super::node::{Body, NodeState, RareBody};
use crate::types::Ino;
use std::sync::atomic::Ordering;

/// An object that the kernel knows, with the names that are known of it.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its number.
    pub ino: Ino,
    /// Its names, each with the number of its directory.
    pub names: Vec<(Ino, Vec<u8>)>,
}

impl Overlay {
    /// Forgets all that was read of the lowers; answers what the kernel may know.
    pub fn forget_lowers(&self) -> Vec<Known> {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.pool.forget_lowers();
        let (lowers, described_by) = self.root_places();
        let mut known = Vec::new();
        for node in self.nodes.all() {
            let mut state = node.state.write();
            if let Some(dir) = state.dir_mut() {
                dir.listing = None;
                if node.ino == Ino::ROOT && !dir.opaque {
                    (dir.lowers, dir.described_by) = (lowers.as_slice().into(), described_by);
                }
            }
            let names = state.links.iter().map(|link| (link.parent.ino, link.name.to_vec()));
            known.push(Known { ino: node.ino, names: names.collect() });
        }
        known
    }
}

/// Takes the lower parts of a node from what was just found, if its upper part is the same.
pub(super) fn renew(state: &mut NodeState, found: NodeState) {
    let same_upper = match (&state.upper, &found.upper) {
        (None, None) => true,
        (Some(one), Some(other)) => one.real == other.real,
        _ => false,
    };
    if !same_upper || state.removed {
        return;
    }
    match (&mut state.body, found.body) {
        (Body::Dir(dir), Body::Dir(new)) => {
            (dir.lowers, dir.described_by, dir.listing) = (new.lowers, new.described_by, None);
            dir.misled = new.misled;
        }
        (Body::Leaf(leaf), Body::Leaf(new)) => {
            let RareBody { redirect, hidden_names, device, .. } =
                leaf.rare.take().map_or(RareBody::NONE, |rare| *rare);
            let RareBody { data, data_missing, .. } = new.rare.map_or(RareBody::NONE, |rare| *rare);
            (leaf.lower, leaf.several_names) = (new.lower, new.several_names);
            leaf.rare = RareBody { data, redirect, hidden_names, data_missing, device }.kept();
        }
        _ => {}
    }
}
