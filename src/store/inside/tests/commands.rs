//! The commands print what the usual tools print of the kernel's mount of the same stack.

use super::random::{self, Rng};
use super::stack::{KernelMount, Layers, Marks};
use crate::store::inside::cat::cat;
use crate::store::inside::find::{FindOptions, Test, find, kinds, pattern};
use crate::store::inside::ls::{LsOptions, ls};
use crate::store::inside::owners::Owners;
use crate::store::inside::text::{NameStyle, TimeText};
use crate::store::inside::tree_view::{TreeOptions, tree};
use crate::store::inside::{InsideError, Tree};
use jiff::tz::TimeZone;
use std::path::Path;
use std::process::Command;

fn output(of: &mut Command) -> String {
    let output = of.env("LC_ALL", "C").env("TZ", "UTC").output().unwrap();
    assert!(output.status.success(), "{of:?}: {}", output.stderr.escape_ascii());
    output.stdout.escape_ascii().to_string().replace("\\n", "\n")
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> Result<(), InsideError>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    out.escape_ascii().to_string().replace("\\n", "\n")
}

fn utc() -> LsOptions {
    let now = jiff::Timestamp::now().as_second();
    LsOptions { times: TimeText::new(TimeZone::UTC, now), ..LsOptions::default() }
}

fn compare_ls(tree: &Tree<'_>, mount: &Path) {
    let long = LsOptions { long: true, ..utc() };
    let cases = [
        ("-1", utc()),
        ("-1R", LsOptions { recursive: true, ..utc() }),
        ("-1a", LsOptions { all: true, ..utc() }),
        ("-1A", LsOptions { almost_all: true, ..utc() }),
        ("-n", long.clone()),
        ("-nRA", LsOptions { recursive: true, almost_all: true, ..long.clone() }),
        ("-nh", LsOptions { human: true, ..long.clone() }),
        ("-nd", LsOptions { directory: true, ..long }),
    ];
    for (flags, options) in cases {
        let real = output(Command::new("ls").arg(flags).arg(".").current_dir(mount));
        let ours = text(|out| ls(tree, &[b"."], &options, out));
        assert_eq!(real, ours, "ls {flags}");
    }
}

fn compare_find(tree: &Tree<'_>, mount: &Path) {
    let file = || Test::Kinds(kinds("f").unwrap());
    let cases: [(&[&str], Vec<Test>); 7] = [
        (&[], vec![]),
        (&["-type", "f"], vec![file()]),
        (&["-type", "d,p,c,b"], vec![Test::Kinds(kinds("d,p,c,b").unwrap())]),
        (&["-name", "[a-c]*"], vec![Test::Name(pattern("[a-c]*", false).unwrap())]),
        (&["-type", "f", "-size", "+4k"], vec![file(), Test::Size("+4k".parse().unwrap())]),
        (&["-perm", "-4000"], vec![Test::Perm("-4000".parse().unwrap())]),
        (&["-path", "./a/*"], vec![Test::Path(pattern("./a/*", false).unwrap())]),
    ];
    for (args, tests) in cases {
        for (depth, min_depth, max_depth) in
            [(&[][..], 0, None), (&["-mindepth", "1", "-maxdepth", "2"], 1, Some(2))]
        {
            let real = output(
                Command::new("find").arg(".").args(depth).args(args).arg("-print0").current_dir(mount),
            );
            let options =
                FindOptions { tests: tests.clone(), min_depth, max_depth, nul: true, names: NameStyle::Raw };
            let ours = text(|out| find(tree, &[b"."], &options, out));
            let sorted = |text: &str| {
                let mut lines: Vec<_> = text.split("\\x00").map(str::to_owned).collect();
                lines.sort();
                lines
            };
            assert_eq!(sorted(&real), sorted(&ours), "find {depth:?} {args:?}");
        }
    }
}

#[test]
fn random_stacks_are_listed_as_ls_and_find_list_them() {
    for seed in 100..108 {
        let layers = random::stack(3, &mut Rng(seed), Marks::Plain);
        let mount = KernelMount::new(&layers.paths, None, &layers.dir("mnt"), Marks::Plain);
        compare_ls(&layers.tree(), &mount.at);
        compare_find(&layers.tree(), &mount.at);
    }
}

