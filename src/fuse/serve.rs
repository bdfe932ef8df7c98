//! The life of a mount: mounted, serving, ended.

use super::capabilities::RingWish;
use super::face::Face;
use super::operations::Operations;
use super::reload::{AbsentNames, Reloader};
use super::stats::Stats;
use super::uring::Queues;
use super::{control, seeks};
use crate::config::{self, Settings};
use crate::overlay::Overlay;
use crate::sys::{
    AsFd, Errno, FuseMount, MountFlags, OwnedFd, Signal, Signals, SysError, duplicate, effective_uid,
    fuse_device, mount_fuse, mount_with_fusermount, sync_filesystem, unmount, unmount_detached,
    unmount_with_fusermount,
};
use fuser::{Config, Session, SessionACL};
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A mount that answers.
pub struct Served {
    ends: Receiver<Result<()>>,
    end: Sender<Result<()>>,
    target: PathBuf,
    stats: Arc<Stats>,
    privileged: bool,
    reloader: Reloader,
}

/// The FUSE device, opened before anything else is touched.
#[derive(Debug)]
pub struct Device(OwnedFd);

impl Device {
    /// Opens it; the error says what to do.
    pub fn open() -> Result<Self> {
        fuse_device().map(Device).map_err(|e| match e.errno {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => Error::other(
                "/dev/fuse is missing: load the fuse module (modprobe fuse), or pass the device into the container",
            ),
            _ => Error::other(format!("/dev/fuse: {e}")),
        })
    }
}

/// Mounts the overlay and serves it from threads; returns once the mount answers.
pub fn mount_and_serve(
    device: Device,
    overlay: Arc<Overlay>,
    source: &str,
    target: &Path,
    settings: &Settings,
) -> Result<Served> {
    let read_only = overlay.is_read_only();
    let (device, privileged) = mount(device, source, target, settings, read_only)?;
    let stats = Arc::new(Stats::default());
    let (seeks, waiting) = seeks::queue();
    let absent = Arc::new(AbsentNames::default());
    let operations = Operations::new(overlay.clone(), stats.clone(), seeks, absent.clone(), settings);
    let another = || duplicate(device.as_fd()).map_err(|e| Error::other(e.to_string()));
    let own_device = another()?;
    let (queues, prepared) = channel();
    let ring = match settings.io_uring {
        true => Some(RingWish { threads: settings.threads, device: another()?, queues }),
        false => None,
    };
    let operations = Arc::new(operations);
    let face = Face { operations: operations.clone(), ring };
    let mut config = Config::default();
    config.n_threads = Some(settings.threads.unwrap_or_else(default_threads));
    config.clone_fd = true;
    let (end_of_mount, ends) = channel();
    let end_of_session = end_of_mount.clone();
    let started = Session::from_fd(face, device, SessionACL::All, config).and_then(|session| {
        let ring: Option<Queues> = prepared.try_recv().ok();
        let over_ring = ring.is_some();
        ring.iter().for_each(Queues::go);
        seeks::start(overlay.clone(), session.notifier(), waiting)?;
        let reloader = Reloader { overlay, absent, notifier: session.notifier(), device: own_device };
        let run = move || {
            let ended = session.run();
            // After an error the mount goes on, and so would they.
            if ended.is_ok() {
                ring.into_iter().for_each(Queues::join);
            }
            if end_of_session.send(ended).is_err() {
                log::debug!("the mount ended before its session");
            }
        };
        std::thread::Builder::new().name("session".into()).stack_size(256 << 10).spawn(run)?;
        Ok((reloader, over_ring))
    });
    let (reloader, over_ring) = started.inspect_err(|_| end(target, privileged))?;
    // On a read-only filesystem nothing goes stale. While one thread waits for a visit, another must serve it; and
    // the kernel lets go of a ring, and of the device that it uses, only with the last thread of a process.
    let may_visit = !read_only && settings.cache.is_none() && settings.threads != Some(1) && !over_ring;
    let served = Served { ends, end: end_of_mount, target: target.to_owned(), stats, privileged, reloader };
    let device = served.greet().inspect_err(|_| end(target, privileged))?;
    if may_visit && let Err(e) = operations.start_refreshing(target, &device) {
        log::info!("the kernel asks for the attributes of each file that it has read: {e}");
    }
    Ok(served)
}

/// Raises the read-ahead of the mount from the kernel's 128 KiB, which the protocol can only lower.
/// Root may; for others it stays.
fn raise_read_ahead(device: &str) {
    const KIB: &str = "1024";
    if let Err(e) = std::fs::write(format!("/sys/class/bdi/{device}/read_ahead_kb"), KIB) {
        log::debug!("read-ahead stays as it is: {e}");
    }
}

/// As many threads as run at once, and one for a request that waits for the disk.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 15) + 1
}

