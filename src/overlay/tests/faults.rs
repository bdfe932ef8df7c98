//! All or nothing: each operation once for each of its syscalls, with that one failing or the
//! process dead from there on.

use super::super::{Error, NewObject, Overlay, Result};
use super::cases::{COPY_UPS, CREATIONS, Case, EXCHANGES, HARD_LINKS, REMOVALS, RENAMES};
use super::dump::{Dump, Ids, ROOT, at, diff, objects};
use super::fixture::{Ability, Lowers, World};
use crate::sys::Errno;
use crate::sys::fault::{Fault, with};
use crate::types::{FileKind, WhiteoutForm};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Far more calls than any operation makes.
const CALLS_MAX: usize = 500;
/// Opening and closing layers is mostly waiting, for the kernel to let go of their private mounts.
const THREADS: usize = 8;

/// What is shown, without the modification times that the operation changes: with the others, and
/// without those of directories.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    exact: String,
    /// Where a copy-up ends between its publishing and the step that sets the parent's time back,
    /// the time is lost: no filesystem does both in one step.
    timeless: String,
}

/// One case with what went wrong in it.
struct Trial<'a> {
    case: &'a Case,
    lowers: &'a Lowers,
    ability: Ability,
    before: Shown,
    after: Shown,
    problems: Mutex<Vec<String>>,
}

/// What happens at the chosen call.
#[derive(Clone, Copy)]
enum Mishap {
    /// It fails; the operation is then done again or the upper mounted again.
    Fail { errno: Errno, again: bool },
    /// The process dies.
    Die,
}

/// An upper that is ready for the operation.
fn world(case: &Case, lowers: &Lowers, ability: Ability) -> World {
    let world = World::on(lowers, ability);
    if let Some(prepare) = case.prepare {
        prepare(&world.open()).unwrap();
    }
    world
}

fn run(case: &Case, overlay: &Overlay) -> Result<()> {
    (case.plan)(overlay)?()
}

fn look(case: &Case, overlay: &Overlay, ids: &Ids) -> Shown {
    let dump = Dump::of(overlay, ids);
    let text = |directories| match (dump.text(case.touched, directories), case.excused) {
        (text, "") => text,
        (text, excused) => text.replace(excused, ""),
    };
    Shown { exact: text(true), timeless: text(false) }
}

/// The case when nothing disturbs it.
fn undisturbed<'a>(case: &'a Case, lowers: &'a Lowers, ability: Ability) -> Trial<'a> {
    let world = world(case, lowers, ability);
    let overlay = world.open();
    let (ids, _) = objects(&overlay);
    let before = look(case, &overlay, &ids);
    run(case, &overlay).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let after = look(case, &overlay, &ids);
    assert_ne!(before, after, "{}: changes nothing", case.name);
    drop(overlay);
    assert!(world.leftovers().is_empty(), "{}: {:?}", case.name, world.leftovers());
    let again = look(case, &world.open(), &ids);
    assert_eq!(diff(&after.exact, &again.exact), "", "{}: another tree after a remount", case.name);
    Trial { case, lowers, ability, before, after, problems: Mutex::default() }
}

