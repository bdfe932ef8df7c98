//! The tar over the lowers shows what the upper over them shows.

use super::{CommitOptions, write_upper_tar};
use crate::layer::{DirLayer, Finding, Layer};
use crate::store::TarReport;
use crate::store::inside::tests::dump::{ALL, Tell, assert_same, of_host, of_tree};
use crate::store::inside::tests::random::{self, Rng};
use crate::store::inside::tests::stack::{KernelMount, Layers, Marks, boxed, mknod, open, set_xattr};
use crate::store::inside::{InsideError, Tree};
use crate::sys::Errno;
use crate::sys::fault::{Fault, with};
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes the topmost layer over the others.
fn commit(layers: &Layers, options: &CommitOptions<'_>) -> (Vec<u8>, TarReport) {
    let opened: Vec<DirLayer> = layers.paths.iter().map(|path| open(path)).collect();
    let all: Vec<&dyn Layer> = opened.iter().map(|layer| layer as &dyn Layer).collect();
    let mut out = Vec::new();
    let report = write_upper_tar(all[0], &all[1..], &mut out, options).unwrap();
    (out, report)
}

/// Extracts by GNU tar, which must have nothing to say.
fn extract(layers: &Layers, tar: &[u8]) -> PathBuf {
    let (file, dest) = (layers.base.path().join("layer.tar"), layers.base.path().join("extracted"));
    fs::write(&file, tar).unwrap();
    fs::create_dir(&dest).unwrap();
    let mut command = Command::new("tar");
    command
        .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "--warning=no-timestamp", "-xpf"])
        .arg(&file)
        .arg("-C")
        .arg(&dest);
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", output.stderr.escape_ascii());
    dest
}

