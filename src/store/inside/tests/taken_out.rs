//! What is written to the host is what the stack shows.

use super::dump::{ALL, Tell, assert_same, of_host, of_tree};
use super::random::{self, Rng};
use super::stack::{KernelMount, Layers, Marks, boxed, mknod, set_xattr};
use crate::store::inside::cp::{CpOptions, cp, cp_to_tar};
use crate::store::inside::unpack::{UnpackOptions, unpack};
use crate::store::inside::{InsideError, Tree};
use crate::sys::fault::{Fault, with};
use crate::sys::{Errno, act_as};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn a_random_stack_unpacked_is_what_the_kernel_mounts() {
    for seed in 400..412 {
        let layers = random::stack(3, &mut Rng(seed), Marks::All);
        let dest = layers.base.path().join("dest");
        let report = unpack(&layers.tree(), &dest, &UnpackOptions::default()).unwrap();
        assert!(report.is_exact(), "seed {seed}: {report}");
        let mount = KernelMount::new(&layers.paths, None, &layers.dir("mnt"), Marks::All);
        assert_same(&of_host(&mount.at, ALL), &of_host(&dest, ALL), &format!("seed {seed}: mount and dest"));
    }
}

#[test]
fn random_layers_unpacked_alone_stack_up_to_the_same() {
    for seed in 420..430 {
        let layers = random::stack(3, &mut Rng(seed), Marks::Plain);
        let mut unpacked = Vec::new();
        for at in 0..3 {
            let dest = layers.base.path().join(format!("dest{at}"));
            let report = unpack(&layers.alone(at), &dest, &UnpackOptions::default()).unwrap();
            assert!(report.is_exact(), "seed {seed}: {report}");
            unpacked.push(dest);
        }
        let mount = KernelMount::new(&unpacked, None, &layers.dir("mnt"), Marks::Plain);
        assert_same(&of_tree(&layers.tree(), ALL), &of_host(&mount.at, ALL), &format!("seed {seed}"));
    }
}

#[test]
fn holes_links_and_devices_of_no_number_are_kept() {
    let layers = Layers::new(1);
    let top = &layers.paths[0];
    let sparse = fs::File::create(top.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"x", 50 << 20).unwrap();
    layers.put(0, "dir/one", b"1");
    fs::hard_link(top.join("dir/one"), top.join("two")).unwrap();
    fs::write(top.join("null"), b"").unwrap();
    set_xattr(&top.join("null"), "trusted.overlay.layerfs.device", b"c 0:0");
    set_xattr(&top.join("two"), "trusted.overlay.overlay.opaque", b"own");
    let dest = layers.base.path().join("dest");
    unpack(&layers.alone(0), &dest, &UnpackOptions::default()).unwrap();
    let meta = fs::metadata(dest.join("sparse")).unwrap();
    assert!(meta.len() == (50 << 20) + 1 && meta.blocks() < 1000);
    let (one, two) = (fs::metadata(dest.join("dir/one")).unwrap(), fs::metadata(dest.join("two")).unwrap());
    assert_eq!((one.ino(), one.nlink()), (two.ino(), 2));
    assert_same(&of_tree(&layers.tree(), ALL), &of_tree(&Tree::new(vec![boxed(&dest)]), ALL), "the layers");
}

#[test]
fn implied_directories_look_as_below() {
    let layers = Layers::new(2);
    layers.put(1, "dir/x", b"");
    fs::set_permissions(layers.paths[1].join("dir"), fs::Permissions::from_mode(0o1770)).unwrap();
    layers.put(0, "dir/y", b"");
    let below = Tree::new(vec![boxed(&layers.paths[1])]);
    let dest = layers.base.path().join("dest");
    let implied = super::stack::implying(&layers.paths[0], "dir");
    unpack(&Tree::alone(implied), &dest, &UnpackOptions { below: Some(&below), progress: None }).unwrap();
    assert_eq!(fs::metadata(dest.join("dir")).unwrap().mode() & 0o7777, 0o1770);
    let merged = Tree::new(vec![super::stack::implying(&layers.paths[0], "dir"), boxed(&layers.paths[1])]);
    let dir = merged.resolve(b"/dir", crate::store::inside::LastLink::Keep).unwrap();
    assert_eq!(dir.node.attr().mode, 0o1770);
}

