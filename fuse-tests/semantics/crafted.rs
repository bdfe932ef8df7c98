//! U and O2: stacks whose layers carry marks in every combination, as former uppers do, made by
//! hand; layerfs and the kernel's overlayfs must show the same tree.

use super::*;
use crate::harness::{DumpOptions, Target, dump_with, write};
use crate::oracle::kernel::KernelMount;
use crate::oracle::rng::Rng;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// Compares what both show, read-only, and then with an upper that is written to.
fn assert_shown_as_by_the_kernel(stack: &Stack, title: &str) {
    let options = DumpOptions::default();
    let kernel = {
        let mount = KernelMount::read_only(stack.lowers(), stack.mnt());
        dump_with(mount.path(), &options)
    };
    let m = stack.mount_as(Target::Layerfs, &[]);
    assert_same_text(&kernel, &dump_with(m.path(), &options), title);
    m.umount();
}

fn metacopy(path: &Path, len: u64, redirect: Option<&str>) {
    write(path, "");
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
    mark(path, "metacopy", "");
    if let Some(redirect) = redirect {
        mark(path, "redirect", redirect);
    }
}

fn redirected(path: &Path, to: &str) {
    mkdir(path);
    mark(path, "redirect", to);
}

#[test]
fn u11_o2_redirects_across_whiteouts_and_opaque_directories() {
    let stack = Stack::read_only(3);
    let [top, middle, bottom] = [0, 1, 2].map(|i| stack.lower(i));
    fill(bottom, &["a/x", "a/sub/y", "b/x", "b/sub/z", "c/x", "p/q/r/s"]);
    fill(middle, &["a/mid", "b/mid", "p/q/mid"]);
    // The old name is hidden in the layer of the redirect, as a rename leaves it.
    redirected(&top.join("moved_a"), "/a");
    whiteout(top.join("a"));
    // The target is opaque in the middle: the bottom must not show.
    mark(middle.join("b"), "opaque", "y");
    redirected(&top.join("moved_b"), "/b");
    // The target is hidden by the middle layer.
    whiteout(middle.join("c"));
    redirected(&top.join("moved_c"), "/c");
    // An ancestor of the target is opaque, or hidden, in the middle.
    mark(middle.join("p"), "opaque", "y");
    redirected(&top.join("moved_r"), "/p/q/r");
    redirected(&top.join("moved_q"), "/p/q");
    assert_shown_as_by_the_kernel(&stack, "redirects");
}

#[test]
fn u11_o2_redirects_through_renamed_parents() {
    let stack = Stack::read_only(3);
    let [top, middle, bottom] = [0, 1, 2].map(|i| stack.lower(i));
    fill(bottom, &["one/two/three/file", "one/file", "other/file"]);
    // The middle renamed one to uno; the top renamed uno/two to dos, and three inside it.
    redirected(&middle.join("uno"), "/one");
    whiteout(middle.join("one"));
    redirected(&top.join("dos"), "/uno/two");
    mkdir(top.join("uno"));
    whiteout(top.join("uno/two"));
    redirected(&top.join("dos/tres"), "three");
    whiteout(top.join("dos/three"));
    // A relative redirect inside a directory that is itself redirected.
    redirected(&top.join("uno/drei"), "file");
    // A redirect and opaque together: opaque wins.
    redirected(&top.join("both"), "/other");
    mark(top.join("both"), "opaque", "y");
    assert_shown_as_by_the_kernel(&stack, "redirects through renamed parents");
}

/// An opaque directory on the way to a redirect's target ends the search there, but not for an
/// object that itself continues at an absolute redirect.
#[test]
fn u11_o2_an_absolute_redirect_below_an_opaque_directory_goes_on() {
    let stack = Stack::read_only(3);
    let [top, middle, bottom] = [0, 1, 2].map(|i| stack.lower(i));
    fill(bottom, &["a/x", "a/sub/y", "p/d/hidden", "p/e/hidden", "q/f/hidden", "p/file"]);
    opaque(middle.join("p"));
    redirected(&middle.join("p/d"), "/a");
    redirected(&middle.join("p/e"), "d");
    mkdir(middle.join("p/plain"));
    metacopy(&middle.join("p/file2"), 6, Some("/p/file"));
    opaque(middle.join("q"));
    redirected(&middle.join("q/f/g"), "/a/sub");
    redirected(&top.join("c1"), "/p/d");
    redirected(&top.join("c2"), "/p/e");
    redirected(&top.join("c3"), "/q/f/g");
    redirected(&top.join("c4"), "/q/f");
    redirected(&top.join("c5"), "/p/plain");
    metacopy(&top.join("c6"), 6, Some("/p/file2"));
    assert_shown_as_by_the_kernel(&stack, "absolute redirects below opaque directories");
}