/// The names as Python's tarfile reads them, with type and link target.
fn by_python(tar: &[u8], dir: &Path) -> Vec<String> {
    let file = dir.join("python.tar");
    fs::write(&file, tar).unwrap();
    let program = "import sys,tarfile\nfor m in tarfile.open(sys.argv[1]):\n \
                   print(ascii(m.name), m.type.decode(), m.uid, m.size, ascii(m.linkname), m.uname or '-')";
    let output = Command::new("python3").args(["-c", program]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", output.stderr.escape_ascii());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The tree of the tar, as extracted, over the lowers.
fn applied(layers: &Layers, tar: &[u8]) -> Tree<'static> {
    let mut stack = vec![boxed(&extract(layers, tar))];
    stack.extend(layers.paths[1..].iter().map(|path| boxed(path)));
    Tree::new(stack)
}

/// Hard links to what the tar leaves to the lowers cannot be told.
const UNLINKED: Tell = Tell { links: false, ..ALL };

#[test]
fn random_uppers_become_tars_that_show_the_same() {
    let (mut whiteouts, mut opaque) = (0, 0);
    for seed in 500..515 {
        let layers = random::stack(2 + (seed % 3) as usize, &mut Rng(seed), Marks::All);
        let (tar, report) = commit(&layers, &CommitOptions::default());
        whiteouts += report.whiteouts;
        opaque += report.opaque;
        let mount = KernelMount::new(&layers.paths, None, &layers.dir("mnt"), Marks::All);
        let kernel = of_host(&mount.at, UNLINKED);
        assert_same(&kernel, &of_tree(&applied(&layers, &tar), UNLINKED), &format!("seed {seed}"));
        assert_eq!(tar, commit(&layers, &CommitOptions::default()).0, "seed {seed}");
        let names = by_python(&tar, layers.base.path());
        assert_eq!(names.len() as u64, report.entries, "seed {seed}");
    }
    assert!(whiteouts > 10 && opaque > 1, "{whiteouts} whiteouts, {opaque} opaque");
}

#[test]
fn random_directories_without_lowers_come_out_with_their_links() {
    for seed in 540..546 {
        let layers = random::stack(1, &mut Rng(seed), Marks::All);
        let (tar, report) = commit(&layers, &CommitOptions::default());
        assert_eq!((report.whiteouts, report.opaque), (0, 0));
        let dest = extract(&layers, &tar);
        assert_same(&of_host(&layers.paths[0], ALL), &of_host(&dest, ALL), &format!("seed {seed}"));
    }
}

fn entries(layers: &Layers) -> Vec<String> {
    let (tar, _) = commit(layers, &CommitOptions { root: false, ..CommitOptions::default() });
    let cut = |line: String| line.split(' ').take(2).collect::<Vec<_>>().join(" ").replace('\'', "");
    by_python(&tar, layers.base.path()).into_iter().map(cut).collect()
}

#[test]
fn only_what_the_upper_has_is_written() {
    let layers = Layers::new(2);
    for name in ["dir/a", "dir/b", "dir/deep/c", "closed/d", "file"] {
        layers.put(1, name, b"lower");
    }
    layers.put(0, "dir/a", b"upper");
    layers.put(0, "dir/new", b"");
    layers.whiteout(0, "dir/b");
    layers.whiteout(0, "dir/never");
    layers.opaque(0, "closed");
    layers.put(0, "closed/e", b"");
    layers.put(0, "fresh/f", b"");
    layers.whiteout(0, "fresh/litter");
    assert_eq!(
        entries(&layers),
        [
            "closed 5",
            "closed/.wh..wh..opq 0",
            "closed/e 0",
            "dir 5",
            "dir/a 0",
            "dir/.wh.b 0",
            "dir/new 0",
            "fresh 5",
            "fresh/f 0"
        ]
    );
}

/// Runs `change` on a kernel mount of the layers.
fn through_kernel(layers: &Layers, change: impl FnOnce(&Path)) {
    let (upper, work) = (layers.paths[0].clone(), layers.dir("work"));
    let at = layers.dir("mnt");
    let mount = KernelMount::new(&layers.paths[1..], Some((&upper, &work)), &at, Marks::All);
    change(&mount.at);
}

#[test]
fn renamed_directories_and_metacopies_come_out_whole() {
    let layers = Layers::new(3);
    layers.put(2, "old/sub/x", b"of the base");
    layers.put(1, "old/y", b"of the middle");
    layers.put(2, "target/gone", b"");
    layers.put(2, "meta", b"data of the base");
    layers.put(2, "from/x", b"");
    layers.put(2, "to/y", b"");
    through_kernel(&layers, |mnt| {
        fs::remove_dir_all(mnt.join("target")).unwrap();
        fs::rename(mnt.join("old"), mnt.join("target")).unwrap();
        fs::write(mnt.join("target/sub/new"), b"new").unwrap();
        // As many parts as what was there before had, but others.
        fs::remove_dir_all(mnt.join("to")).unwrap();
        fs::rename(mnt.join("from"), mnt.join("to")).unwrap();
        fs::set_permissions(mnt.join("meta"), fs::Permissions::from_mode(0o600)).unwrap();
    });
    let found = open(&layers.paths[0]).find(&open(&layers.paths[0]).root(), b"meta").unwrap();
    assert!(matches!(found, Finding::Found(found) if found.marks.metacopy));
    assert_eq!(
        entries(&layers),
        [
            ".wh.from 0",
            "meta 0",
            ".wh.old 0",
            "target 5",
            "target/.wh..wh..opq 0",
            "target/sub 5",
            "target/sub/new 0",
            "target/sub/x 0",
            "target/y 0",
            "to 5",
            "to/.wh..wh..opq 0",
            "to/x 0"
        ]
    );
    let (tar, _) = commit(&layers, &CommitOptions::default());
    let read = |path: &str| fs::read(extract_once(&layers, &tar).join(path)).unwrap();
    assert_eq!(read("meta"), b"data of the base");
}

fn extract_once(layers: &Layers, tar: &[u8]) -> PathBuf {
    drop(fs::remove_dir_all(layers.base.path().join("extracted")));
    extract(layers, tar)
}

#[test]
fn every_kind_of_object_and_name_survives() {
    let layers = Layers::new(1);
    let top = &layers.paths[0];
    let deep = format!("{}/{}", "d".repeat(120), "n".repeat(250));
    layers.put(0, &deep, b"deep");
    layers.put(0, "big-owner", b"");
    lchown(top.join("big-owner"), Some(4_000_000_000), Some(3_000_000)).unwrap();
    symlink("t".repeat(300), top.join("link")).unwrap();
    layers.put(0, "hard1", b"once");
    fs::hard_link(top.join("hard1"), top.join(format!("z{}", "h".repeat(200)))).unwrap();
    mknod(&top.join("null"), rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    mknod(&top.join("disk"), rustix::fs::FileType::BlockDevice, rustix::fs::makedev(259, 70_000));
    mknod(&top.join("pipe"), rustix::fs::FileType::Fifo, 0);
    mknod(&top.join("sock"), rustix::fs::FileType::Socket, 0);
    set_xattr(&top.join("hard1"), "user.binary", b"\0=\n\xff");
    set_xattr(&top.join("hard1"), "user.eq=ual", b"lost");
    set_xattr(&top.join("hard1"), "trusted.overlay.origin", b"a mark");
    let old = rustix::fs::Timespec { tv_sec: -5, tv_nsec: 250_000_000 };
    let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
    rustix::fs::utimensat(rustix::fs::CWD, top.join("pipe"), &times, rustix::fs::AtFlags::empty()).unwrap();
    let (tar, report) = commit(&layers, &CommitOptions::default());
    assert_eq!((report.sockets, report.xattrs), (1, 1));
    assert_eq!(report.to_string(), "sockets left out: 1, xattrs with = left out: 1: /hard1, /sock");
    assert!(!tar.windows(14).any(|bytes| bytes == b"overlay.origin"));
    let dest = extract(&layers, &tar);
    fs::remove_file(top.join("sock")).unwrap();
    rustix::fs::lremovexattr(top.join("hard1"), "user.eq=ual").unwrap();
    let tell = Tell { root: false, ..ALL };
    assert_same(&of_host(top, tell), &of_host(&dest, tell), "directory and extracted tar");
}

#[test]
fn times_are_clamped_and_devices_of_no_number_come_out() {
    let layers = Layers::new(1);
    layers.put(0, "new", b"");
    layers.put(0, "zero", b"");
    set_xattr(&layers.paths[0].join("zero"), "trusted.overlay.layerfs.device", b"c 0:0");
    let options = CommitOptions { clamp_mtime: Some(1_000_000), root: false, ..CommitOptions::default() };
    let (tar, _) = commit(&layers, &options);
    let program =
        "import sys,tarfile\nfor m in tarfile.open(sys.argv[1]):\n print(m.name, m.mtime, m.type.decode())";
    let file = layers.base.path().join("clamped.tar");
    fs::write(&file, &tar).unwrap();
    let output = Command::new("python3").args(["-c", program]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "new 1000000 0\nzero 1000000 3\n");
    assert!(!tar.windows(5).any(|bytes| bytes == b"mtime"));
}

#[test]
fn a_whiteout_whose_marker_would_be_too_long_makes_its_directory_whole() {
    let layers = Layers::new(2);
    let long = "n".repeat(253);
    layers.put(1, &format!("dir/{long}"), b"");
    layers.put(1, "dir/kept", b"kept");
    layers.whiteout(0, &format!("dir/{long}"));
    assert_eq!(entries(&layers), ["dir 5", "dir/.wh..wh..opq 0", "dir/kept 0"]);
}

#[test]
fn an_output_that_fails_is_said_so() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let layers = Layers::new(1);
    let failed = write_upper_tar(&open(&layers.paths[0]), &[], &mut Full, &CommitOptions::default());
    assert!(matches!(failed, Err(InsideError::Output(_))));
}

/// Commits with the index that the kernel kept.
fn commit_indexed(layers: &Layers) -> Vec<u8> {
    let opened: Vec<DirLayer> = layers.paths.iter().map(|path| open(path)).collect();
    let all: Vec<&dyn Layer> = opened.iter().map(|layer| layer as &dyn Layer).collect();
    let index = open(&layers.base.path().join("work/index"));
    let options = CommitOptions { index: Some(&index), ..CommitOptions::default() };
    let mut out = Vec::new();
    write_upper_tar(all[0], &all[1..], &mut out, &options).unwrap();
    out
}

#[test]
fn a_change_through_one_name_is_told_of_all_where_there_is_an_index() {
    let layers = Layers::new(2);
    for (one, two) in [("a/one", "b/deep/two"), ("data1", "data2"), ("same1", "same2"), ("gone1", "gone2")] {
        layers.put(1, one, one.as_bytes());
        fs::create_dir_all(layers.paths[1].join(two).parent().unwrap()).unwrap();
        fs::hard_link(layers.paths[1].join(one), layers.paths[1].join(two)).unwrap();
    }
    fs::set_permissions(layers.paths[1].join("b"), fs::Permissions::from_mode(0o700)).unwrap();
    let (upper, work, at) = (layers.paths[0].clone(), layers.dir("work"), layers.dir("mnt"));
    let mount = KernelMount::new(&layers.paths[1..], Some((&upper, &work)), &at, Marks::Indexed);
    fs::set_permissions(mount.at.join("a/one"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(mount.at.join("data2"), b"written through the second").unwrap();
    fs::remove_file(mount.at.join("gone1")).unwrap();
    let kernel = of_host(&mount.at, ALL);
    assert_eq!(fs::read(mount.at.join("data1")).unwrap(), b"written through the second");
    drop(mount);
    let tar = commit_indexed(&layers);
    assert_same(&kernel, &of_tree(&applied(&layers, &tar), ALL), "the mount and the tar");
    let names = by_python(&tar, layers.base.path());
    let names: Vec<&str> = names.iter().map(|line| line.split('\'').nth(1).unwrap()).collect();
    let expected = [".", "a", "a/one", "b", "b/deep", "b/deep/two", "data1", "data2", ".wh.gone1"];
    assert_eq!(names, expected);
}

#[test]
fn random_changes_of_a_mount_with_an_index_come_out() {
    for seed in 560..570 {
        let layers = random::stack(2, &mut Rng(seed), Marks::All);
        // The base becomes the lower of a new mount, with more links in it.
        fs::remove_dir_all(&layers.paths[0]).unwrap();
        fs::create_dir(&layers.paths[0]).unwrap();
        let files: Vec<PathBuf> =
            random::all_paths(&layers.paths[1]).into_iter().filter(|path| !path.is_dir()).collect();
        for (at, file) in files.iter().enumerate() {
            drop(fs::hard_link(file, file.parent().unwrap().join(format!("link{at}"))));
        }
        let (upper, work, at) = (layers.paths[0].clone(), layers.dir("work"), layers.dir("mnt"));
        let mount = KernelMount::new(&layers.paths[1..], Some((&upper, &work)), &at, Marks::Indexed);
        random::change(&mount.at, &mut Rng(seed), 30);
        let kernel = of_host(&mount.at, UNLINKED);
        drop(mount);
        let tar = commit_indexed(&layers);
        assert_same(&kernel, &of_tree(&applied(&layers, &tar), UNLINKED), &format!("seed {seed}"));
    }
}

#[test]
fn no_step_of_writing_fails_unnoticed() {
    let layers = Layers::new(2);
    layers.put(1, "dir/a", b"lower");
    layers.put(0, "dir/b", b"upper");
    layers.whiteout(0, "dir/a");
    set_xattr(&layers.paths[0].join("dir/b"), "user.x", b"1");
    symlink("b", layers.paths[0].join("dir/c")).unwrap();
    let (whole, _) = commit(&layers, &CommitOptions::default());
    let opened: Vec<DirLayer> = layers.paths.iter().map(|path| open(path)).collect();
    let mut steps = 0;
    loop {
        let mut out = Vec::new();
        let (done, seen) = with(Some(Fault::Fail(Errno::IO)), steps, || {
            write_upper_tar(&opened[0], &[&opened[1]], &mut out, &CommitOptions::default())
        });
        assert!(done.is_err() || out == whole, "step {steps}");
        steps += 1;
        if steps > seen {
            break;
        }
    }
    assert!(steps > 20, "{steps}");
}

/// Adds a layer to an image of umoci's.
fn add_layer(image: &str, tar: &[u8], dir: &Path) {
    let file = dir.join("added.tar");
    fs::write(&file, tar).unwrap();
    umoci(Command::new("umoci").args(["raw", "add-layer", "--image", image]).arg(&file));
}

fn umoci(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.stderr.escape_ascii());
}

#[test]
fn umoci_unpacks_base_and_tar_to_what_the_kernel_mounts() {
    for seed in 580..584 {
        let layers = random::stack(2, &mut Rng(seed), Marks::All);
        let base = layers.base.path();
        let image = format!("{}/image:t", base.display());
        umoci(Command::new("umoci").arg("init").arg("--layout").arg(base.join("image")));
        umoci(Command::new("umoci").args(["new", "--image", &image]));
        let lower = open(&layers.paths[1]);
        let mut tar = Vec::new();
        write_upper_tar(&lower, &[], &mut tar, &CommitOptions::default()).unwrap();
        add_layer(&image, &tar, base);
        add_layer(&image, &commit(&layers, &CommitOptions::default()).0, base);
        umoci(Command::new("umoci").args(["unpack", "--image", &image]).arg(base.join("bundle")));
        let mount = KernelMount::new(&layers.paths, None, &layers.dir("mnt"), Marks::All);
        let unpacked = of_host(&base.join("bundle/rootfs"), UNLINKED);
        assert_same(&of_host(&mount.at, UNLINKED), &unpacked, &format!("seed {seed}: mount and umoci"));
    }
}

#[test]
fn marks_of_every_dialect_are_told_in_the_form_of_oci() {
    let layers = Layers::new(2);
    for dir in ["device", "file", "xattr", "kernel", "user", "fuse", "marker"] {
        layers.put(1, &format!("{dir}/gone"), b"");
        layers.put(1, &format!("{dir}/kept"), b"");
    }
    layers.whiteout(0, "device/gone");
    layers.put(0, "file/.wh.gone", b"");
    layers.put(0, "xattr/gone", b"");
    set_xattr(&layers.paths[0].join("xattr"), "trusted.overlay.opaque", b"x");
    set_xattr(&layers.paths[0].join("xattr/gone"), "user.overlay.whiteout", b"y");
    let opaque = [("kernel", "trusted.overlay."), ("user", "user.overlay."), ("fuse", "user.fuseoverlayfs.")];
    for (dir, space) in opaque {
        layers.put(0, &format!("{dir}/new"), b"");
        set_xattr(&layers.paths[0].join(dir), &format!("{space}opaque"), b"y");
    }
    layers.put(0, "marker/.wh..wh..opq", b"");
    let mut expected = Vec::new();
    for dir in ["device", "file", "fuse", "kernel", "marker", "user", "xattr"] {
        expected.push(format!("{dir} 5"));
        match dir {
            "device" | "file" | "xattr" => expected.push(format!("{dir}/.wh.gone 0")),
            "marker" => expected.push("marker/.wh..wh..opq 0".to_owned()),
            _ => expected.extend([format!("{dir}/.wh..wh..opq 0"), format!("{dir}/new 0")]),
        }
    }
    assert_eq!(entries(&layers), expected);
    let (tar, _) = commit(&layers, &CommitOptions::default());
    assert_same(
        &of_tree(&layers.tree(), UNLINKED),
        &of_tree(&applied(&layers, &tar), UNLINKED),
        "all dialects",
    );
}

#[test]
fn random_uppers_of_fuse_overlayfs_become_tars_that_show_the_same() {
    for seed in 590..596 {
        let layers = random::stack(2, &mut Rng(seed), Marks::Plain);
        fs::remove_dir_all(&layers.paths[0]).unwrap();
        fs::create_dir(&layers.paths[0]).unwrap();
        // What it shows of the other names of a changed file depends on which was looked up first.
        for path in random::all_paths(&layers.paths[1]) {
            let meta = fs::symlink_metadata(&path).unwrap();
            if !meta.is_dir() && std::os::unix::fs::MetadataExt::nlink(&meta) > 1 {
                fs::remove_file(&path).unwrap();
            }
        }
        random::change(&FuseOverlayfs::new(&layers).at, &mut Rng(seed), 40);
        // Only a new mount shows the times that were written at the end, and each name for itself.
        let shown = of_host(&FuseOverlayfs::new(&layers).at, UNLINKED);
        let (tar, _) = commit(&layers, &CommitOptions::default());
        assert_same(&shown, &of_tree(&applied(&layers, &tar), UNLINKED), &format!("seed {seed}"));
    }
}

/// A mount of fuse-overlayfs; taken down on drop.
struct FuseOverlayfs {
    at: PathBuf,
    process: std::process::Child,
}

impl FuseOverlayfs {
    fn new(layers: &Layers) -> FuseOverlayfs {
        let (at, work) = (layers.dir("mnt"), layers.dir("work"));
        let (upper, lower) = (layers.paths[0].display(), layers.paths[1].display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={}", work.display());
        let mut command = Command::new("fuse-overlayfs");
        command.args(["-f", "-o", &options]).arg(&at).stderr(std::process::Stdio::null());
        let mount = FuseOverlayfs { process: command.spawn().unwrap(), at };
        let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&fs::metadata(path).unwrap());
        let outside = device(layers.base.path());
        for _ in 0..500 {
            if device(&mount.at) != outside {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_ne!(device(&mount.at), outside, "fuse-overlayfs did not mount");
        mount
    }
}

impl Drop for FuseOverlayfs {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.at).status().unwrap().success();
        assert!(done || std::thread::panicking());
        self.process.wait().unwrap();
    }
}
