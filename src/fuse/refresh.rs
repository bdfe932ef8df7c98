//! Gives the kernel attributes anew that its own reading made stale, many with one request (rule M20,
//! docs/decisions/0008).
//!
//! 1. *No notice does that, but a listing does.* So the mount is visited: directories of it are listed from
//!    an offset that only we use, and the reply has just the entries that are wanted.
//! 2. *Who visits a mount keeps it busy.* So it happens while another's request waits for its reply, which
//!    keeps it busy too: an umount does not fail for it.
//! 3. *A visitor waits for serving threads.* So it is a thread of its own, and a serving thread waits for it
//!    only so long: a directory may be locked by who waits for that reply.
//! 4. *A process that dies must let go of the device* although its visitor waits for an answer: the
//!    visitor's table of descriptors is its own ([`leave_descriptors`]). So it does not log either.

use crate::overlay::{Outdated, OutdatedIn, Overlay};
use crate::sys::{
    AsFd, BorrowedFd, SysError, directory_of_mount, drop_pages, leave_descriptors, list_once, look_once,
    root_of_mount,
};
use crate::types::Ino;
use parking_lot::Mutex;
use std::io::{Error, Result};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// So many objects are worth a visit: a few microseconds each then, where a request for one takes 30.
const ENOUGH: usize = 64;
/// How long a reply waits for a visit. One takes about a millisecond where nothing is in its way, and more on a
/// machine that is busy; two copies of large files may keep all other threads for long.
const PATIENCE: Duration = Duration::from_millis(100);
/// After so many visits in a row that were late, or gave nothing, there are no more.
const IN_VAIN_AT_MOST: u32 = 8;
/// Where our own listings begin: no directory has as many entries.
const OWN_LISTING: u64 = 1 << 62;
/// The largest part of a listing: room for the names and attributes of more objects than mostly wait.
const PART_LEN: usize = 64 << 10;

/// Objects of the directory that is being listed.
#[derive(Debug)]
pub(super) struct Visited {
    pub(super) of: OutdatedIn,
    /// How many of them are done.
    done: AtomicUsize,
}

impl Visited {
    /// The objects up to one were given.
    pub(super) fn given_up_to(&self, object: usize) {
        self.done.store(object, Ordering::Release);
    }
}

/// What serving threads and the visitor share.
#[derive(Debug, Default)]
struct Shared {
    /// What is being listed.
    current: Mutex<Option<Arc<Visited>>>,
    /// A visit is on, or a thread looks whether there is to be one.
    busy: AtomicBool,
}

/// A visit that is wished for.
#[derive(Debug)]
struct Visit {
    todo: Outdated,
    /// Takes how many objects it gave.
    done: SyncSender<usize>,
}

/// The visitor of one mount, as serving threads see it.
#[derive(Debug, Default)]
pub(super) struct Refresher {
    shared: Arc<Shared>,
    /// Set once the mount is to be visited.
    visits: OnceLock<SyncSender<Visit>>,
    /// The visitor has given up.
    over: AtomicBool,
}

impl Refresher {
    /// Visits the mount from now on: the one at `target` with this device number, `MAJOR:MINOR`.
    pub(super) fn start(&self, target: PathBuf, device: String) -> Result<()> {
        let (visits, wishes) = sync_channel(1);
        let (report, ready) = sync_channel(1);
        let visitor = Visitor { shared: self.shared.clone(), target, device };
        let run = move || {
            let left = leave_descriptors();
            let may_visit = left.is_ok();
            if report.send(left).is_ok() && may_visit {
                visitor.run(&wishes);
            }
        };
        std::thread::Builder::new().name("visitor".into()).stack_size(64 << 10).spawn(run)?;
        match ready.recv() {
            Ok(left) => left.map_err(Error::other)?,
            Err(_) => return Err(Error::other("the thread panicked")),
        }
        self.visits.set(visits).map_err(|_| Error::other("the mount is visited already"))
    }

    /// Told that the kernel will take an object's attributes for stale.
    pub(super) fn note(&self, overlay: &Overlay, ino: Ino) {
        if self.visits.get().is_some() && !self.over.load(Ordering::Relaxed) {
            overlay.note_outdated(ino);
        }
    }

