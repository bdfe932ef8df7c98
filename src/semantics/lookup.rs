//! What a name resolves to: rules U1 to U5, U11, U12.
//!
//! A [`Search`] asks the layers top down. It knows which path to ask next ([`Search::path`]), is
//! told what stands there ([`Search::component`]), and says when the layers below no longer matter
//! ([`Search::ended`]).

/// Where the path of a search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the layers' own parts of the parent directory; the path is one name.
    Parent,
    /// At the layers' roots.
    Root,
}

/// What a layer says of one component of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class<'a> {
    /// Nothing.
    Absent,
    /// A whiteout.
    Whiteout,
    /// A directory with its marks.
    Directory {
        /// It hides the layers below.
        opaque: bool,
        /// Where the layers below continue.
        redirect: Option<&'a [u8]>,
    },
    /// Anything else with its marks.
    Other {
        /// Its data is in a layer below.
        metacopy: bool,
        /// Where the layers below continue.
        redirect: Option<&'a [u8]>,
    },
}

/// What to do with a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Go into it and ask for the next component.
    Descend,
    /// It is a finding: part of the result.
    Keep,
    /// This layer gives nothing.
    Skip,
}

/// What the findings so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holding {
    Nothing,
    Directories,
    Metacopy,
}

/// A search for one name through the layers.
#[derive(Clone, Debug)]
pub struct Search {
    scope: Scope,
    path: Vec<Box<[u8]>>,
    holding: Holding,
    ended: bool,
    redirected: bool,
    misled: bool,
}

impl Search {
    /// Begins a search for `name` in the parent directory.
    pub fn new(name: &[u8]) -> Self {
        Search {
            scope: Scope::Parent,
            path: vec![name.into()],
            holding: Holding::Nothing,
            ended: false,
            redirected: false,
            misled: false,
        }
    }

    /// Where the path begins.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The components to ask the next layer for.
    pub fn path(&self) -> &[Box<[u8]>] {
        &self.path
    }

    /// Whether only layers whose listing has the name can add to the result: not after a redirect,
    /// and not for the data of a metacopied file, since listings stop at files.
    pub fn follows_listing(&self) -> bool {
        !self.redirected && self.holding != Holding::Metacopy
    }

    /// Whether the layers below no longer matter.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether it ended at a redirect mark that is no path: what is below is not known.
    pub fn misled(&self) -> bool {
        self.misled
    }

    /// Tells what the layer has at a component, `rest` components before the last.
    pub fn component(&mut self, rest: usize, class: Class<'_>) -> Step {
        match class {
            Class::Absent => Step::Skip,
            Class::Whiteout => {
                self.ended = true;
                Step::Skip
            }
            Class::Directory { opaque, redirect } => {
                if rest == 0 && self.holding == Holding::Metacopy {
                    self.ended = true;
                    return Step::Skip;
                }
                self.continue_below(rest, opaque, redirect);
                if rest > 0 {
                    return if self.misled { Step::Skip } else { Step::Descend };
                }
                self.holding = Holding::Directories;
                Step::Keep
            }
            Class::Other { metacopy, redirect } => {
                if rest > 0 || self.holding == Holding::Directories {
                    self.ended = true;
                    return Step::Skip;
                }
                self.continue_below(0, !metacopy, redirect);
                self.holding = Holding::Metacopy;
                Step::Keep
            }
        }
    }

    fn continue_below(&mut self, rest: usize, end: bool, redirect: Option<&[u8]>) {
        match redirect {
            _ if end => self.ended = true,
            None => {}
            Some(redirect) => {
                self.misled = self.follow(rest, redirect).is_none();
                self.ended |= self.misled;
            }
        }
    }

    /// Goes on at a redirect's path; `None` if it is none.
    fn follow(&mut self, rest: usize, redirect: &[u8]) -> Option<()> {
        let (scope, path) = redirect_path(redirect)?;
        let at = self.path.len() - 1 - rest;
        self.redirected = true;
        match scope {
            Scope::Parent => drop(self.path.splice(at..=at, path)),
            Scope::Root => {
                self.path.splice(..=at, path);
                self.scope = Scope::Root;
                // An opaque directory on the way hides what is below it, but not what this names.
                self.ended = false;
            }
        }
        Some(())
    }
}