#[test]
fn u12_o2_metacopies_over_metacopies_and_their_redirects() {
    let stack = Stack::read_only(3);
    let [top, middle, bottom] = [0, 1, 2].map(|i| stack.lower(i));
    for name in ["same", "moved", "twice", "dir/in", "opaque/in"] {
        write(bottom.join(name), format!("content of {name}"));
    }
    let len = |name: &str| lstat(bottom.join(name)).len();
    metacopy(&top.join("same"), len("same"), None);
    metacopy(&middle.join("same"), len("same"), None);
    metacopy(&top.join("new"), len("moved"), Some("/moved"));
    whiteout(top.join("moved"));
    metacopy(&middle.join("step"), len("twice"), Some("/twice"));
    whiteout(middle.join("twice"));
    metacopy(&top.join("end"), len("twice"), Some("/step"));
    whiteout(top.join("step"));
    redirected(&top.join("renamed"), "/dir");
    metacopy(&top.join("renamed/in"), len("dir/in"), None);
    metacopy(&top.join("out"), len("dir/in"), Some("/dir/in"));
    metacopy(&top.join("dir/relative"), len("dir/in"), Some("in"));
    for (i, name) in ["same", "new", "end", "renamed/in", "out"].iter().enumerate() {
        set_times(top.join(name), Timespec { tv_sec: 1000 + i as i64, tv_nsec: 5 });
        let mode = fs::Permissions::from_mode(0o600 + i as u32);
        fs::set_permissions(top.join(name), mode).unwrap();
    }
    assert_shown_as_by_the_kernel(&stack, "metacopies");
}

#[test]
fn u2_u4_u5_o2_mixed_kinds_in_three_layers() {
    let kinds = ["none", "file", "dir", "opaque", "whiteout", "link"];
    let stack = Stack::read_only(3);
    for (a, one) in kinds.iter().enumerate() {
        for (b, two) in kinds.iter().enumerate() {
            for (c, three) in kinds.iter().enumerate() {
                for (layer, kind) in [one, two, three].into_iter().enumerate() {
                    put(&stack.lower(layer).join(format!("n{a}{b}{c}")), kind, layer);
                }
            }
        }
    }
    assert_shown_as_by_the_kernel(&stack, "216 combinations");
}

fn put(path: &Path, kind: &str, layer: usize) {
    match kind {
        "file" => write(path, format!("of layer {layer}")),
        "dir" => fill(path, &[&format!("of{layer}"), &format!("sub/of{layer}")]),
        "opaque" => {
            opaque(path);
            fill(path, &[&format!("of{layer}"), &format!("sub/of{layer}")]);
        }
        "whiteout" => whiteout(path),
        "link" => symlink(format!("of{layer}"), path).unwrap(),
        _ => {}
    }
    if path.symlink_metadata().is_ok() {
        set_times(path, Timespec { tv_sec: 5000 + layer as i64, tv_nsec: 1 });
    }
}

#[test]
fn o2_random_marks() {
    for seed in 0..25 {
        let stack = Stack::read_only(3);
        let mut rng = Rng::new(seed);
        for lower in stack.lowers().iter().rev() {
            scatter(lower, &mut rng);
        }
        assert_shown_as_by_the_kernel(&stack, &format!("seed {seed}"));
    }
}

/// A random layer; whiteouts stand where a directory merges or nothing is, and a redirect leads
/// anywhere.
fn scatter(lower: &Path, rng: &mut Rng) {
    let names = ["a", "b", "c"];
    for first in names {
        if rng.chance(20) {
            whiteout(lower.join(first));
            continue;
        }
        if rng.chance(20) {
            continue;
        }
        let dir = lower.join(first);
        mkdir(&dir);
        decorate(&dir, rng);
        for second in names {
            match rng.below(6) {
                0 => write(dir.join(second), format!("{first}/{second}")),
                1 | 2 => {
                    mkdir(dir.join(second));
                    decorate(&dir.join(second), rng);
                    fill(&dir.join(second), &[*rng.pick(&names)]);
                }
                3 => symlink("x", dir.join(second)).unwrap(),
                _ => {}
            }
        }
    }
}

fn decorate(dir: &Path, rng: &mut Rng) {
    let targets = ["/a", "/b", "/c", "/a/b", "/c/a", "a", "b"];
    match rng.below(10) {
        0 => mark(dir, "opaque", "y"),
        1..=3 => mark(dir, "redirect", targets[rng.below(targets.len())]),
        _ => {}
    }
    set_times(dir, Timespec { tv_sec: 1_000_000 + rng.below(1000) as i64, tv_nsec: 3 });
}