    /// Has the attributes given that wait, if there are enough. Only while a request keeps the mount busy;
    /// `listed` is the directory that it lists.
    pub(super) fn refresh(&self, overlay: &Overlay, listed: Option<Ino>) {
        let Some(visits) = self.visits.get() else { return };
        if self.shared.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(todo) = overlay.take_outdated(ENOUGH, listed) else {
            return self.shared.busy.store(false, Ordering::Release);
        };
        let (done, answer) = sync_channel(1);
        if visits.try_send(Visit { todo, done }).is_err() {
            return self.over.store(true, Ordering::Relaxed);
        }
        match answer.recv_timeout(PATIENCE) {
            Ok(given) => log::debug!("a visit of the mount gave the attributes of {given} objects"),
            Err(RecvTimeoutError::Timeout) => log::debug!("a visit of the mount takes long"),
            Err(RecvTimeoutError::Disconnected) => log::debug!("the mount is not visited any more"),
        }
    }

    /// What is being visited, if this request for a listing comes from the visitor, and from which object on.
    pub(super) fn visited(&self, directory: Ino, cookie: u64) -> Option<(Arc<Visited>, usize)> {
        let from = usize::try_from(cookie.checked_sub(OWN_LISTING)?).ok()?;
        let current = self.shared.current.lock().clone()?;
        (current.of.directory == directory).then_some((current, from))
    }

    /// Where our own listing goes on after so many objects.
    pub(super) fn cookie(object: usize) -> u64 {
        OWN_LISTING + object as u64
    }
}

/// The thread that visits. It has plain data only: what owns a descriptor must not be dropped by it.
struct Visitor {
    shared: Arc<Shared>,
    target: PathBuf,
    device: String,
}

impl Visitor {
    /// Visits until the mount ends, is not at its place any more, or visits are in vain.
    fn run(&self, wishes: &Receiver<Visit>) {
        let mut buffer = Vec::with_capacity(PART_LEN);
        let mut in_vain = 0;
        for Visit { todo, done } in wishes {
            let visited = self.visit(todo, &mut buffer);
            *self.shared.current.lock() = None;
            self.shared.busy.store(false, Ordering::Release);
            let Ok(given) = visited else { return };
            // Who has lost patience does not listen.
            let heard = done.send(given).is_ok();
            in_vain = if heard && given > 0 { 0 } else { in_vain + 1 };
            if in_vain == IN_VAIN_AT_MOST {
                return;
            }
        }
    }

    /// Answers of how many objects the attributes were given. Others moved, or are where we may not look.
    fn visit(&self, todo: Outdated, buffer: &mut Vec<u8>) -> std::result::Result<usize, SysError> {
        let root = root_of_mount(&self.target, &self.device)?;
        let mut given = 0;
        for of in todo.listed {
            let visited = Arc::new(Visited { of, done: AtomicUsize::new(0) });
            *self.shared.current.lock() = Some(visited.clone());
            if let Ok(directory) = directory_of_mount(root.as_fd(), &visited.of.path) {
                list(directory.as_fd(), &visited, buffer);
            }
            given += visited.done.load(Ordering::Acquire);
        }
        Ok(given + todo.alone.iter().filter(|path| look_once(root.as_fd(), path).is_ok()).count())
    }
}

/// Lists a directory until all its objects are done, or no more are given.
fn list(directory: BorrowedFd<'_>, visited: &Visited, buffer: &mut Vec<u8>) {
    let is_done = || visited.done.load(Ordering::Acquire) == visited.of.objects.len();
    let list = |buffer: &mut Vec<u8>| {
        let before = visited.done.load(Ordering::Acquire);
        let listed = list_once(directory, Refresher::cookie(before), buffer);
        listed.is_ok() && visited.done.load(Ordering::Acquire) > before
    };
    // A listing that fills its last page to the end the kernel takes for all there is, at any offset.
    if list(buffer) || (drop_pages(directory).is_ok() && list(buffer)) {
        while !is_done() && list(buffer) {}
    }
}
