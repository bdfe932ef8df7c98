//! The control socket of a mount: answers with its request counts.
//!
//! It is an abstract Unix socket named after the mount's device number, so that asking sends no
//! request to the mount and leaves no file behind. Any user of the machine may ask.

use super::stats::Stats;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long others are waited for: those who do not read, and those who do not end.
const PATIENCE: Duration = Duration::from_secs(2);

/// The types of mounts, as mountinfo has them.
const KINDS: [&str; 2] = ["fuse.layerfs", "fuse.fuse-overlayfs"];

fn address(device: &str) -> Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("layerfs/{device}"))
}

/// What mountinfo says of a mount.
pub(super) struct MountLine {
    /// `MAJOR:MINOR`.
    pub(super) device: String,
    /// As `fuse.layerfs`.
    pub(super) kind: String,
    /// The options of the mount and of its filesystem, separated by commas.
    pub(super) options: String,
}

impl MountLine {
    /// Whether this program serves it.
    pub(super) fn is_ours(&self) -> bool {
        KINDS.contains(&self.kind.as_str())
    }
}

/// The topmost mount at a path, read without touching it.
pub(super) fn mount_at(mount_point: &Path) -> Result<MountLine> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let wanted = escape(mount_point.as_os_str().as_encoded_bytes());
    let line = table.split(|b| *b == b'\n').filter_map(|line| parse_line(line, &wanted)).next_back();
    line.ok_or_else(|| Error::other(format!("{}: not a mount point", mount_point.display())))
}

/// `ID PARENT MAJOR:MINOR ROOT PLACE OPTIONS [TAG…] - TYPE SOURCE OPTIONS`
fn parse_line(line: &[u8], place: &[u8]) -> Option<MountLine> {
    let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let text = |at: usize| fields.get(at).map(|field| String::from_utf8_lossy(field).into_owned());
    if *fields.get(4)? != place {
        return None;
    }
    let tail = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    let options = format!("{},{}", text(5)?, text(tail + 3)?);
    Some(MountLine { device: text(2)?, kind: text(tail + 1)?, options })
}

/// The device number `MAJOR:MINOR` of the topmost mount at a path, which must be of this program.
pub(super) fn device_of(mount_point: &Path) -> Result<String> {
    let line = mount_at(mount_point)?;
    match line.is_ours() {
        true => Ok(line.device),
        false => Err(Error::other(format!("{}: not a mount of layerfs", mount_point.display()))),
    }
}

/// A path as mountinfo writes it.
fn escape(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for b in path {
        match b {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{b:03o}").into_bytes()),
            _ => escaped.push(*b),
        }
    }
    escaped
}

/// Answers each connection with the counts, on a thread of its own.
pub(super) fn listen(device: &str, stats: Arc<Stats>) -> Result<()> {
    let address = address(device)?;
    // At once where it can be, so that who mounted can ask.
    let first = UnixListener::bind_addr(&address);
    let serve = move || match first.or_else(|_| bind(&address)) {
        Ok(listener) => listener.incoming().for_each(|connection| {
            if let Err(e) = connection.and_then(|stream| answer(stream, &stats)) {
                log::debug!("control socket: {e}");
            }
        }),
        Err(e) => log::warn!("no control socket, --stats will not work: {e}"),
    };
    std::thread::Builder::new().name("control".into()).stack_size(64 << 10).spawn(serve).map(drop)
}

/// The kernel gives a device number anew at once, while the process that served it may still be ending.
fn bind(address: &SocketAddr) -> Result<UnixListener> {
    patiently(ErrorKind::AddrInUse, || UnixListener::bind_addr(address))
}

/// Tries again for a while as long as this is what fails.
fn patiently<T>(while_it_is: ErrorKind, attempt: impl Fn() -> Result<T>) -> Result<T> {
    let pause = Duration::from_millis(20);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        match attempt() {
            Err(e) if e.kind() == while_it_is => std::thread::sleep(pause),
            done => return done,
        }
    }
    attempt()
}

fn answer(mut stream: UnixStream, stats: &Stats) -> Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(stats.report().as_bytes())
}

/// Asks the mount at a path for its request counts: lines `NAME COUNT`, then `total COUNT`.
pub fn query_stats(mount_point: &Path) -> Result<String> {
    let device = device_of(mount_point)?;
    let address = address(&device)?;
    let mut stream = patiently(ErrorKind::ConnectionRefused, || UnixStream::connect_addr(&address))
        .map_err(|e| Error::other(format!("{}: no layerfs answers ({e})", mount_point.display())))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_mountinfo_does() {
        assert_eq!(escape(b"/a b\\c"), b"/a\\040b\\134c");
    }

    #[test]
    fn m12_options_of_mount_and_filesystem_are_read() {
        let line = b"36 35 0:42 / /a\\040b rw,noatime shared:1 master:2 - fuse.layerfs src ro,user_id=0";
        let mount = parse_line(line, b"/a\\040b").unwrap();
        assert_eq!((&*mount.device, &*mount.kind), ("0:42", "fuse.layerfs"));
        assert_eq!(mount.options, "rw,noatime,ro,user_id=0");
        assert!(parse_line(line, b"/a").is_none());
    }

    #[test]
    fn what_is_no_mount_of_layerfs_is_said_so() {
        let said = |path| device_of(Path::new(path)).unwrap_err().to_string();
        assert_eq!(said("/"), "/: not a mount of layerfs");
        assert_eq!(said("/proc/self/fd"), "/proc/self/fd: not a mount point");
    }
}
