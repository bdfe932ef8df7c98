//! How the listings of a merged directory merge: rules U1 to U4, U10.

/// What one layer's listing says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// A whiteout.
    Whiteout,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// What the layers listed so far, top down, make of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergedName {
    /// What the topmost layer that has the name says.
    pub top: Listed,
    /// Whether a layer below the topmost one shows the name, were the topmost not there.
    pub below: bool,
    /// Layers further down no longer matter.
    closed: bool,
}

impl MergedName {
    /// The first layer that has the name.
    pub fn new(top: Listed) -> Self {
        MergedName { top, below: false, closed: false }
    }

    /// A further layer that has the name. Answers whether it is one more part of a merged directory.
    pub fn add(&mut self, listed: Listed) -> bool {
        if self.closed {
            return false;
        }
        match (self.top, listed) {
            (Listed::Directory, Listed::Directory) => {
                self.below = true;
                true
            }
            (_, Listed::Whiteout) => {
                self.closed = true;
                false
            }
            _ => {
                self.below = true;
                self.closed = true;
                false
            }
        }
    }

    /// Whether the mount shows the name.
    pub fn visible(&self) -> bool {
        self.top != Listed::Whiteout
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::lookup::{Class, Search, Step};

    #[test]
    fn u10_a_listing_says_of_each_name_what_a_lookup_finds() {
        let all = [None, Some(Listed::Whiteout), Some(Listed::Directory), Some(Listed::Other)];
        for a in all {
            for b in all {
                for c in all {
                    let stack = [a, b, c];
                    let (found, parts) = by_lookup(&stack);
                    let (visible, merged) = by_listing(&stack);
                    assert_eq!((visible, merged), (found, parts), "{stack:?}");
                }
            }
        }
    }

    fn by_lookup(stack: &[Option<Listed>]) -> (bool, Vec<usize>) {
        let mut search = Search::new(b"n");
        let mut kept = Vec::new();
        for (at, listed) in stack.iter().enumerate() {
            let class = match listed {
                None => Class::Absent,
                Some(Listed::Whiteout) => Class::Whiteout,
                Some(Listed::Directory) => Class::Directory { opaque: false, redirect: None },
                Some(Listed::Other) => Class::Other { metacopy: false, redirect: None },
            };
            if !search.ended() && search.component(0, class) == Step::Keep {
                kept.push(at);
            }
        }
        (!kept.is_empty(), kept)
    }

    fn by_listing(stack: &[Option<Listed>]) -> (bool, Vec<usize>) {
        let mut name: Option<MergedName> = None;
        let mut parts = Vec::new();
        for (at, listed) in stack.iter().enumerate().filter_map(|(at, l)| l.map(|l| (at, l))) {
            match &mut name {
                None => {
                    name = Some(MergedName::new(listed));
                    if listed != Listed::Whiteout {
                        parts.push(at);
                    }
                }
                Some(merged) => {
                    if merged.add(listed) {
                        parts.push(at);
                    }
                }
            }
        }
        (name.is_some_and(|n| n.visible()), parts)
    }

    #[test]
    fn d2_what_is_below_the_top_is_known() {
        let below = |stack: &[Listed]| {
            let mut name = MergedName::new(stack[0]);
            for listed in &stack[1..] {
                name.add(*listed);
            }
            name.below
        };
        use Listed::{Directory as D, Other as F, Whiteout as W};
        assert!(!below(&[F]));
        assert!(below(&[F, F]));
        assert!(below(&[F, D]));
        assert!(below(&[D, F]));
        assert!(below(&[W, F]));
        assert!(!below(&[F, W, F]));
        assert!(!below(&[D, W, D]));
        assert!(below(&[D, D, W]));
    }
}