impl Trial<'_> {
    fn problem(&self, context: &str, text: &str) {
        self.problems.lock().push(format!("{}, {context}: {text}", self.case.name));
    }

    /// Compares what is shown; `timeless` if a parent's time may be lost.
    fn compare(&self, context: &str, wanted: &Shown, got: &Shown, timeless: bool) -> bool {
        let changes = match timeless {
            true => diff(&wanted.timeless, &got.timeless),
            false => diff(&wanted.exact, &got.exact),
        };
        if !changes.is_empty() {
            self.problem(context, &format!("\n{changes}"));
        }
        changes.is_empty()
    }

    /// Does the operation, which did not happen, once more; gives what is shown then.
    fn again(&self, context: &str, overlay: &Overlay, ids: &Ids, timeless: bool) -> Shown {
        let context = format!("{context}, done again");
        let done = run(self.case, overlay);
        let live = look(self.case, overlay, ids);
        match done {
            Ok(()) => drop(self.compare(&context, &self.after, &live, timeless)),
            Err(e) => self.problem(&context, &e.to_string()),
        }
        live
    }

    /// Makes and removes a name in each directory: what the engine holds of them must still be true.
    /// Gives what is shown then.
    fn use_all(&self, context: &str, overlay: &Overlay, ids: &Ids) -> Shown {
        for path in ids.values().filter(|path| !path.is_empty()) {
            let used = at(overlay, path).and_then(|dir| match dir.attr.kind {
                FileKind::Directory => {
                    drop(overlay.create(dir.ino, b"probe", NewObject::Directory, 0o755, ROOT)?);
                    at(overlay, &format!("{path}/probe"))?;
                    overlay.rmdir(dir.ino, b"probe")
                }
                _ => Ok(()),
            });
            if let Err(e) = used {
                self.problem(context, &format!("{path}: {e}"));
            }
        }
        look(self.case, overlay, ids)
    }

    /// The n-th call fails. False once the operation makes fewer calls.
    fn fail(&self, errno: Errno, nth: usize, again: bool) -> bool {
        let world = world(self.case, self.lowers, self.ability);
        let overlay = world.open();
        // The kernel knows all objects: what memory holds of them outlives the failure.
        let (ids, known) = objects(&overlay);
        if again {
            // What was listed is not asked again: other calls fail.
            look(self.case, &overlay, &ids);
        }
        let op = (self.case.plan)(&overlay).unwrap();
        let (result, calls) = with(Some(Fault::Fail(errno)), nth, op);
        let context = format!("call {nth} of {calls} fails with {errno:?}, answer {result:?}");
        let timeless = matches!(result, Err(Error::Sys(e)) if e.call == "utimensat");
        let live = look(self.case, &overlay, &ids);
        // What fails after the change is made, such as looking at what was made, is an error with
        // the change made: it cannot be taken back. Memory and disk must agree on it all the same.
        let done = result.is_ok()
            || if timeless { live.timeless == self.after.timeless } else { live == self.after };
        let wanted = if done { &self.after } else { &self.before };
        let good = self.compare(&format!("{context}, same engine"), wanted, &live, timeless);
        if nth >= calls {
            return false;
        }
        let live = match good && !done {
            true if again => self.again(&context, &overlay, &ids, timeless),
            true => self.use_all(&context, &overlay, &ids),
            false => live,
        };
        drop(known);
        drop(overlay);
        // An operation that succeeded all the same could not clean up after itself.
        if result.is_err() && !world.leftovers().is_empty() {
            self.problem(&context, &format!("left in workdir: {:?}", world.leftovers()));
        }
        let fresh = look(self.case, &world.open(), &ids);
        self.compare(&format!("{context}, remounted"), &live, &fresh, false);
        if !world.leftovers().is_empty() {
            self.problem(&context, &format!("still in workdir: {:?}", world.leftovers()));
        }
        true
    }

    /// The process dies at the n-th call. False once the operation makes fewer calls.
    fn die(&self, nth: usize) -> bool {
        let world = world(self.case, self.lowers, self.ability);
        let overlay = world.open();
        let (ids, _) = objects(&overlay);
        let op = (self.case.plan)(&overlay).unwrap();
        let (_, calls) = with(Some(Fault::Die), nth, op);
        // Lets go of its locks, but cleans nothing up.
        with(Some(Fault::Die), 0, || drop(overlay));
        let context = format!("dead at call {nth} of {calls}");
        let fresh = world.open();
        if !world.leftovers().is_empty() {
            self.problem(&context, &format!("still in workdir: {:?}", world.leftovers()));
        }
        let got = look(self.case, &fresh, &ids);
        if got.timeless != self.after.timeless {
            self.compare(&context, &self.before, &got, true);
            self.again(&context, &fresh, &ids, true);
        }
        nth < calls
    }
}

