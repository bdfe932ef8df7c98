//! What is told to the kernel unasked, by a thread of its own: the kernel may wait for requests that
//! a serving thread must answer, so a serving thread never waits for the kernel (of the threads of a queue of
//! io_uring all but one may).
//!
//! 1. *Seeking for data and holes where pages may be dirty.* The kernel asks without writing back
//!    first, so the backing file does not yet have what was written. Invalidating the inode makes it
//!    write back. It also drops what is cached: seeks that dirty pages cannot change do not come here.
//! 2. *Attributes that reading made stale.* After a READ the client takes the access time of a file for
//!    stale, after a READDIRPLUS that of a directory, and would ask for the attributes of each with a
//!    request of its own. A listing that it has to read anew brings all of a directory at once.

use super::convert::errno;
use crate::overlay::{Error, Overlay, SeekTo};
use crate::sys::Errno;
use crate::types::Ino;
use fuser::{INodeNo, Notifier};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Takes the answer to a seek.
pub(super) type SeekReply = Box<dyn FnOnce(Result<i64, Errno>) + Send>;

/// A seek that waits for its answer.
pub(super) struct Seek {
    pub(super) ino: Ino,
    pub(super) offset: u64,
    pub(super) whence: SeekTo,
    pub(super) reply: SeekReply,
}

/// What is to be done.
pub(super) enum Notice {
    /// Let the kernel write a file back, then answer.
    Seek(Seek),
    /// Let the kernel drop its listing of a directory.
    Relist(Ino),
}

/// Where serving threads leave notices.
pub(super) type Notices = Sender<Notice>;

/// The queue of one mount; the receiver goes to [`start`] once the mount can be notified.
pub(super) fn queue() -> (Notices, Receiver<Notice>) {
    channel()
}

/// Serves the queue until its last sender is gone.
pub(super) fn start(overlay: Arc<Overlay>, notifier: Notifier, notices: Receiver<Notice>) -> io::Result<()> {
    let serve = move || {
        for notice in notices {
            match notice {
                Notice::Seek(seek) => answer(&overlay, &notifier, seek),
                Notice::Relist(directory) => invalidate(&notifier, directory),
            }
        }
    };
    std::thread::Builder::new().name("notices".into()).stack_size(64 << 10).spawn(serve).map(drop)
}

fn answer(overlay: &Overlay, notifier: &Notifier, seek: Seek) {
    let Seek { ino, offset, whence, reply } = seek;
    invalidate(notifier, ino);
    let found = overlay.seek(ino, offset, whence);
    let answer = found.and_then(|at| i64::try_from(at).map_err(|_| Error::Invalid));
    reply(answer.map_err(|e| errno("lseek", ino, e)));
}

/// Lets the kernel write back and drop the pages of an inode.
fn invalidate(notifier: &Notifier, ino: Ino) {
    // ENOENT: the kernel has forgotten the inode, so it holds nothing of it.
    if let Err(e) = notifier.inval_inode(INodeNo(ino.0), 0, 0) {
        log::debug!("invalidating inode {}: {e}", ino.0);
    }
}
