//! Seeking for data and holes where pages may be dirty, by a thread of its own.
//!
//! The kernel asks without writing back first, so the backing file does not yet have what was written.
//! Invalidating the inode makes it write back; it also drops what is cached, so seeks that dirty pages cannot
//! change do not come here. A serving thread would wait there for requests that a serving thread must answer
//! (of the threads of a queue of io_uring all but one may).

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

/// Where serving threads leave seeks.
pub(super) type Seeks = Sender<Seek>;

/// The queue of one mount; the receiver goes to [`start`] once the mount can be notified.
pub(super) fn queue() -> (Seeks, Receiver<Seek>) {
    channel()
}

/// Serves the queue until its last sender is gone.
pub(super) fn start(overlay: Arc<Overlay>, notifier: Notifier, seeks: Receiver<Seek>) -> io::Result<()> {
    let serve = move || seeks.into_iter().for_each(|seek| answer(&overlay, &notifier, seek));
    std::thread::Builder::new().name("seeks".into()).stack_size(64 << 10).spawn(serve).map(drop)
}

fn answer(overlay: &Overlay, notifier: &Notifier, seek: Seek) {
    let Seek { ino, offset, whence, reply } = seek;
    // ENOENT: the kernel has forgotten the inode, so it holds nothing of it.
    if let Err(e) = notifier.inval_inode(INodeNo(ino.0), 0, 0) {
        log::debug!("invalidating inode {}: {e}", ino.0);
    }
    let found = overlay.seek(ino, offset, whence);
    let answer = found.and_then(|at| i64::try_from(at).map_err(|_| Error::Invalid));
    reply(answer.map_err(|e| errno("lseek", ino, e)));
}