impl Trial<'_> {
    /// The same mishap at each call.
    fn every_call(&self, mishap: Mishap) {
        let next = AtomicUsize::new(0);
        let trial = |nth| match mishap {
            Mishap::Fail { errno, again } => self.fail(errno, nth, again),
            Mishap::Die => self.die(nth),
        };
        let work = || while trial(next.fetch_add(1, Ordering::Relaxed)) {};
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(work);
            }
        });
        assert!(next.into_inner() < CALLS_MAX, "{}: too many calls", self.case.name);
    }
}

fn fail_every_step(cases: &[Case]) {
    fail_every_step_on(cases, Ability::FULL);
}

fn fail_every_step_on(cases: &[Case], ability: Ability) {
    let lowers = Lowers::new();
    let untouched = lowers.raw();
    let mut problems = Vec::new();
    for case in cases {
        let trial = undisturbed(case, &lowers, ability);
        trial.every_call(Mishap::Fail { errno: Errno::IO, again: false });
        if ability.is_full() {
            trial.every_call(Mishap::Fail { errno: Errno::NOSPC, again: true });
        }
        trial.every_call(Mishap::Die);
        problems.extend(trial.problems.into_inner());
    }
    assert_eq!(diff(&untouched, &lowers.raw()), "", "the lowers were changed");
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn c10_k1_copy_ups_are_all_or_nothing() {
    fail_every_step(COPY_UPS);
}

#[test]
fn c7_k1_changes_of_hard_links_are_all_or_nothing() {
    fail_every_step(HARD_LINKS);
}

#[test]
fn d3_k1_removals_are_all_or_nothing() {
    fail_every_step(REMOVALS);
}

#[test]
fn d8_k1_creations_are_all_or_nothing() {
    fail_every_step(CREATIONS);
}

#[test]
fn r2_k1_renames_are_all_or_nothing() {
    fail_every_step(RENAMES);
}

#[test]
fn r4_k1_exchanges_are_all_or_nothing() {
    fail_every_step(EXCHANGES);
}

/// A filesystem that does what POSIX asks for.
const PLAIN: &[&str] = &[
    "renameat2(RENAME_EXCHANGE)",
    "renameat2(RENAME_WHITEOUT)",
    "renameat2(RENAME_NOREPLACE)",
    "openat(O_TMPFILE)",
];

#[test]
fn c10_k1_copy_ups_without_nameless_files_are_all_or_nothing() {
    for cases in [COPY_UPS, HARD_LINKS] {
        fail_every_step_on(cases, Ability { whiteouts: WhiteoutForm::Device, lacks: &["openat(O_TMPFILE)"] });
    }
}

/// All changes that make, replace or move whiteouts.
fn fail_every_step_with_whiteouts(ability: Ability) {
    for cases in [REMOVALS, CREATIONS, RENAMES] {
        fail_every_step_on(cases, ability);
    }
}

#[test]
fn u15_k1_whiteouts_that_are_marked_files_are_all_or_nothing() {
    fail_every_step_with_whiteouts(Ability { whiteouts: WhiteoutForm::Xattr, lacks: &[] });
}

#[test]
fn u15_k1_whiteouts_that_are_wh_files_are_all_or_nothing() {
    fail_every_step_with_whiteouts(Ability { whiteouts: WhiteoutForm::File, lacks: PLAIN });
}

#[test]
fn u15_k1_devices_without_rename_flags_are_all_or_nothing() {
    fail_every_step_with_whiteouts(Ability { whiteouts: WhiteoutForm::Device, lacks: PLAIN });
}

#[test]
fn u15_k1_marked_files_without_rename_flags_are_all_or_nothing() {
    fail_every_step_with_whiteouts(Ability { whiteouts: WhiteoutForm::Xattr, lacks: PLAIN });
}
