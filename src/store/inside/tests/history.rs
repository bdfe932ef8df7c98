//! What changed between trees, and what each layer did.

use super::dump::{ALL, of_tree};
use super::random::{self, Rng};
use super::stack::{Layers, Marks, boxed, set_xattr};
use crate::store::inside::blame::{Deletion, blame};
use crate::store::inside::diff::{Change, DiffOptions, Field, Side, What, diff, write_change};
use crate::store::inside::du::{Wasted, du};
use crate::store::inside::hidden::{Hidden, hidden};
use crate::store::inside::{Child, Flow, InsideError, LastLink, Tree, Visit, walk};
use std::collections::{BTreeMap, BTreeSet};

fn changes(old: &Tree<'_>, new: &Tree<'_>, options: &DiffOptions) -> Vec<Change> {
    let mut all = Vec::new();
    diff(old, new, options, &mut |change| {
        all.push(change);
        Ok(())
    })
    .unwrap();
    all
}

fn printed(old: &Tree<'_>, new: &Tree<'_>, options: &DiffOptions) -> String {
    let mut out = Vec::new();
    for change in changes(old, new, options) {
        write_change(&change, options, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

/// The lines of a dump by what stands before the first space.
fn lines(dump: &str) -> BTreeMap<&str, &str> {
    dump.lines().map(|line| line.split_at(line.find(" ").unwrap_or(line.len()))).collect()
}

#[test]
fn random_trees_differ_where_their_dumps_do() {
    let tell = super::dump::Tell { links: false, ..ALL };
    for seed in 200..212 {
        let layers = random::stack(3, &mut Rng(seed), Marks::All);
        let old = Tree::new(layers.paths[1..].iter().map(|path| boxed(path)).collect());
        let new = layers.tree();
        let (before, after) = (of_tree(&old, tell), of_tree(&new, tell));
        let (before, after) = (lines(&before), lines(&after));
        let paths: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
        let differ: BTreeSet<String> =
            paths.into_iter().filter(|path| before.get(path) != after.get(path)).map(str::to_owned).collect();
        let told: BTreeSet<String> = changes(&old, &new, &DiffOptions::default())
            .iter()
            .map(|change| super::dump::path_text(&change.path))
            .collect();
        assert_eq!(differ, told, "seed {seed}");
        assert_eq!(changes(&new, &new, &DiffOptions::default()), [], "seed {seed}");
    }
}

#[test]
fn each_respect_of_a_change_is_named() {
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};
    let layers = Layers::new(2);
    let at = |layer: usize, name: &str| layers.paths[layer].join(name);
    for name in ["content", "size", "mode", "owner", "mtime", "xattr", "kind", "same"] {
        layers.put(1, name, b"data\n");
        layers.put(0, name, b"data\n");
    }
    layers.put(0, "content", b"Data\n");
    layers.put(0, "size", b"data\nmore\n");
    std::fs::set_permissions(at(0, "mode"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    lchown(at(0, "owner"), Some(5), Some(6)).unwrap();
    set_xattr(&at(0, "xattr"), "user.x", b"1");
    std::fs::remove_file(at(0, "kind")).unwrap();
    symlink("data", at(0, "kind")).unwrap();
    symlink("one", at(1, "target")).unwrap();
    symlink("two", at(0, "target")).unwrap();
    let time = |path: &std::path::Path, secs| {
        let time = rustix::fs::Timespec { tv_sec: secs, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
    };
    layers.paths.iter().flat_map(|path| random::all_paths(path)).for_each(|path| time(&path, 7));
    layers.paths.iter().for_each(|path| time(path, 7));
    time(&at(0, "mtime"), 8);
    let (old, new) = (Tree::new(vec![boxed(&layers.paths[1])]), Tree::new(vec![boxed(&layers.paths[0])]));
    assert_eq!(
        printed(&old, &new, &DiffOptions::default()),
        "C /content (content)\nC /kind (type file -> symlink, mode 0644 -> 0777)\nC /mode (mode 0644 -> 4755)\n\
         C /mtime (mtime)\nC /owner (owner 0:0 -> 5:6)\nC /size (content, size 5 -> 10)\nC /target (target)\n\
         C /xattr (xattrs user.x)\n"
    );
    let options = DiffOptions { mtimes: false, content: true, ..DiffOptions::default() };
    let text = printed(&old, &new, &options);
    let content = "C /content (content)\n--- a/content\n+++ b/content\n@@ -1 +1 @@\n-data\n+Data\n";
    assert!(text.starts_with(content), "{text}");
    let size = "--- a/size\n+++ b/size\n@@ -1 +1,2 @@\n data\n+more\n";
    assert!(text.contains(size) && !text.contains("mtime"), "{text}");
}

#[test]
fn whole_directories_are_told_path_by_path_and_binaries_are_said_so() {
    let layers = Layers::new(2);
    layers.put(0, "new/dir/x", b"text\n");
    layers.put(0, "new/bin", b"\0\x01");
    layers.put(1, "old/y", b"no end");
    let (old, new) = (Tree::new(vec![boxed(&layers.paths[1])]), Tree::new(vec![boxed(&layers.paths[0])]));
    let options = DiffOptions { content: true, mtimes: false, ..DiffOptions::default() };
    assert_eq!(
        printed(&old, &new, &options),
        "A /new\nA /new/bin\nBinary files /dev/null and b/new/bin differ\nA /new/dir\nA /new/dir/x\n\
         --- /dev/null\n+++ b/new/dir/x\n@@ -0,0 +1 @@\n+text\n\
         D /old\nD /old/y\n--- a/old/y\n+++ /dev/null\n@@ -1 +0,0 @@\n-no end\n\\ No newline at end of file\n"
    );
}

#[test]
fn a_layer_alone_differs_by_its_whiteouts() {
    let layers = Layers::new(2);
    layers.put(1, "a", b"");
    layers.whiteout(0, "a");
    layers.whiteout(0, "b");
    let options = DiffOptions { mtimes: false, ..DiffOptions::default() };
    let told = changes(&layers.alone(1), &layers.alone(0), &options);
    assert_eq!(told[1].what, What::Added(Side::Whiteout));
    let What::Changed { new, fields, .. } = &told[0].what else { panic!("{told:?}") };
    assert_eq!((new, &fields[..]), (&Side::Whiteout, &[Field::Kind][..]));
}

#[test]
fn equally_named_layers_are_not_read() {
    let (one, other) = (Layers::new(1), Layers::new(1));
    one.put(0, "x", b"data");
    std::fs::hard_link(one.paths[0].join("x"), other.paths[0].join("x")).unwrap();
    let named = |layers: &Layers, key: &str| layers.tree().named([key.as_bytes().to_vec()]);
    let options = DiffOptions { mtimes: false, ..DiffOptions::default() };
    let reads = |a: &str, b: &str| {
        let (a, b) = (named(&one, a), named(&other, b));
        // The root is told to differ by its time alone.
        crate::sys::fault::with(None, 0, || assert_eq!(changes(&a, &b, &options), [])).1
    };
    assert!(reads("k", "k") < reads("k", "l"));
}

/// Every object of every layer, and whether the merged view shows it.
fn all_objects(layers: &Layers) -> Vec<(Vec<u8>, usize, bool)> {
    let merged = layers.tree();
    let mut all = Vec::new();
    for layer in 0..layers.paths.len() {
        let alone = layers.alone(layer);
        let start = alone.resolve(b"/", LastLink::Keep).unwrap();
        walk::<InsideError>(&alone, &start, &mut |visit: &Visit<'_>| {
            if let (Child::Object(node), false, true) = (visit.child, visit.leaving, visit.depth > 0) {
                let mut at = merged.root().unwrap();
                let mut path = b"/".to_vec();
                let mut shown = true;
                for part in visit.path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
                    match at.is_dir().then(|| merged.child(&at, &path, part).unwrap()).flatten() {
                        Some(Child::Object(next)) => at = next,
                        _ => {
                            shown = false;
                            break;
                        }
                    }
                    path = super::super::tree::join(&path, part);
                }
                let ours = |layer| at.places().any(|place| place.layer == layer);
                shown = shown && ours(layer) && node.is_dir() == at.is_dir();
                all.push((visit.path.to_vec(), layer, shown));
            }
            Ok(Flow::Enter)
        })
        .unwrap();
    }
    all.sort();
    all
}

#[test]
fn random_stacks_hide_what_the_merged_view_lacks_and_blame_agrees() {
    for seed in 300..315 {
        let layers = random::stack(2 + (seed % 3) as usize, &mut Rng(seed), Marks::Plain);
        let tree = layers.tree();
        let objects = all_objects(&layers);
        let told = hidden(&tree).unwrap();
        let gone: Vec<_> = objects.iter().filter(|(.., shown)| !shown).map(|(p, l, _)| (p, *l)).collect();
        assert_eq!(told.iter().map(|h| (&h.path, h.layer)).collect::<Vec<_>>(), gone, "seed {seed}");
        for (path, layer, shown) in &objects {
            let blame = blame(&tree, path).unwrap();
            // A symlink above leads elsewhere now.
            if blame.path != *path {
                continue;
            }
            let here = &blame.layers[*layer];
            assert!(here.has.is_some(), "seed {seed} {path:?} {layer}");
            assert_eq!(here.shown, *shown, "seed {seed} {path:?} {layer}");
            let hider = told.iter().find(|h| h.path == *path && h.layer == *layer).map(|h| h.hidden_by);
            assert_eq!(here.hidden_by, hider, "seed {seed} {path:?} {layer}");
        }
        let sums = du(&tree).unwrap();
        assert_eq!(sums.visible(), visible_bytes(&tree), "seed {seed}");
    }
}

fn visible_bytes(tree: &Tree<'_>) -> u64 {
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    let start = tree.resolve(b"/", LastLink::Keep).unwrap();
    walk::<InsideError>(tree, &start, &mut |visit: &Visit<'_>| {
        let Child::Object(node) = visit.child else { panic!() };
        if node.kind() == crate::types::FileKind::Regular && seen.insert(node.link_id()) {
            bytes += node.attr().size;
        }
        Ok(Flow::Enter)
    })
    .unwrap();
    bytes
}

/// Three layers, the base last.
fn story() -> Layers {
    let layers = Layers::new(3);
    layers.put(2, "over", &[b'x'; 10]);
    layers.put(2, "gone", &[b'x'; 20]);
    layers.put(2, "dir/a", &[b'x'; 30]);
    layers.put(2, "closed/b", &[b'x'; 40]);
    layers.put(2, "was/dir/c", &[b'x'; 50]);
    layers.put(2, "one", &[b'x'; 60]);
    std::fs::hard_link(layers.paths[2].join("one"), layers.paths[2].join("two")).unwrap();
    layers.put(1, "over", &[b'y'; 10]);
    layers.whiteout(1, "gone");
    layers.whiteout(1, "one");
    layers.put(1, "was", b"a file now");
    layers.put(0, "over", &[b'y'; 11]);
    layers.opaque(0, "closed");
    layers.whiteout(0, "dir");
    layers
}

#[test]
fn blame_tells_who_gave_changed_and_deleted() {
    let layers = story();
    let tree = layers.tree();
    let over = blame(&tree, b"/over").unwrap();
    assert_eq!(over.gives, Some(0));
    assert_eq!(over.layers.iter().map(|l| l.hidden_by).collect::<Vec<_>>(), [None, Some(0), Some(0)]);
    assert!(over.layers[0].changed.contains(&Field::Size) && over.layers[0].replaces == Some(1));
    assert!(over.layers[1].changed.contains(&Field::Content) && over.layers[1].replaces == Some(2));
    assert!(over.layers[2].changed.is_empty() && over.layers[2].replaces.is_none());
    let deletions = |path: &[u8]| {
        let blame = blame(&tree, path).unwrap();
        assert_eq!(blame.gives, None);
        blame.layers.into_iter().map(|l| l.deletes).collect::<Vec<_>>()
    };
    assert_eq!(deletions(b"gone"), [None, Some(Deletion::Whiteout), None]);
    assert_eq!(deletions(b"/dir/a"), [Some(Deletion::AboveWhiteout(b"/dir".to_vec())), None, None]);
    assert_eq!(deletions(b"/closed/b"), [Some(Deletion::Opaque(b"/closed".to_vec())), None, None]);
    assert_eq!(deletions(b"/was/dir/c"), [None, Some(Deletion::ReplacedAbove(b"/was".to_vec())), None]);
    assert!(matches!(blame(&tree, b"/never"), Err(InsideError::NotFound(_))));
}

#[test]
fn hidden_paths_and_sums_are_told_with_the_layer_that_hides() {
    let layers = story();
    let tree = layers.tree();
    let told: Vec<_> = hidden(&tree)
        .unwrap()
        .into_iter()
        .map(|Hidden { path, layer, hidden_by, overwritten, .. }| {
            (String::from_utf8(path).unwrap(), layer, hidden_by, overwritten)
        })
        .collect();
    let expected = [
        ("/closed", 2, 0, true),
        ("/closed/b", 2, 0, false),
        ("/dir", 2, 0, false),
        ("/dir/a", 2, 0, false),
        ("/gone", 2, 1, false),
        ("/one", 2, 1, false),
        ("/over", 1, 0, true),
        ("/over", 2, 0, true),
        ("/was", 2, 1, true),
        ("/was/dir", 2, 1, false),
        ("/was/dir/c", 2, 1, false),
    ];
    assert_eq!(told, expected.map(|(p, l, h, o)| (p.to_owned(), l, h, o)));
    let sums = du(&tree).unwrap();
    assert_eq!(sums.layers.iter().map(|l| l.bytes).collect::<Vec<_>>(), [11, 20, 210]);
    assert_eq!(sums.layers.iter().map(|l| l.hidden).collect::<Vec<_>>(), [0, 10, 150]);
    assert_eq!(
        sums.layers.iter().map(|l| (l.entries, l.whiteouts)).collect::<Vec<_>>(),
        [(3, 1), (4, 2), (11, 0)]
    );
    assert!((sums.efficiency() - 81.0 / 241.0).abs() < 1e-9);
    let wasted = |path: &str, times, bytes| Wasted { path: path.as_bytes().to_vec(), times, bytes };
    assert_eq!(sums.top(2), [wasted("/was/dir/c", 1, 50), wasted("/closed/b", 1, 40)]);
    assert!(sums.wasted.contains(&wasted("/over", 2, 20)));
}
