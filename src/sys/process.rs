//! The process itself: limits, signals, going to the background.

use super::error::{Result, SysError, call, check, last_errno};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use std::mem::MaybeUninit;
use std::os::fd::FromRawFd;

/// The effective user id.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The effective user and group ids.
pub fn effective_ids() -> (u32, u32) {
    (effective_uid(), rustix::process::getegid().as_raw())
}

/// Makes the mode of new files exactly what the calls say.
pub fn clear_umask() {
    rustix::process::umask(rustix::fs::Mode::empty());
}

/// The supplementary groups of a process; none if it is not to be seen.
pub fn supplementary_groups(pid: u32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    line.into_iter().flat_map(str::split_whitespace).filter_map(|group| group.parse().ok()).collect()
}

/// Gives memory that was freed back to the system.
#[allow(unsafe_code)]
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a plain number and locks what it touches.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Raises the soft limit of open files to the hard one; answers the limit in force.
pub fn raise_file_limit() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(1 << 20),
        Err(_) => limit.current.unwrap_or(1024),
    }
}

/// Keeps glibc from giving each thread an arena of its own, which would keep freed memory apart.
#[allow(unsafe_code)]
pub fn tune_allocator() {
    #[cfg(target_env = "gnu")]
    // SAFETY: plain numbers; called before other threads exist. A refusal only costs memory.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        // Give back at once what is freed at the top of the heap.
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20);
    }
}

/// A signal the driver acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: end the mount.
    Terminate,
    /// SIGHUP: forget what is known of the lowers.
    Reload,
    /// SIGUSR1: print the request counts.
    Report,
}

/// The signals of [`Signal`], blocked and waited for.
#[derive(Debug)]
pub struct Signals {
    set: libc::sigset_t,
}

/// Blocks the signals of [`Signal`] in this thread and all it starts from here on.
#[allow(unsafe_code)]
pub fn block_signals() -> Result<Signals> {
    call("pthread_sigmask", || {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set before the other calls read it.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            let mut set = set.assume_init();
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1] {
                libc::sigaddset(&raw mut set, signal);
            }
            set
        };
        // SAFETY: the set is initialised and no old set is asked for.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
            0 => Ok(Signals { set }),
            errno => Err(Errno::from_raw_os_error(errno)),
        }
    })
}

impl Signals {
    /// Waits for the next signal.
    #[allow(unsafe_code)]
    pub fn wait(&self) -> Result<Signal> {
        let mut signal = 0;
        // SAFETY: both pointers lead to live values of the right type.
        match unsafe { libc::sigwait(&raw const self.set, &raw mut signal) } {
            0 => Ok(match signal {
                libc::SIGHUP => Signal::Reload,
                libc::SIGUSR1 => Signal::Report,
                _ => Signal::Terminate,
            }),
            errno => Err(SysError { call: "sigwait", errno: Errno::from_raw_os_error(errno) }),
        }
    }
}

/// The daemon's end of the pipe on which the parent waits to hear that the mount answers.
#[derive(Debug)]
pub struct Readiness {
    pipe: OwnedFd,
}

impl Readiness {
    /// Tells the parent that the mount answers, so that it exits with 0; and lets go of the terminal.
    #[allow(unsafe_code)]
    pub fn announce(self) -> Result<()> {
        let null = call("openat", || {
            rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())
        })?;
        for standard in 0..=2 {
            // SAFETY: dup2 onto the standard descriptors, which nothing here owns.
            let done = || check(unsafe { libc::dup2(null.as_raw_fd(), standard) }.into());
            call("dup2", || done().map(drop))?;
        }
        call("write", || rustix::io::write(self.pipe.as_fd(), b"+")).map(drop)
    }
}

/// Forks. The parent never returns: it exits with 0 once [`Readiness::announce`] is called, and
/// with 1 if the child ends before. The child gets a session of its own. Call it before threads start.
#[allow(unsafe_code)]
pub fn daemonize() -> Result<Readiness> {
    let (read, write) = {
        let mut fds = [0; 2];
        // SAFETY: the array has room for the two descriptors.
        let made = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) };
        call("pipe2", || check(made.into()))?;
        // SAFETY: pipe2 has just made both; nothing else owns them.
        unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) }
    };
    // SAFETY: the process has one thread, so the child may go on as it likes.
    match unsafe { libc::fork() } {
        -1 => Err(SysError { call: "fork", errno: last_errno() }),
        0 => {
            drop(read);
            call("setsid", rustix::process::setsid).map(drop)?;
            Ok(Readiness { pipe: write })
        }
        _ => {
            drop(write);
            let mut byte = [0u8; 1];
            let code = match rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut byte)) {
                Ok(1) => 0,
                _ => 1,
            };
            // SAFETY: ends the parent without running the destructors that the child still needs.
            unsafe { libc::_exit(code) }
        }
    }
}