#[test]
fn a_user_gets_what_the_filesystem_allows_and_is_told_the_rest() {
    let layers = Layers::new(1);
    let top = &layers.paths[0];
    layers.put(0, "dir/mine", b"m");
    layers.put(0, "dir/roots", b"r");
    layers.put(0, "closed/in", b"i");
    lchown(top.join("dir/mine"), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(top.join("dir/mine"), fs::Permissions::from_mode(0o4750)).unwrap();
    fs::set_permissions(top.join("dir/roots"), fs::Permissions::from_mode(0o6755)).unwrap();
    mknod(&top.join("dev"), rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    layers.whiteout(0, "gone");
    set_xattr(&top.join("dir/roots"), "security.capability", &CAPABILITY);
    fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(layers.base.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let dest = layers.base.path().join("dest");
    let report = {
        let _user = act_as(1000, 1000).unwrap();
        unpack(&layers.alone(0), &dest, &UnpackOptions::default()).unwrap()
    };
    let mode = |name: &str| fs::symlink_metadata(dest.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("dir/mine"), mode("dir/roots"), mode("closed")), (0o4750, 0o755, 0o555));
    assert!(!dest.join("dev").exists() && fs::read(dest.join("closed/in")).unwrap() == b"i");
    assert!(fs::symlink_metadata(dest.join("gone")).unwrap().rdev() == 0);
    assert_eq!((report.owners.count, report.set_id.count, report.devices.count), (5, 1, 1));
    let said = report.to_string();
    assert!(said.contains("devices left out: 1 (/dev)"), "{said}");
    assert!(said.starts_with("owners not kept: 5 (/closed/in, /closed, /dir/roots, …)"), "{said}");
}

/// cap_net_bind_service=ep.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn a_destination_that_has_something_in_it_is_refused() {
    let layers = Layers::new(1);
    let dest = layers.dir("dest");
    fs::write(dest.join("x"), b"").unwrap();
    let refused = unpack(&layers.tree(), &dest, &UnpackOptions::default()).unwrap_err();
    let expected = format!("{}: is not empty; name an empty or a new directory", dest.display());
    assert_eq!(refused.to_string(), expected);
}

fn source() -> Layers {
    let layers = Layers::new(1);
    layers.put(0, "dir/sub/file", b"data");
    layers.put(0, "dir/x", b"x");
    fs::hard_link(layers.paths[0].join("dir/x"), layers.paths[0].join("dir/y")).unwrap();
    symlink("sub/file", layers.paths[0].join("dir/link")).unwrap();
    lchown(layers.paths[0].join("dir/x"), Some(7), Some(8)).unwrap();
    layers
}

fn below(dir: &Path) -> Vec<String> {
    let paths = random::all_paths(dir);
    paths.iter().map(|path| path.strip_prefix(dir).unwrap().display().to_string()).collect()
}

#[test]
fn cp_puts_things_where_docker_cp_does() {
    let layers = source();
    let tree = layers.tree();
    let dest = layers.dir("host");
    let copy = |from: &str, to: &Path| cp(&tree, from.as_bytes(), to, &CpOptions::default());
    let inside = ["dir/link", "dir/sub/file", "dir/sub", "dir/x", "dir/y", "dir"];
    copy("/dir", &dest).unwrap();
    assert_eq!(below(&dest), inside);
    let tell = Tell { root: false, ..ALL };
    assert_same(&of_host(&layers.paths[0], tell), &of_host(&dest, tell), "source and copy");
    // Again, over what is there.
    copy("/dir/", &dest).unwrap();
    assert_eq!(below(&dest), inside);
    let new = layers.base.path().join("new");
    copy("dir", &new).unwrap();
    assert_eq!(below(&new), ["link", "sub/file", "sub", "x", "y"]);
    let contents = layers.dir("contents");
    copy("dir/.", &contents).unwrap();
    assert_eq!(below(&contents), ["link", "sub/file", "sub", "x", "y"]);
    copy("dir/x", &contents.join("sub")).unwrap();
    copy("dir/x", &contents.join("named")).unwrap();
    assert_eq!(fs::read(contents.join("sub/x")).unwrap(), fs::read(contents.join("named")).unwrap());
    let link = contents.join("one");
    cp(&tree, b"dir/link", &link, &CpOptions { follow: true }).unwrap();
    assert_eq!(fs::symlink_metadata(&link).unwrap().len(), 4);
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
    for (from, to) in [("dir", "named"), ("dir/x", "named/"), ("dir/x", "none/"), ("dir/x", "none/x")] {
        assert!(copy(from, &contents.join(to)).is_err(), "{from} {to}");
    }
    fs::create_dir_all(contents.join("full/x")).unwrap();
    let refused = copy("dir/x", &contents.join("full")).unwrap_err();
    let InsideError::Host { path, .. } = refused else { panic!("{refused}") };
    assert_eq!(path, contents.join("full/x"));
}

#[test]
fn cp_never_leaves_the_destination_through_a_symlink() {
    let layers = source();
    let (dest, outside) = (layers.dir("host"), layers.dir("outside"));
    fs::create_dir(dest.join("dir")).unwrap();
    symlink(&outside, dest.join("dir/sub")).unwrap();
    fs::write(outside.join("kept"), b"kept").unwrap();
    symlink(outside.join("kept"), dest.join("dir/x")).unwrap();
    let refused = cp(&layers.tree(), b"/dir", &dest, &CpOptions::default());
    let Err(InsideError::Host { path, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(path, dest.join("dir/sub"));
    fs::remove_file(dest.join("dir/sub")).unwrap();
    cp(&layers.tree(), b"/dir", &dest, &CpOptions::default()).unwrap();
    assert_eq!(fs::read(outside.join("kept")).unwrap(), b"kept");
    assert_eq!(fs::read(dest.join("dir/x")).unwrap(), b"x");
    assert_eq!(below(&outside), ["kept"]);
}

fn extract(tar: &[u8], dest: &PathBuf) {
    let file = dest.with_extension("tar");
    fs::write(&file, tar).unwrap();
    fs::create_dir_all(dest).unwrap();
    let mut command = Command::new("tar");
    command
        .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"])
        .arg(&file)
        .arg("-C")
        .arg(dest);
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", output.stderr.escape_ascii());
}

#[test]
fn cp_to_a_tar_extracts_to_the_same() {
    let layers = source();
    let dest = layers.base.path().join("extracted");
    let mut out = Vec::new();
    let report = cp_to_tar(&layers.tree(), b"/dir", &CpOptions::default(), &mut out).unwrap();
    assert_eq!((report.entries, report.bytes), (6, 5));
    extract(&out, &dest);
    let tell = Tell { root: false, ..ALL };
    assert_same(&of_host(&layers.paths[0], tell), &of_host(&dest, tell), "source and tar");
    let mut out = Vec::new();
    cp_to_tar(&layers.tree(), b"/dir/.", &CpOptions::default(), &mut out).unwrap();
    let dest = layers.base.path().join("contents");
    extract(&out, &dest);
    assert_same(&of_host(&layers.paths[0].join("dir"), ALL), &of_host(&dest, ALL), "contents and tar");
}

#[test]
fn no_step_of_unpacking_fails_unnoticed() {
    let layers = source();
    layers.whiteout(0, "dir/gone");
    layers.opaque(0, "dir/sub");
    set_xattr(&layers.paths[0].join("dir/x"), "user.x", b"1");
    let whole = of_tree(&layers.alone(0), ALL);
    let mut steps = 0;
    loop {
        let dest = layers.base.path().join(format!("dest{steps}"));
        let tree = layers.alone(0);
        let fault = Some(Fault::Fail(Errno::IO));
        let (done, seen) = with(fault, steps, || unpack(&tree, &dest, &UnpackOptions::default()));
        if done.is_ok() {
            // Where holes end, whether to share blocks: a step that may fail.
            let unpacked = of_tree(&Tree::alone(boxed(&dest)), ALL);
            assert_same(&whole, &unpacked, &format!("step {steps}"));
        }
        steps += 1;
        if steps > seen {
            break;
        }
    }
    assert!(steps > 50, "{steps}");
}
