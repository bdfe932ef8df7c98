//! Random changes of a directory; the same seed makes the same ones.

use super::stack::{KernelMount, Layers, Marks};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// splitmix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// All paths below a directory.
pub(crate) fn all_paths(dir: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap()).collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        if entry.file_type().unwrap().is_dir() {
            paths.extend(all_paths(&entry.path()));
        }
        paths.push(entry.path());
    }
    paths
}

fn new_name(rng: &mut Rng) -> OsString {
    let names: [&[u8]; 12] =
        [b"a", b"b", b"c", b"d", b"e", b"f g", b"g\xff", b"h\n", b"i=j", b".k", "ö".as_bytes(), b"-l"];
    match rng.below(20) {
        0 => OsString::from_vec(vec![b'n'; 240]),
        _ => OsString::from_vec(rng.pick(&names).to_vec()),
    }
}

/// A name, there or not, in one of the directories.
fn somewhere(root: &Path, paths: &[PathBuf], rng: &mut Rng) -> PathBuf {
    let mut dirs: Vec<&Path> = vec![root, root];
    dirs.extend(paths.iter().map(PathBuf::as_path).filter(|path| path.is_dir() && !path.is_symlink()));
    rng.pick(&dirs).join(new_name(rng))
}

fn stamp(path: &Path, rng: &mut Rng) {
    let nanos = if rng.below(3) == 0 { 0 } else { rng.below(1_000_000_000) as i64 };
    let time = Timespec { tv_sec: 1_000_000_000 + rng.below(500_000_000) as i64, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).ok();
}

/// Makes `steps` changes. Many fail, as they may: what the others leave is what is wanted.
pub(crate) fn change(root: &Path, rng: &mut Rng, steps: usize) {
    for _ in 0..steps {
        let paths = all_paths(root);
        let new = somewhere(root, &paths, rng);
        let old = if paths.is_empty() { new.clone() } else { rng.pick(&paths).clone() };
        one(&old, &new, rng);
    }
    // Each object gets a time of its own, the deepest first.
    for path in all_paths(root) {
        if rng.below(2) == 0 {
            stamp(&path, rng);
        }
    }
}

fn one(old: &Path, new: &Path, rng: &mut Rng) {
    let data = vec![b'a' + (rng.below(26) as u8); rng.below(9000)];
    match rng.below(20) {
        // A fifo that is there would be waited for.
        0..4 if new.symlink_metadata().is_ok_and(|meta| !meta.is_file()) => {}
        0..4 => drop(fs::write(new, data)),
        4..7 => drop(fs::create_dir(new)),
        7 => drop(symlink(new.file_name().unwrap(), new)),
        8 if !old.is_dir() || old.is_symlink() => drop(fs::hard_link(old, new)),
        9 if old.is_dir() && !old.is_symlink() => {
            drop(fs::remove_dir_all(old));
            // One that takes the place of another is opaque.
            if rng.below(2) == 0 {
                drop(fs::create_dir(old).and_then(|()| fs::write(old.join("inside"), &data)));
            }
        }
        10 => drop(fs::remove_file(old)),
        11..14 => drop(fs::rename(old, new)),
        14 if !old.is_symlink() => {
            let mode = [0o644, 0o4755, 0o700, 0o1777][rng.below(4)];
            drop(fs::set_permissions(old, fs::Permissions::from_mode(mode)));
        }
        15 => drop(lchown(old, Some(rng.below(3) as u32 * 1_500_000), Some(rng.below(9) as u32))),
        16 => {
            let name = ["user.a", "user.b", "trusted.c"][rng.below(3)];
            let value = [b"v\0\n".to_vec(), vec![b'x'; rng.below(100)]][rng.below(2)].clone();
            rustix::fs::lsetxattr(old, name, &value, XattrFlags::empty()).ok();
        }
        17 => {
            let kind = [FileType::Fifo, FileType::CharacterDevice, FileType::BlockDevice][rng.below(3)];
            let dev = rustix::fs::makedev(1 + rng.below(300) as u32, rng.below(70_000) as u32);
            rustix::fs::mknodat(CWD, new, kind, Mode::from_raw_mode(0o640), dev).ok();
        }
        18 if old.is_file() && !old.is_symlink() => {
            drop(
                fs::OpenOptions::new()
                    .append(true)
                    .open(old)
                    .and_then(|mut file| std::io::Write::write_all(&mut file, &data)),
            );
        }
        _ => stamp(old, rng),
    }
}

/// A stack of random layers, each but the lowest the upper of a kernel mount over those below.
pub(crate) fn stack(count: usize, rng: &mut Rng, marks: Marks) -> Layers {
    let layers = Layers::new(count);
    let mnt = layers.dir("mnt");
    for at in (0..count).rev() {
        if at + 1 == count {
            change(&layers.paths[at], rng, 60);
            continue;
        }
        let work = layers.dir(&format!("work{at}"));
        let upper = layers.paths[at].clone();
        let mount = KernelMount::new(&layers.paths[at + 1..], Some((&upper, &work)), &mnt, marks);
        change(&mount.at, rng, 30);
    }
    layers
}
