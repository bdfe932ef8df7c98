//! Searching as `find` does it.

use super::error::{InsideError, Result};
use super::node::{Child, Node};
use super::text::NameStyle;
use super::tree::{LastLink, Tree};
use super::walk::{Flow, Visit, walk};
use crate::types::{FileKind, Timestamp};
use globset::{GlobBuilder, GlobMatcher};
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One test: all of them must hold.
#[derive(Clone, Debug)]
pub enum Test {
    /// `-name`, `-iname`: the last component.
    Name(GlobMatcher),
    /// `-path`: the whole path as it is printed.
    Path(GlobMatcher),
    /// `-type`.
    Kinds(Vec<KindTest>),
    /// `-size`.
    Size(SizeTest),
    /// `-perm`.
    Perm(PermTest),
    /// `-newer`: modified after this time.
    Newer(Timestamp),
    /// `-user`, as a number.
    User(u32),
    /// `-group`, as a number.
    Group(u32),
    /// `-links`, `-empty` and their like need no more than this: a file of no bytes.
    EmptyFile,
}

/// One kind that `-type` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindTest {
    /// This kind of object.
    Is(FileKind),
    /// A whiteout, of a layer alone.
    Whiteout,
}

/// A number with the sign that `find` gives meaning to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeTest {
    order: Ordering,
    units: u64,
    unit: u64,
}

/// Permission bits with the sign that `find` gives meaning to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermTest {
    /// Just these.
    Exactly(u32),
    /// `-`: all of these.
    All(u32),
    /// `/`: any of these.
    Any(u32),
}

/// What `find` was asked for.
#[derive(Clone, Debug, Default)]
pub struct FindOptions {
    /// All must hold.
    pub tests: Vec<Test>,
    /// `-mindepth`.
    pub min_depth: usize,
    /// `-maxdepth`.
    pub max_depth: Option<usize>,
    /// `-print0`: NUL after each path instead of a newline.
    pub nul: bool,
    /// How names are printed.
    pub names: NameStyle,
}

fn bad(test: &str, why: impl Into<String>) -> InsideError {
    InsideError::BadTest { test: test.to_owned(), why: why.into() }
}

/// A pattern of `-name` or `-path`: `*`, `?` and `[…]` match dots and slashes too.
pub fn pattern(glob: &str, ignore_case: bool) -> Result<GlobMatcher> {
    let built = GlobBuilder::new(glob).case_insensitive(ignore_case).literal_separator(false).build();
    built.map(|glob| glob.compile_matcher()).map_err(|e| bad(glob, e.kind().to_string()))
}

/// The letters of `-type`: `f d l c b p s`, and `w` for whiteouts, separated by commas or not.
pub fn kinds(letters: &str) -> Result<Vec<KindTest>> {
    let mut kinds = Vec::new();
    for letter in letters.chars().filter(|c| *c != ',') {
        kinds.push(match letter {
            'f' => KindTest::Is(FileKind::Regular),
            'd' => KindTest::Is(FileKind::Directory),
            'l' => KindTest::Is(FileKind::Symlink),
            'c' => KindTest::Is(FileKind::CharDevice),
            'b' => KindTest::Is(FileKind::BlockDevice),
            'p' => KindTest::Is(FileKind::Fifo),
            's' => KindTest::Is(FileKind::Socket),
            'w' => KindTest::Whiteout,
            _ => return Err(bad(letters, "a type is one of f, d, l, c, b, p, s, w")),
        });
    }
    match kinds.is_empty() {
        true => Err(bad(letters, "a type is one of f, d, l, c, b, p, s, w")),
        false => Ok(kinds),
    }
}

impl std::str::FromStr for SizeTest {
    type Err = InsideError;

    /// `[+-]N[bcwkMG]`: more, less or just N units, parts of a unit counted whole; without a letter
    /// in blocks of 512 bytes.
    fn from_str(text: &str) -> Result<Self> {
        let (order, rest) = match text.as_bytes().first() {
            Some(b'+') => (Ordering::Greater, &text[1..]),
            Some(b'-') => (Ordering::Less, &text[1..]),
            _ => (Ordering::Equal, text),
        };
        let digits = rest.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match &rest[digits.len()..] {
            "" | "b" => 512,
            "c" => 1,
            "w" => 2,
            "k" => 1 << 10,
            "M" => 1 << 20,
            "G" => 1 << 30,
            _ => return Err(bad(text, "a size is [+-]N with c, w, b, k, M or G after it")),
        };
        let units =
            digits.parse().map_err(|_| bad(text, "a size is [+-]N with c, w, b, k, M or G after it"))?;
        Ok(SizeTest { order, units, unit })
    }
}

impl std::str::FromStr for PermTest {
    type Err = InsideError;