fn mount(
    device: Device,
    source: &str,
    target: &Path,
    settings: &Settings,
    read_only: bool,
) -> Result<(OwnedFd, bool)> {
    let root = effective_uid() == 0;
    let allow_other = settings.allow_other.unwrap_or(root);
    let Device(device) = device;
    let mut data = String::from("default_permissions");
    if allow_other {
        data.push_str(",allow_other");
    }
    for (name, label) in &settings.labels {
        data.push_str(&format!(",{name}={label}"));
    }
    let mount = FuseMount {
        source,
        target,
        subtype: settings.manner.name(),
        flags: mount_flags(&settings.flags, read_only, root),
        data,
    };
    match mount_fuse(device.as_fd(), &mount) {
        Ok(()) => Ok((device, true)),
        Err(e) if e.errno == Errno::PERM => {
            drop(device);
            let options = fusermount_options(source, settings, read_only, allow_other);
            let device = mount_with_fusermount(target, &options).map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => {
                    Error::other("mounting as a user needs fusermount3: install fuse3")
                }
                _ => e,
            })?;
            Ok((device, false))
        }
        Err(e) => Err(Error::other(format!("{}: {e}", target.display()))),
    }
}

pub(super) fn mount_flags(flags: &config::MountFlags, read_only: bool, root: bool) -> MountFlags {
    let pairs = [
        (read_only, MountFlags::RDONLY),
        (flags.nosuid || !root, MountFlags::NOSUID),
        (flags.nodev || !root, MountFlags::NODEV),
        (flags.noexec, MountFlags::NOEXEC),
        (flags.noatime, MountFlags::NOATIME),
        (flags.nodiratime, MountFlags::NODIRATIME),
        (flags.strictatime, MountFlags::STRICTATIME),
        (flags.lazytime, MountFlags::LAZYTIME),
        (flags.sync, MountFlags::SYNCHRONOUS),
        (flags.dirsync, MountFlags::DIRSYNC),
    ];
    pairs.iter().filter(|(set, _)| *set).fold(MountFlags::empty(), |all, (_, flag)| all | *flag)
}

/// The same for fusermount3, which parts options by commas and keeps `\,`.
fn fusermount_options(source: &str, settings: &Settings, read_only: bool, allow_other: bool) -> String {
    let (flags, subtype) = (&settings.flags, settings.manner.name());
    let source = source.replace('\\', "\\\\").replace(',', "\\,");
    let mut options = format!("subtype={subtype},fsname={source},default_permissions");
    let pairs = [
        (read_only, "ro"),
        (allow_other, "allow_other"),
        (flags.noexec, "noexec"),
        (flags.noatime, "noatime"),
        (flags.sync, "sync"),
        (flags.dirsync, "dirsync"),
    ];
    for (_, option) in pairs.iter().filter(|(set, _)| *set) {
        options.push(',');
        options.push_str(option);
    }
    options
}

/// Takes a mount away that could not be served.
fn end(target: &Path, privileged: bool) {
    let ended = if privileged { unmount_detached(target) } else { unmount_with_fusermount(target, true) };
    if let Err(e) = ended {
        log::error!("{} stays mounted: {e}", target.display());
    }
}

impl Served {
    /// Asks the mount something, so that it is known to answer, and opens its control socket; answers its
    /// device number, `MAJOR:MINOR`.
    fn greet(&self) -> Result<String> {
        std::fs::metadata(&self.target)?;
        // Warms up: the kernel learns here that opens are answered without asking.
        drop(std::fs::read_dir(&self.target)?);
        let device = control::device_of(&self.target)?;
        raise_read_ahead(&device);
        control::listen(&device, self.stats.clone())?;
        Ok(device)
    }

    /// Serves until the mount ends: by umount, or by a signal that asks for it.
    pub fn run(self, signals: Signals) -> Result<()> {
        let Served { ends, end, target, stats, privileged, reloader } = self;
        let listener = Listener { target, stats, end, privileged, reloader };
        let listen = move || listener.listen(&signals);
        std::thread::Builder::new().name("signals".into()).stack_size(256 << 10).spawn(listen)?;
        ends.recv().map_err(|_| Error::other("a serving thread panicked"))?
    }
}

/// Acts on signals.
struct Listener {
    target: PathBuf,
    stats: Arc<Stats>,
    end: Sender<Result<()>>,
    privileged: bool,
    reloader: Reloader,
}

impl Listener {
    fn listen(&self, signals: &Signals) {
        loop {
            match signals.wait() {
                Ok(Signal::Report) => log::warn!("requests since the mount:\n{}", self.stats.report()),
                Ok(Signal::Reload) => self.reloader.run(),
                Ok(Signal::Terminate) => return self.terminate(),
                Err(e) => {
                    log::error!("signals are no longer heard: {e}");
                    return;
                }
            }
        }
    }

    /// Writes back what the kernel still holds, and takes the mount away.
    fn terminate(&self) {
        let synced = std::fs::File::open(&self.target).map(|root| sync_filesystem(&root));
        if let Err(e) =
            synced.map_err(|e| e.to_string()).and_then(|done| done.map_err(|e: SysError| e.to_string()))
        {
            log::error!("could not write back: {e}");
        }
        let taken =
            if self.privileged { unmount(&self.target) } else { unmount_with_fusermount(&self.target, true) };
        match taken {
            // The session ends by itself.
            Ok(()) if self.privileged => return,
            Ok(()) => {}
            Err(e) if e.errno == Errno::BUSY => {
                log::warn!("{} is in use: what is written to it from now on is lost", self.target.display());
                end(&self.target, self.privileged);
            }
            Err(e) => log::error!("umount {}: {e}", self.target.display()),
        }
        // A detached mount with open files would go on until they are closed: do not wait for that.
        if self.end.send(Ok(())).is_err() {
            log::debug!("the session ended first");
        }
    }
}
