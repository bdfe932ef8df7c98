//! Looks for the fewest operations that still fail, by leaving out ever smaller pieces.

use super::op::Op;
use super::rng::Rng;
use super::run::{Run, Unions};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The shortest failing list that was found and its failure, as text.
pub(crate) fn fewest(seed: u64, unions: Unions, mut ops: Vec<Op>) -> String {
    let Some(mut why) = fails(seed, unions, &ops) else {
        return "not shrunk: the replay does not fail\n".to_owned();
    };
    let mut piece = ops.len().div_ceil(2);
    loop {
        let mut from = 0;
        while from < ops.len() {
            let mut fewer = ops.clone();
            fewer.drain(from..(from + piece).min(ops.len()));
            match fails(seed, unions, &fewer) {
                Some(found) => (ops, why) = (fewer, found),
                None => from += piece,
            }
        }
        if piece == 1 {
            break;
        }
        piece = piece.div_ceil(2);
    }
    let lines: Vec<String> = ops.iter().map(|op| format!("  {op:?}\n")).collect();
    format!("the fewest operations:\n{}{why}\n", lines.concat())
}

fn fails(seed: u64, unions: Unions, ops: &[Op]) -> Option<String> {
    let attempt = || {
        let mut run = Run::start(&mut Rng::new(seed), unions);
        run.replay(ops)?;
        run.cross_mount()
    };
    match catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(result) => result.err(),
        Err(_) => Some("a check panicked; see above".to_owned()),
    }
}
