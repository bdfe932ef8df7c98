//! A random differential test: one seeded series of operations on a plain directory, on the
//! kernel's overlayfs and on layerfs, with every answer compared after every step and the whole
//! trees every few steps, over random lowers, with descriptors that stay open and with remounts.
//!
//! A failure prints its seed. `LAYERFS_ORACLE_SEED=N` runs that seed alone,
//! `LAYERFS_ORACLE_STEPS=N` sets the length, `LAYERFS_ORACLE_SHRINK=1` also looks for the fewest
//! operations that still fail, `LAYERFS_ORACLE_RUNS=N` runs N seeds from a random one on, and
//! `LAYERFS_ORACLE_KEEP=DIR` copies the lowers to DIR.

mod excuse;
mod exec;
pub(crate) mod kernel;
mod layers;
mod op;
pub(crate) mod report;
pub(crate) mod rng;
mod run;
mod shrink;
pub(crate) mod tree;

use crate::harness::in_user_namespace;
use rng::Rng;
use run::{Run, Unions};

/// Seeds of the suite; a seed that once found a defect stays.
const SEEDS: [u64; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 3065, 7157, 7260];
const STEPS: usize = 250;
const FEW_SEEDS: usize = 5;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

fn seeds() -> Vec<u64> {
    let some = number("LAYERFS_ORACLE_RUNS").map(|runs| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64 / 1000;
        (now..now + runs).collect()
    });
    let one = number("LAYERFS_ORACLE_SEED").map(|seed| vec![seed]);
    one.or(some).unwrap_or_else(|| SEEDS.to_vec())
}

fn try_seed(seed: u64, steps: usize, unions: Unions) -> Result<(), (String, Vec<op::Op>)> {
    let mut rng = Rng::new(seed);
    let mut run = Run::start(&mut rng, unions);
    if let Err(why) = run.random(&mut rng, steps) {
        return Err((why, run.done.clone()));
    }
    let done = run.done.clone();
    run.cross_mount().map_err(|why| (why, done))
}

fn all_seeds(unions: Unions) {
    let steps = number("LAYERFS_ORACLE_STEPS").map_or(STEPS, |steps| steps as usize);
    // What differs from the usual mount is one thing: fewer seeds show it.
    let few = if unions.options.is_empty() { usize::MAX } else { FEW_SEEDS };
    for seed in seeds().into_iter().take(few) {
        let Err((why, done)) = try_seed(seed, steps, unions) else {
            continue;
        };
        let last: Vec<String> = done.iter().rev().take(20).rev().map(|op| format!("  {op:?}\n")).collect();
        let mut message = format!(
            "LAYERFS_ORACLE_SEED={seed}, step {}:\n{why}\nthe last operations:\n{}",
            done.len(),
            last.concat()
        );
        if number("LAYERFS_ORACLE_SHRINK").is_some() {
            message += &shrink::fewest(seed, unions, done);
        }
        panic!("{message}");
    }
}

/// Proves the generator and the comparison: the kernel's overlayfs against the plain directory.
#[test]
fn oracle_the_kernel_answers_as_a_plain_directory() {
    all_seeds(Unions { kernel: true, layerfs: false, options: &[] });
}

#[test]
fn o1_o2_oracle_layerfs_answers_as_a_plain_directory_and_as_the_kernel() {
    // In a user namespace the kernel knows neither redirects nor metacopies: it only makes the layers.
    all_seeds(Unions { kernel: !in_user_namespace(), layerfs: true, options: &[] });
}

#[test]
fn u15_oracle_whiteouts_that_are_marked_files_answer_the_same() {
    all_seeds(Unions { kernel: false, layerfs: true, options: &["whiteouts=xattr"] });
}

#[test]
fn u15_oracle_whiteouts_that_are_wh_files_answer_the_same() {
    all_seeds(Unions { kernel: false, layerfs: true, options: &["whiteouts=file"] });
}

/// An operation that the oracle must see: without this the comparison could be blind.
#[test]
fn oracle_sees_a_difference() {
    let (old, new) = ("/a RegularFile 0644\n", "/a RegularFile 0600\n");
    assert!(report::same_text("old", old, "new", new).is_err());
}
