//! The tree of a stack is what the kernel mounts.

use super::dump::{ALL, assert_same, of_host, of_tree};
use super::random::{self, Rng};
use super::stack::{KernelMount, Layers, Marks, set_xattr};
use crate::store::inside::{InsideError, LastLink, Node};

#[test]
fn random_stacks_show_what_the_kernel_shows() {
    for seed in 0..25 {
        let layers = random::stack(2 + (seed % 3) as usize, &mut Rng(seed), Marks::All);
        let mount = KernelMount::new(&layers.paths, None, &layers.dir("mnt"), Marks::All);
        let (kernel, ours) = (of_host(&mount.at, ALL), of_tree(&layers.tree(), ALL));
        assert_same(&kernel, &ours, &format!("seed {seed}: the kernel's view and ours"));
        assert!(kernel.lines().count() > 5, "seed {seed}: {kernel}");
    }
}

fn names(layers: &Layers, path: &[u8]) -> Vec<String> {
    let tree = layers.tree();
    let dir = tree.resolve(path, LastLink::Follow).unwrap();
    let list = tree.list(&dir.node, &dir.path).unwrap();
    list.iter().map(|n| String::from_utf8(n.name.to_vec()).unwrap()).collect()
}

#[test]
fn u6_u7_marker_files_hide_what_is_below() {
    let layers = Layers::new(2);
    for name in ["gone", "dir/a", "dir/b", "closed/c", "again/old"] {
        layers.put(1, name, name.as_bytes());
    }
    for name in [".wh.gone", "dir/.wh.a", "closed/.wh..wh..opq", "closed/new", ".wh.again", "again/young"] {
        layers.put(0, name, b"");
    }
    assert_eq!(names(&layers, b"/"), ["again", "closed", "dir"]);
    assert_eq!(names(&layers, b"/dir"), ["b"]);
    assert_eq!(names(&layers, b"/closed"), ["new"]);
    assert_eq!(names(&layers, b"/again"), ["young"]);
    let tree = layers.tree();
    for path in [&b"/gone"[..], b"/dir/a", b"/closed/c", b"/again/old", b"/.wh.gone", b"/dir/.wh.a"] {
        assert!(matches!(tree.resolve(path, LastLink::Keep), Err(InsideError::NotFound(_))), "{path:?}");
    }
}

#[test]
fn paths_stay_inside_the_root() {
    let layers = Layers::new(1);
    layers.put(0, "usr/lib/x", b"of the layer");
    let link = |target: &str, at: &str| std::os::unix::fs::symlink(target, layers.paths[0].join(at)).unwrap();
    link("/usr/lib", "lib");
    link("../../../../usr", "up");
    link("loop2", "loop1");
    link("loop1", "loop2");
    link("nowhere", "broken");
    let tree = layers.tree();
    let resolve = |path: &[u8], last| tree.resolve(path, last).map(|found| found.path);
    use LastLink::{Follow, Keep};
    assert_eq!(resolve(b"lib/x", Keep).unwrap(), b"/usr/lib/x");
    assert_eq!(resolve(b"/up/lib/../lib/./x", Follow).unwrap(), b"/usr/lib/x");
    assert_eq!(resolve(b"../..//lib/", Keep).unwrap(), b"/usr/lib");
    assert_eq!(resolve(b"/lib", Keep).unwrap(), b"/lib");
    assert_eq!(resolve(b"", Keep).unwrap(), b"/");
    assert!(matches!(resolve(b"/loop1", Follow), Err(InsideError::TooManyLinks(_))));
    assert!(matches!(resolve(b"/broken", Follow), Err(InsideError::NotFound(_))));
    assert_eq!(resolve(b"/broken", Keep).unwrap(), b"/broken");
    assert!(matches!(resolve(b"/usr/lib/x/y", Keep), Err(InsideError::NotDirectory(_))));
    assert!(matches!(resolve(b"/usr/lib/x/", Keep), Err(InsideError::NotDirectory(_))));
    let said = resolve(b"/usr/none", Keep).unwrap_err().to_string();
    assert_eq!(said, "/usr/none: no such file or directory");
}

#[test]
fn a_layer_alone_shows_its_whiteouts() {
    let layers = Layers::new(1);
    layers.put(0, "kept", b"1");
    layers.whiteout(0, "gone");
    layers.put(0, ".wh.also", b"");
    layers.opaque(0, "closed");
    let tree = layers.alone(0);
    let root = tree.root().unwrap();
    let listed: Vec<_> = tree.list(&root, b"/").unwrap();
    let listed: Vec<_> = listed.iter().map(|n| (n.name.escape_ascii().to_string(), n.whiteout)).collect();
    let expected =
        [("also", true), ("closed", false), ("gone", true), ("kept", false)].map(|(n, w)| (n.to_owned(), w));
    assert_eq!(listed, expected);
    let closed = tree.resolve(b"/closed", LastLink::Keep).unwrap();
    assert!(Node::is_opaque(&closed.node));
    assert!(matches!(tree.resolve(b"/gone", LastLink::Keep), Err(InsideError::Whiteout(_))));
}

#[test]
fn a_bad_redirect_and_missing_data_are_named() {
    let layers = Layers::new(1);
    layers.put(0, "meta", b"");
    set_xattr(&layers.paths[0].join("meta"), "trusted.overlay.metacopy", b"");
    layers.put(0, "moved/x", b"");
    set_xattr(&layers.paths[0].join("moved"), "trusted.overlay.redirect", b"../x");
    let tree = layers.tree();
    let meta = tree.resolve(b"/meta", LastLink::Keep).unwrap();
    assert!(matches!(tree.open(&meta.node, &meta.path), Err(InsideError::DataMissing(_))));
    assert!(matches!(tree.resolve(b"/moved", LastLink::Keep), Err(InsideError::BadRedirect(_))));
}
