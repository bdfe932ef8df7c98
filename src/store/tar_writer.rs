//! Writing a tar: ustar headers, and pax records where those do not suffice.
//!
//! The same entries give the same bytes: owners are numbers, and nothing but the entries themselves
//! is written.

use crate::types::{Attr, FileKind, Timestamp};
use std::io::{Result, Write};
use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// The first number that seven octal digits cannot hold.
const NUMBER_END: u64 = 1 << 21;
/// The first number that eleven octal digits cannot hold.
const LONG_NUMBER_END: u64 = 1 << 33;
/// The name of an entry that holds pax records; extractors that know them never make it.
const PAX_NAME: &[u8] = b"././@PaxHeader";
const XATTR_KEY: &[u8] = b"SCHILY.xattr.";

/// What an entry is, with what only its kind has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'e> {
    /// A regular file of this length; the data follows.
    File(u64),
    /// A further name of the entry at this path.
    HardLink(&'e [u8]),
    /// A symlink with its target.
    Symlink(&'e [u8]),
    /// A directory, device or fifo, as the attributes say.
    Plain,
}

/// An entry without its data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'e> {
    /// Its path, without a slash at the begin or the end; `.` is the root.
    pub(super) path: &'e [u8],
    /// Its attributes.
    pub(super) attr: &'e Attr,
    /// Its xattrs, sorted; see [`can_hold_xattr`].
    pub(super) xattrs: &'e [(Vec<u8>, Vec<u8>)],
    /// What it is.
    pub(super) body: Body<'e>,
}

/// Whether a pax record can name this xattr: the key ends at the first `=`.
pub(super) fn can_hold_xattr(name: &[u8]) -> bool {
    !name.contains(&b'=')
}

/// Writes entries one after the other.
pub(super) struct TarWriter<'w> {
    out: &'w mut dyn Write,
    /// Later times of modification become this one.
    clamp: Option<i64>,
    /// Bytes of data of the current entry.
    data: u64,
}

impl<'w> TarWriter<'w> {
    pub(super) fn new(out: &'w mut dyn Write, clamp: Option<i64>) -> Self {
        TarWriter { out, clamp, data: 0 }
    }

    /// Begins an entry; of a file all data must follow, and then [`TarWriter::end_data`].
    pub(super) fn begin(&mut self, entry: &Entry<'_>) -> Result<()> {
        let mut header = Header::new_ustar();
        let mut pax = Vec::new();
        let attr = entry.attr;
        header.set_mode(attr.mode);
        header.set_entry_type(entry_type(entry));
        set_path(&mut header, entry, &mut pax);
        if let Body::HardLink(target) | Body::Symlink(target) = entry.body
            && let Some(ustar) = header.as_ustar_mut()
            && !fill(&mut ustar.linkname, target)
        {
            fill(&mut ustar.linkname, &target[..100]);
            record(&mut pax, b"linkpath", target);
        }
        for (key, id) in [(&b"uid"[..], u64::from(attr.uid)), (b"gid", u64::from(attr.gid))] {
            if id >= NUMBER_END {
                record(&mut pax, key, id.to_string().as_bytes());
            }
        }
        let fit = |id: u32| if u64::from(id) < NUMBER_END { id.into() } else { 0 };
        header.set_uid(fit(attr.uid));
        header.set_gid(fit(attr.gid));
        let size = if let Body::File(size) = entry.body { size } else { 0 };
        header.set_size(if size < LONG_NUMBER_END { size } else { 0 });
        if size >= LONG_NUMBER_END {
            record(&mut pax, b"size", size.to_string().as_bytes());
        }
        self.set_time(&mut header, attr.mtime, &mut pax);
        if matches!(attr.kind, FileKind::CharDevice | FileKind::BlockDevice) {
            header.set_device_major(attr.rdev.major)?;
            header.set_device_minor(attr.rdev.minor)?;
        }
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| can_hold_xattr(name)) {
            record(&mut pax, &[XATTR_KEY, name].concat(), value);
        }
        if !pax.is_empty() {
            self.write_pax(&pax)?;
        }
        header.set_cksum();
        self.data = 0;
        self.out.write_all(header.as_bytes())
    }

    fn set_time(&self, header: &mut Header, mtime: Timestamp, pax: &mut Vec<u8>) {
        let mtime = match self.clamp {
            Some(latest) if mtime.secs >= latest => Timestamp { secs: latest, nanos: 0 },
            _ => mtime,
        };
        let whole = u64::try_from(mtime.secs).ok().filter(|secs| *secs < LONG_NUMBER_END);
        if whole.is_none() || mtime.nanos != 0 {
            record(pax, b"mtime", time_text(mtime).as_bytes());
        }
        header.set_mtime(whole.unwrap_or(0));
    }

    fn write_pax(&mut self, records: &[u8]) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(records.len() as u64);
        if let Some(ustar) = header.as_ustar_mut() {
            fill(&mut ustar.name, PAX_NAME);
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.data = 0;
        self.write_data(records)?;
        self.end_data()
    }

    /// Data of the entry that was begun.
    pub(super) fn write_data(&mut self, data: &[u8]) -> Result<()> {
        self.data += data.len() as u64;
        self.out.write_all(data)
    }

    /// All data of the entry is written.
    pub(super) fn end_data(&mut self) -> Result<()> {
        let over = usize::try_from(self.data % BLOCK).unwrap_or(0);
        let pad = [0u8; BLOCK as usize];
        if over > 0 { self.out.write_all(&pad[over..]) } else { Ok(()) }
    }

    /// Ends the archive.
    pub(super) fn finish(self) -> Result<()> {
        self.out.write_all(&[0u8; 2 * BLOCK as usize])?;
        self.out.flush()
    }
}