/// Where a redirect mark leads: to another name in the same directory, or to a path from the layers'
/// roots. `None` if it is neither.
pub fn redirect_path(mark: &[u8]) -> Option<(Scope, Vec<Box<[u8]>>)> {
    let component = |name: &[u8]| {
        let valid = !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0);
        valid.then(|| Box::from(name))
    };
    match mark.strip_prefix(b"/") {
        None => Some((Scope::Parent, vec![component(mark)?])),
        Some(path) => Some((Scope::Root, path.split(|b| *b == b'/').map(component).collect::<Option<_>>()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: Class<'_> = Class::Directory { opaque: false, redirect: None };
    const FILE: Class<'_> = Class::Other { metacopy: false, redirect: None };
    const META: Class<'_> = Class::Other { metacopy: true, redirect: None };
    const OPAQUE: Class<'_> = Class::Directory { opaque: true, redirect: None };

    fn run(layers: &[Class<'_>]) -> Vec<usize> {
        let mut search = Search::new(b"n");
        let mut kept = Vec::new();
        for (at, class) in layers.iter().enumerate() {
            if search.ended() {
                break;
            }
            if search.component(0, *class) == Step::Keep {
                kept.push(at);
            }
        }
        kept
    }

    #[test]
    fn u1_to_u5_every_stack_of_three_resolves_as_the_rules_say() {
        let classes = [Class::Absent, Class::Whiteout, DIR, OPAQUE, FILE, META];
        for a in classes {
            for b in classes {
                for c in classes {
                    assert_eq!(run(&[a, b, c]), by_the_book(&[a, b, c]), "{a:?} over {b:?} over {c:?}");
                }
            }
        }
    }

    /// The rules once more, as naively as they can be written.
    fn by_the_book(layers: &[Class<'_>]) -> Vec<usize> {
        let visible: Vec<_> = layers.iter().enumerate().filter(|(_, c)| **c != Class::Absent).collect();
        let Some((first, class)) = visible.first() else {
            return Vec::new();
        };
        let mut kept = match class {
            Class::Whiteout => return Vec::new(),
            _ => vec![*first],
        };
        if **class == OPAQUE || **class == FILE {
            return kept;
        }
        for (at, below) in &visible[1..] {
            match (**class, **below) {
                (c, OPAQUE) if c == DIR => {
                    kept.push(*at);
                    break;
                }
                (c, b) if c == DIR && b == DIR => kept.push(*at),
                (c, b) if c == META && b == META => kept.push(*at),
                (c, b) if c == META && b == FILE => {
                    kept.push(*at);
                    break;
                }
                _ => break,
            }
        }
        kept
    }

    #[test]
    fn u11_a_relative_redirect_changes_the_name_below() {
        let mut search = Search::new(b"new");
        let moved = Class::Directory { opaque: false, redirect: Some(b"old") };
        assert_eq!(search.component(0, moved), Step::Keep);
        assert_eq!((search.scope(), search.path()), (Scope::Parent, &[Box::from(&b"old"[..])][..]));
    }

    #[test]
    fn u11_an_absolute_redirect_starts_at_the_roots() {
        let mut search = Search::new(b"new");
        let moved = Class::Directory { opaque: false, redirect: Some(b"/a/b") };
        assert_eq!(search.component(0, moved), Step::Keep);
        assert_eq!((search.scope(), search.path().len()), (Scope::Root, 2));
        assert_eq!(search.component(1, DIR), Step::Descend);
        assert_eq!(search.component(0, DIR), Step::Keep);
    }

    #[test]
    fn u11_a_redirect_on_the_way_moves_the_rest_with_it() {
        let mut search = Search::new(b"n");
        search.component(0, Class::Directory { opaque: false, redirect: Some(b"/a/b/c") });
        search.component(1, Class::Directory { opaque: false, redirect: Some(b"/x") });
        let path: Vec<_> = search.path().iter().map(|p| &p[..]).collect();
        assert_eq!(path, [&b"x"[..], b"c"]);
        search.component(1, Class::Directory { opaque: false, redirect: Some(b"y") });
        assert_eq!(&*search.path()[0], b"y");
    }

    #[test]
    fn u11_an_opaque_directory_on_the_way_ends_the_search_below_it() {
        let mut search = Search::new(b"n");
        search.component(0, Class::Directory { opaque: false, redirect: Some(b"/a/b") });
        assert_eq!(search.component(1, OPAQUE), Step::Descend);
        assert_eq!(search.component(0, DIR), Step::Keep);
        assert!(search.ended());
    }

    #[test]
    fn u11_an_absolute_redirect_below_an_opaque_directory_goes_on() {
        let mut search = Search::new(b"n");
        search.component(0, Class::Directory { opaque: false, redirect: Some(b"/a/b") });
        assert_eq!(search.component(1, OPAQUE), Step::Descend);
        let moved = Class::Directory { opaque: false, redirect: Some(b"/c") };
        assert_eq!(search.component(0, moved), Step::Keep);
        assert!(!search.ended());
    }

    #[test]
    fn u11_u12_redirects_that_leave_the_layer_lead_nowhere() {
        for bad in [&b""[..], b"..", ".".as_bytes(), b"a/b", b"/", b"/a/../b", b"/a//b", b"/a/"] {
            let directory = Class::Directory { opaque: false, redirect: Some(bad) };
            for class in [directory, Class::Other { metacopy: true, redirect: Some(bad) }] {
                let mut search = Search::new(b"n");
                assert_eq!(search.component(0, class), Step::Keep, "{bad:?}");
                assert!(search.ended() && search.misled(), "{bad:?}");
            }
            // On the way to what another redirect names.
            let mut search = Search::new(b"n");
            search.component(0, Class::Directory { opaque: false, redirect: Some(b"/a/b") });
            assert!(!search.misled());
            assert_eq!(search.component(1, directory), Step::Skip, "{bad:?}");
            assert!(search.ended() && search.misled(), "{bad:?}");
        }
    }
}
