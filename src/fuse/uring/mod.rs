//! The second transport: FUSE over io_uring (Linux 6.14 and newer, where `fuse.enable_uring` is set).
//!
//! 1. *A request is served on the processor of its caller.* The kernel has a queue for each processor; the
//!    threads of a queue are kept on it, so that nobody has to wake another processor.
//! 2. *A request that takes long holds up nobody*: each queue has more than one thread ([`Queues`]).
//! 3. *A mount must not hang because this fails.* From the reply to INIT on the kernel waits for an entry in
//!    each queue. All that can fail is done before ([`Queues::prepare`]), and an entry that the kernel refuses
//!    makes it go back to the device.
//!
//! The device stays in use: for INIT, FORGET, INTERRUPT and notices, and wherever there is no ring.
//! [`wire`] has the structures, [`exchange`] what is done with a request.

mod exchange;
mod wire;

use super::buffer::Patience;
use super::operations::Operations;
use crate::overlay::Ahead;
use crate::sys::{AsFd, BorrowedFd, Errno, FuseRing, SysError, Turn, possible_cpus, run_on_cpu};
use exchange::{Exchange, Waiting};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use wire::EntryHeader;
use zerocopy::FromBytes;

/// Threads in all, where there are few processors.
const THREADS: usize = 8;
/// Threads of a queue at least: one may wait for the disk.
const FEWEST: usize = 2;
/// Threads of a queue at most, unless more are asked for.
const MOST: usize = 4;

/// The threads of all queues, waiting to be let go.
#[derive(Debug)]
pub(super) struct Queues {
    threads: Vec<(SyncSender<()>, JoinHandle<()>)>,
}

impl Queues {
    /// Makes a ring for each thread of each queue, for requests and replies with so many bytes of payload.
    pub(super) fn prepare(
        device: BorrowedFd<'_>,
        operations: &Arc<Operations>,
        payload: usize,
        threads: Option<usize>,
    ) -> std::io::Result<Self> {
        let queues = possible_cpus().map_err(std::io::Error::other)?;
        let each = threads_of_each(usize::from(queues), threads);
        let mut prepared = Queues { threads: Vec::new() };
        for queue in 0..queues {
            let waiting = Arc::new(Waiting::among(each));
            for _ in 0..each {
                let thread =
                    Thread { operations: operations.clone(), waiting: waiting.clone(), queue, payload };
                prepared.threads.push(thread.start(device)?);
            }
        }
        log::info!("requests come over io_uring: {queues} queues, {each} threads each");
        Ok(prepared)
    }

    /// Offers all entries to the kernel, which knows by now that it is to use them.
    pub(super) fn go(&self) {
        for (start, _) in &self.threads {
            if start.send(()).is_err() {
                log::error!("a thread of the ring has ended");
            }
        }
    }

    /// Waits until the mount has ended for all threads.
    pub(super) fn join(self) {
        for (start, thread) in self.threads {
            // One that was never let go ends by this.
            drop(start);
            if thread.join().is_err() {
                log::error!("a thread of the ring panicked");
            }
        }
    }
}

fn threads_of_each(queues: usize, wanted: Option<usize>) -> usize {
    match wanted {
        Some(wanted) => wanted.div_ceil(queues).max(FEWEST),
        None => (THREADS / queues).clamp(FEWEST, MOST),
    }
}

/// A thread of a queue, before it runs.
struct Thread {
    operations: Arc<Operations>,
    waiting: Arc<Waiting>,
    queue: u16,
    payload: usize,
}

impl Thread {
    /// Starts it, up to where the kernel has to know of the ring.
    fn start(self, device: BorrowedFd<'_>) -> std::io::Result<(SyncSender<()>, JoinHandle<()>)> {
        let device = device.try_clone_to_owned()?;
        let (start, started) = sync_channel(1);
        let (report, ready) = sync_channel(1);
        let name = format!("ring-{}", self.queue);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            // A processor that this process may not use: any will do.
            if let Err(e) = run_on_cpu(self.queue) {
                log::debug!("queue {} is served from any processor: {e}", self.queue);
            }
            // Only the thread that made a ring may use it.
            let ring = FuseRing::new(device.as_fd(), self.queue, self.payload);
            // The ring has the device now.
            drop(device);
            self.run(ring, &report, &started);
        })?;
        match ready.recv() {
            Ok(Ok(())) => Ok((start, thread)),
            Ok(Err(e)) => Err(std::io::Error::other(e)),
            Err(_) => Err(std::io::Error::other("a thread of the ring panicked")),
        }
    }

    fn run(
        &self,
        ring: Result<FuseRing, SysError>,
        report: &SyncSender<Result<(), SysError>>,
        started: &Receiver<()>,
    ) {
        let (ring, result) = match ring {
            Ok(ring) => (Some(ring), Ok(())),
            Err(e) => (None, Err(e)),
        };
        // Nobody listens, or lets go, if the mount failed meanwhile.
        if report.send(result).is_err() || started.recv().is_err() {
            return;
        }
        if let Some(ring) = ring
            && let Err(e) = self.serve(ring)
        {
            log::warn!("a thread of queue {} of the ring ends: {e}", self.queue);
        }
    }

    /// Answers requests until the mount ends.
    fn serve(&self, mut ring: FuseRing) -> Result<(), SysError> {
        let mut patience = Patience::default();
        ring.register()?;
        while ring.wait()? == Turn::Request {
            let answered = self.answer(&mut ring)?;
            if patience.is_over(answered.payload)
                && let Err(e) = ring.trim(answered.payload)
            {
                log::debug!("memory of large requests is kept: {e}");
            }
            ring.commit(answered.commit_id)?;
            // The kernel may give this entry the next request meanwhile; that waits for little.
            if !answered.ahead.is_empty() {
                ring.submit()?;
                self.operations.read_ahead(&answered.ahead);
            }
        }
        Ok(())
    }

    /// Replaces the request in the entry by its reply.
    fn answer(&self, ring: &mut FuseRing) -> Result<Answered<'_>, SysError> {
        let (head, payload) = ring.entry();
        let head = EntryHeader::mut_from_bytes(head)
            .map_err(|_| SysError { call: "FUSE_IO_URING_CMD", errno: Errno::INVAL })?;
        let given = head.payload_len as usize;
        let mut exchange = Exchange {
            operations: &self.operations,
            waiting: &self.waiting,
            header: head.request,
            argument: &head.argument,
            payload,
            given,
            ahead: Ahead::default(),
        };
        let answer = exchange.carry_out();
        let ahead = std::mem::take(&mut exchange.ahead);
        let (error, len) = match answer {
            Ok(len) => (0, len),
            Err(errno) => (-errno.raw_os_error(), 0),
        };
        head.reply(error, u32::try_from(len).unwrap_or(0));
        Ok(Answered { commit_id: head.commit_id, payload: len.max(given), ahead })
    }
}

/// A request whose reply lies in the entry.
struct Answered<'a> {
    commit_id: u64,
    /// How much of the payload is in use.
    payload: usize,
    /// What is to be read ahead now.
    ahead: Ahead<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_has_two_threads_and_more_where_there_are_few() {
        assert_eq!(threads_of_each(1, None), 4);
        assert_eq!(threads_of_each(2, None), 4);
        assert_eq!(threads_of_each(4, None), 2);
        assert_eq!(threads_of_each(64, None), 2);
        assert_eq!(threads_of_each(2, Some(1)), 2);
        assert_eq!(threads_of_each(2, Some(9)), 5);
    }
}
