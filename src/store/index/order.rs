//! The order of the rows.

use crate::store::tar::{ROOT, Tree, WHITEOUT};

/// The nodes in the order of their rows: breadth first, the children of each directory by name, so
/// that they are next to each other and sorted.
pub(super) struct Order {
    pub(super) nodes: Vec<u32>,
    /// Row of the parent, first child and number of children, by row.
    pub(super) places: Vec<Place>,
}

/// Where a row is in the tree of rows.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) parent: u32,
    pub(super) first: u32,
    pub(super) count: u32,
}

impl Order {
    /// Puts the nodes in order.
    pub(super) fn of(tree: &mut Tree) -> Self {
        let sorted = Order::living(tree);
        let mut nodes = vec![ROOT];
        let mut places = vec![Place::default()];
        let mut row = 0;
        while row < nodes.len() {
            let node = nodes[row];
            if tree.is_dir(node) {
                let from = sorted.partition_point(|n| tree.nodes[*n as usize].parent < node);
                let children = sorted[from..].iter().take_while(|n| tree.nodes[**n as usize].parent == node);
                // The tree has fewer nodes than numbers.
                let first = nodes.len() as u32;
                nodes.extend(children);
                let count = nodes.len() as u32 - first;
                places[row].first = if count > 0 { first } else { 0 };
                places[row].count = count;
                places.resize(nodes.len(), Place { parent: row as u32, ..Place::default() });
            }
            row += 1;
        }
        Order { nodes, places }
    }

    /// The nodes that are part of the layer, by parent and name; without the root. A whiteout beside
    /// a name of the layer only says that the name hides what is below it.
    fn living(tree: &mut Tree) -> Vec<u32> {
        let mut alive = vec![false; tree.nodes.len()];
        alive[ROOT as usize] = true;
        let mut living = Vec::new();
        // A parent is made before its children.
        for at in 1..tree.nodes.len() {
            let (node, number) = (tree.nodes[at], at as u32);
            alive[at] = !node.replaced && alive[node.parent as usize];
            if !alive[at] {
                continue;
            }
            let beside = match node.inode {
                WHITEOUT => tree.child(node.parent, tree.name(number), false),
                _ => None,
            };
            match beside {
                None => living.push(number),
                Some(same) if tree.is_dir(same) => tree.nodes[same as usize].opaque = true,
                Some(_) => {}
            }
        }
        living.sort_unstable_by(|a, b| {
            let parent = |n: u32| tree.nodes[n as usize].parent;
            parent(*a).cmp(&parent(*b)).then_with(|| tree.name(*a).cmp(tree.name(*b)))
        });
        living
    }

    /// How many names lead to each inode.
    pub(super) fn count_links(&self, tree: &Tree) -> Vec<u32> {
        let mut counts = vec![0; tree.inodes.len()];
        for node in &self.nodes {
            if let Some(count) = counts.get_mut(tree.nodes[*node as usize].inode as usize) {
                *count += 1;
            }
        }
        counts
    }
}