fn small() -> Layers {
    let layers = Layers::new(2);
    layers.put(1, "etc/passwd", b"root:x:0:0::/:\nwho:x:7:8::/:\n");
    layers.put(1, "etc/group", b"wheel:x:0:\n");
    layers.put(1, "dir/a", b"one\n");
    layers.put(1, "dir/b", b"two\n");
    layers.put(0, "dir/c", b"three\n");
    layers.whiteout(0, "dir/b");
    layers.put(0, ".hidden", b"");
    std::os::unix::fs::symlink("dir/a", layers.paths[0].join("link")).unwrap();
    std::os::unix::fs::lchown(layers.paths[0].join("dir/c"), Some(7), Some(9)).unwrap();
    layers
}

#[test]
fn cat_writes_files_one_after_the_other_and_refuses_directories() {
    let layers = small();
    let tree = layers.tree();
    assert_eq!(text(|out| cat(&tree, &[b"/link", b"dir/c"], out)), "one\nthree\n");
    let refused = cat(&tree, &[b"/dir"], &mut Vec::new()).unwrap_err();
    assert_eq!(refused.to_string(), "/dir: is a directory");
    assert!(cat(&tree, &[b"/dir/b"], &mut Vec::new()).is_err());
}

#[test]
fn names_of_owners_come_from_the_image() {
    let layers = small();
    let tree = layers.tree();
    let options = LsOptions { long: true, owners: Owners::of(&tree).unwrap(), ..utc() };
    let listed = text(|out| ls(&tree, &[b"/dir"], &options, out));
    let columns: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(columns[1][2..5], ["root", "wheel", "4"]);
    assert_eq!(columns[2][2..5], ["who", "9", "6"]);
    assert_eq!((columns[1].last(), columns[2].last()), (Some(&"a"), Some(&"c")));
}

#[test]
fn layers_that_give_each_entry_are_counted_from_the_base() {
    let layers = small();
    let listed = text(|out| ls(&layers.tree(), &[b"/dir"], &LsOptions { layers: true, ..utc() }, out));
    assert_eq!(listed, "1 a\n2 c\n");
}

#[test]
fn a_layer_alone_lists_whiteouts_in_the_form_of_oci() {
    let layers = small();
    layers.opaque(0, "dir/closed");
    let tree = layers.alone(0);
    let listed = text(|out| ls(&tree, &[b"/dir", b"dir/closed"], &utc(), out));
    assert_eq!(listed, "/dir:\n.wh.b\nc\nclosed\n\ndir/closed:\n.wh..wh..opq\n");
    let long = text(|out| ls(&tree, &[b"/dir"], &LsOptions { long: true, ..utc() }, out));
    let whiteout: Vec<&str> = long.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(whiteout, ["w---------", "-", "-", "-", "-", "-", ".wh.b"]);
    let options = FindOptions { tests: vec![Test::Kinds(kinds("w").unwrap())], ..FindOptions::default() };
    assert_eq!(text(|out| find(&tree, &[b"/"], &options, out)), "/dir/b\n");
}

#[test]
fn tree_draws_like_tree() {
    let layers = small();
    let view = layers.tree();
    let drawn = |path: &[u8], options: TreeOptions| {
        let mut out = Vec::new();
        tree(&view, path, &options, &mut out).unwrap();
        String::from_utf8(out).unwrap().replace('\u{a0}', " ")
    };
    let all = "/\n├── dir\n│   ├── a\n│   └── c\n├── etc\n│   ├── group\n│   └── passwd\n\
               └── link -> dir/a\n\n2 directories, 5 files\n";
    assert_eq!(drawn(b"/", TreeOptions::default()), all);
    let one = "/\n├── .hidden\n├── dir\n├── etc\n└── link -> dir/a\n\n2 directories, 2 files\n";
    assert_eq!(drawn(b"/", TreeOptions { depth: Some(1), all: true, ..TreeOptions::default() }), one);
    let dirs = "/\n├── dir\n└── etc\n\n2 directories\n";
    assert_eq!(drawn(b"/", TreeOptions { directories: true, ..TreeOptions::default() }), dirs);
    assert_eq!(drawn(b"/dir", TreeOptions::default()), "/dir\n├── a\n└── c\n\n0 directories, 2 files\n");
}
