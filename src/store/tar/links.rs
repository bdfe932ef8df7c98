//! Hard links whose target is a later entry.

use super::tree::{PENDING, PendingLink, Target, Tree};
use super::{Problem, TarError};
use hashbrown::HashMap;

impl Tree {
    /// Gives each hard link that came before its target the inode that the target has in the end.
    pub(super) fn settle_links(&mut self) -> Result<(), TarError> {
        let pending = std::mem::take(&mut self.pending);
        let by_node: HashMap<u32, usize> = pending.iter().enumerate().map(|(n, p)| (p.node, n)).collect();
        for link in &pending {
            if self.is_settled(link) {
                continue;
            }
            let fail = |problem| TarError { entry: Some(link.entry.as_slice().into()), at: link.at, problem };
            let mut chain = vec![link.node];
            let mut target = &link.target;
            let inode = loop {
                match self.node_of(target).map_err(fail)? {
                    Target::Inode(inode) => break inode,
                    Target::Missing => return Err(fail(Problem::LinkMissing(link.target.as_slice().into()))),
                    Target::Node(node) if self.is_dir(node) => {
                        return Err(fail(Problem::LinkToDirectory(link.target.as_slice().into())));
                    }
                    Target::Node(node) => match self.nodes[node as usize].inode {
                        // A chain longer than all links leads round.
                        PENDING if chain.len() <= pending.len() => {
                            chain.push(node);
                            let next = by_node.get(&node).and_then(|n| pending.get(*n));
                            let next = next
                                .ok_or_else(|| fail(Problem::LinkMissing(link.target.as_slice().into())))?;
                            target = &next.target;
                        }
                        PENDING => return Err(fail(Problem::LinkLoop(link.target.as_slice().into()))),
                        inode => break inode,
                    },
                }
            };
            for node in chain {
                self.nodes[node as usize].inode = inode;
            }
        }
        Ok(())
    }

    /// Whether a link has its inode, or is not part of the tree any more.
    fn is_settled(&self, link: &PendingLink) -> bool {
        let mut at = link.node;
        // The root is its own parent.
        while at != self.nodes[at as usize].parent {
            if self.nodes[at as usize].replaced {
                return true;
            }
            at = self.nodes[at as usize].parent;
        }
        self.nodes[link.node as usize].inode != PENDING
    }
}