    /// `MODE`, `-MODE` or `/MODE`, in octal.
    fn from_str(text: &str) -> Result<Self> {
        let (make, rest): (fn(u32) -> PermTest, _) = match text.as_bytes().first() {
            Some(b'-') => (PermTest::All, &text[1..]),
            Some(b'/') => (PermTest::Any, &text[1..]),
            _ => (PermTest::Exactly, text),
        };
        let mode = u32::from_str_radix(rest, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.map(make).ok_or_else(|| bad(text, "a mode is octal, up to 7777, with - or / before it or not"))
    }
}

impl SizeTest {
    fn holds(self, size: u64) -> bool {
        size.div_ceil(self.unit).cmp(&self.units) == self.order
    }
}

impl PermTest {
    fn holds(self, mode: u32) -> bool {
        match self {
            PermTest::Exactly(bits) => mode == bits,
            PermTest::All(bits) => mode & bits == bits,
            PermTest::Any(bits) => bits == 0 || mode & bits != 0,
        }
    }
}

impl Test {
    fn holds(&self, shown: &[u8], name: &[u8], child: &Child) -> bool {
        let node = child.node();
        let attr =
            |holds: &dyn Fn(&crate::types::Attr) -> bool| node.map(Node::attr).as_ref().is_some_and(holds);
        match self {
            Test::Name(glob) => glob.is_match(Path::new(OsStr::from_bytes(name))),
            Test::Path(glob) => glob.is_match(Path::new(OsStr::from_bytes(shown))),
            Test::Kinds(kinds) => kinds.contains(&match node {
                Some(node) => KindTest::Is(node.kind()),
                None => KindTest::Whiteout,
            }),
            Test::Size(size) => attr(&|a| size.holds(a.size)),
            Test::Perm(perm) => attr(&|a| perm.holds(a.mode)),
            Test::Newer(than) => attr(&|a| a.mtime > *than),
            Test::User(uid) => attr(&|a| a.uid == *uid),
            Test::Group(gid) => attr(&|a| a.gid == *gid),
            Test::EmptyFile => attr(&|a| a.kind == FileKind::Regular && a.size == 0),
        }
    }
}

/// Prints the paths below each start for which all tests hold, the start as it was given.
pub fn find(tree: &Tree<'_>, starts: &[&[u8]], options: &FindOptions, out: &mut dyn Write) -> Result<()> {
    for start in starts {
        // A symlink that is named is not followed, as find does it; a trailing slash follows it.
        let found = tree.resolve(start, LastLink::Keep)?;
        let cut = found.path.len();
        walk(tree, &found, &mut |visit: &Visit<'_>| -> Result<Flow> {
            if visit.leaving {
                return Ok(Flow::Pass);
            }
            let shown = shown_path(start, &visit.path[cut..]);
            let name = match visit.depth {
                0 => last_name(start),
                _ => visit.name,
            };
            let deep = visit.depth >= options.min_depth;
            if deep && options.tests.iter().all(|test| test.holds(&shown, name, visit.child)) {
                out.write_all(&options.names.apply(&shown))?;
                out.write_all(if options.nul { b"\0" } else { b"\n" })?;
            }
            Ok(match options.max_depth.is_none_or(|most| visit.depth < most) {
                true => Flow::Enter,
                false => Flow::Pass,
            })
        })?;
    }
    Ok(())
}

/// The start as given, and what is below it.
fn shown_path(start: &[u8], rest: &[u8]) -> Vec<u8> {
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    match rest {
        b"" => start.to_vec(),
        _ if start.is_empty() => rest.to_vec(),
        _ => super::tree::join(start, rest),
    }
}

/// The last component of a start, without slashes; of the root the slash.
fn last_name(start: &[u8]) -> &[u8] {
    let end = start.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
    match super::walk::name_of(&start[..end]) {
        b"" => b"/",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_begun_units_whole() {
        let holds = |test: &str, size| test.parse::<SizeTest>().unwrap().holds(size);
        assert!(holds("1k", 1) && holds("1k", 1024) && !holds("1k", 1025));
        assert!(holds("+1k", 1025) && !holds("+1k", 1024));
        assert!(holds("-1k", 0) && !holds("-1k", 1));
        assert!(holds("2", 513) && holds("3c", 3) && holds("-1G", 0));
        for wrong in ["", "k", "1x", "1kk", "+-1"] {
            assert!(wrong.parse::<SizeTest>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn modes_match_just_all_or_any() {
        let holds = |test: &str, mode| test.parse::<PermTest>().unwrap().holds(mode);
        assert!(holds("644", 0o644) && !holds("644", 0o4644));
        assert!(holds("-4000", 0o4755) && !holds("-6000", 0o4755));
        assert!(holds("/6000", 0o4755) && !holds("/022", 0o755) && holds("/0", 0));
        assert!("9".parse::<PermTest>().is_err() && "10000".parse::<PermTest>().is_err());
    }

    #[test]
    fn patterns_match_whole_names_of_any_bytes() {
        let holds = |glob: &str, name: &[u8]| {
            pattern(glob, false).unwrap().is_match(Path::new(OsStr::from_bytes(name)))
        };
        assert!(holds("*.so*", b"libc.so.6") && holds("*", b".hidden") && holds("a?c", b"a\xffc"));
        assert!(!holds("so", b"x.so") && holds("[ab]*", b"bc"));
        assert!(pattern("[", false).is_err());
    }
}