fn entry_type(entry: &Entry<'_>) -> EntryType {
    match (entry.body, entry.attr.kind) {
        (Body::File(_), _) => EntryType::Regular,
        (Body::HardLink(_), _) => EntryType::Link,
        (Body::Symlink(_), _) => EntryType::Symlink,
        (Body::Plain, FileKind::Directory) => EntryType::Directory,
        (Body::Plain, FileKind::CharDevice) => EntryType::Char,
        (Body::Plain, FileKind::BlockDevice) => EntryType::Block,
        (Body::Plain, FileKind::Fifo) => EntryType::Fifo,
        (Body::Plain, FileKind::Regular | FileKind::Symlink | FileKind::Socket) => EntryType::Regular,
    }
}

fn set_path(header: &mut Header, entry: &Entry<'_>, pax: &mut Vec<u8>) {
    let mut path = entry.path.to_vec();
    if entry.attr.kind.is_dir() {
        path.push(b'/');
    }
    let Some(ustar) = header.as_ustar_mut() else { return };
    if fill(&mut ustar.name, &path) {
        return;
    }
    match split(&path) {
        Some(at) => {
            fill(&mut ustar.prefix, &path[..at]);
            fill(&mut ustar.name, &path[at + 1..]);
        }
        None => {
            fill(&mut ustar.name, &path[..100]);
            record(pax, b"path", &path);
        }
    }
}

/// Where a path is split into prefix and name so that both fit.
fn split(path: &[u8]) -> Option<usize> {
    let first = path.len().saturating_sub(101);
    let slash = |at: &usize| path[*at] == b'/' && *at > 0;
    (first..path.len().saturating_sub(1)).find(slash).filter(|at| *at <= 155)
}

/// Puts text into a field; false if it does not fit.
fn fill(field: &mut [u8], text: &[u8]) -> bool {
    if text.len() > field.len() {
        return false;
    }
    field[..text.len()].copy_from_slice(text);
    field[text.len()..].fill(0);
    true
}

/// Seconds with as many decimals as the time has.
fn time_text(time: Timestamp) -> String {
    let nanos = i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let text = format!("{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Appends `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(pax: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut digits = 1;
    while (rest + digits).to_string().len() > digits {
        digits += 1;
    }
    pax.extend_from_slice((rest + digits).to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        pax.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_length() {
        for len in 0..2000 {
            let mut pax = Vec::new();
            record(&mut pax, b"key", &vec![b'v'; len]);
            let space = pax.iter().position(|b| *b == b' ').unwrap();
            let said: usize = std::str::from_utf8(&pax[..space]).unwrap().parse().unwrap();
            assert_eq!(said, pax.len());
        }
    }

    #[test]
    fn times_have_no_more_decimals_than_needed() {
        let text = |secs, nanos| time_text(Timestamp { secs, nanos });
        assert_eq!(text(5, 0), "5");
        assert_eq!(text(5, 120_000_000), "5.12");
        assert_eq!(text(-1, 500_000_000), "-0.5");
        assert_eq!(text(-3, 999_999_999), "-2.000000001");
        assert_eq!(text(10, 0), "10");
    }

    #[test]
    fn paths_are_split_so_that_both_parts_fit() {
        for (dir, name) in [(155, 100), (1, 100), (155, 1), (120, 99), (156, 100), (155, 101)] {
            let path = [vec![b'd'; dir], b"/".to_vec(), vec![b'n'; name]].concat();
            let fits = dir <= 155 && name <= 100;
            let at = split(&path);
            assert_eq!(at, fits.then_some(dir), "{dir} {name}");
        }
        // The slash at the end of a directory's path is no place to split.
        assert_eq!(split(&[vec![b'd'; 120], b"/".to_vec()].concat()), None);
    }
}
