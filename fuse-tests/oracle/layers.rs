//! Random lower layers, made by the kernel's overlayfs itself: the lowest is a plain tree, and each
//! one above is the upper of an overlay over those below it after some random operations. So they
//! hold whiteouts, opaque directories, redirects and metacopies in all their combinations.

use super::exec::Executor;
use super::kernel::KernelMount;
use super::op::{Draw, Names, Op};
use super::rng::Rng;
use crate::harness::{Stack, in_user_namespace};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::fs;
use std::path::Path;

/// The first steps only fill the tree.
const FILLING: usize = 30;
/// Steps that make one layer above the lowest.
const CHANGES: usize = 40;

/// Fills the lowers of `stack`; the same seed makes the same layers.
pub(crate) fn build(stack: &Stack, rng: &mut Rng) {
    let lowers = stack.lowers();
    for i in (0..lowers.len()).rev() {
        let top = i == 0;
        if i + 1 == lowers.len() {
            change(&lowers[i], rng, FILLING + CHANGES / 2, FILLING, top);
        } else {
            let work = stack.base().join(format!("build{i}"));
            fs::create_dir(&work).unwrap();
            let mut mount = KernelMount::new(&lowers[i + 1..], &lowers[i], &work, stack.mnt());
            change(mount.path(), rng, CHANGES, CHANGES / 4, top);
            mount.down();
            fs::remove_dir_all(&work).unwrap();
        }
        age(&lowers[i], rng);
    }
}

/// Hard links are made in the top lower alone: a name that another layer hides would still count
/// in the `st_nlink` that the lower filesystem shows.
fn change(root: &Path, rng: &mut Rng, steps: usize, filling: usize, links: bool) {
    let mut exec = Executor::new(root, i64::MAX);
    for step in 0..steps {
        let names = Names::of(root);
        let op = loop {
            let op = Draw { rng, names: &names }.next();
            let makes =
                matches!(op, Op::Create { .. } | Op::Mkdir { .. } | Op::Symlink { .. } | Op::SetXattr { .. });
            let forbidden = match &op {
                Op::Remount => true,
                // With user marks only the names of files stay one object (C7).
                Op::Link { from, .. } => !links || in_user_namespace() && !root.join(from).is_file(),
                _ => false,
            };
            if !forbidden && (step >= filling || makes) {
                break op;
            }
        };
        // Many of these fail, which is as it should be: the layers are what the others leave.
        drop(exec.run(&op));
    }
}

/// Gives everything a time of its own in the past, so that a time that is lost is seen.
fn age(dir: &Path, rng: &mut Rng) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.symlink_metadata().unwrap().is_dir() {
            age(&path, rng);
        } else {
            set_age(&path, rng);
        }
    }
    set_age(dir, rng);
}

fn set_age(path: &Path, rng: &mut Rng) {
    let time = Timespec {
        tv_sec: 1_200_000_000 + rng.below(1_000_000) as i64,
        tv_nsec: rng.below(1_000_000_000) as i64,
    };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
