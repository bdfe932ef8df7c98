//! How things are written for people: paths, modes, sizes, times.

use super::node::Child;
use crate::layer::Layer;
use crate::semantics::names::{OPAQUE_FILE, WHITEOUT_PREFIX};
use crate::types::{FileKind, Timestamp};
use jiff::tz::TimeZone;
use std::fmt::{Display, Formatter, Write};

/// A path or name in a message: what a terminal would act on is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathText(Box<[u8]>);

impl PathText {
    /// The path itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for PathText {
    fn from(path: &[u8]) -> Self {
        PathText(path.into())
    }
}

impl From<Vec<u8>> for PathText {
    fn from(path: Vec<u8>) -> Self {
        PathText(path.into())
    }
}

impl<const N: usize> From<&[u8; N]> for PathText {
    fn from(path: &[u8; N]) -> Self {
        PathText(path.as_slice().into())
    }
}

impl Display for PathText {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c.is_control() {
                    true => write!(f, "{}", c.escape_default())?,
                    false => f.write_char(c)?,
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

/// How names are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameStyle {
    /// As they are: for programs.
    #[default]
    Raw,
    /// What a terminal would act on is a `?`: for terminals.
    Safe,
}

impl NameStyle {
    /// The name as it is to be printed.
    pub fn apply(self, name: &[u8]) -> Vec<u8> {
        if self == NameStyle::Raw {
            return name.to_vec();
        }
        let mut safe = String::new();
        for chunk in name.utf8_chunks() {
            safe.extend(chunk.valid().chars().map(|c| if c.is_control() { '?' } else { c }));
            safe.extend(chunk.invalid().iter().map(|_| '?'));
        }
        safe.into_bytes()
    }
}

/// The name of what stands there; of a whiteout its name in the form of OCI.
pub fn shown_name(name: &[u8], child: &Child) -> Vec<u8> {
    match child {
        Child::Object(_) => name.to_vec(),
        Child::Whiteout => [WHITEOUT_PREFIX, name].concat(),
    }
}

/// The name under which the mark of an opaque directory is shown in it.
pub const OPAQUE_NAME: &[u8] = OPAQUE_FILE;

/// The letter of a kind, as `ls` and `find` have it.
pub fn kind_letter(kind: FileKind) -> char {
    match kind {
        FileKind::Regular => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::CharDevice => 'c',
        FileKind::BlockDevice => 'b',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
    }
}

/// The letter of a whiteout, as the BSDs' `ls` has it.
pub const WHITEOUT_LETTER: char = 'w';

/// A kind in words.
pub fn kind_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::CharDevice => "character device",
        FileKind::BlockDevice => "block device",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
    }
}

/// The mode as `ls -l` writes it.
pub fn mode_text(kind: FileKind, mode: u32) -> String {
    let mut text = String::from(kind_letter(kind));
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A size in powers of 1024 as `ls -h` writes it: rounded up, one decimal below 10.
pub fn human_size(bytes: u64) -> String {
    const UNITS: &[u8] = b"KMGTPE";
    let mut unit = None;
    let mut divisor = 1u128;
    let whole = u128::from(bytes);
    for (at, _) in UNITS.iter().enumerate() {
        if whole.div_ceil(divisor) < 1024 {
            break;
        }
        divisor <<= 10;
        unit = Some(UNITS[at] as char);
    }
    let Some(unit) = unit else { return bytes.to_string() };
    let tenths = (whole * 10).div_ceil(divisor);
    match tenths < 100 {
        true => format!("{}.{}{unit}", tenths / 10, tenths % 10),
        false => format!("{}{unit}", whole.div_ceil(divisor)),
    }
}

/// Writes times as `ls -l` does: with the time of day if within half a year before now.
#[derive(Clone, Debug)]
pub struct TimeText {
    zone: TimeZone,
    now: i64,
}

/// Half of the mean year of the Gregorian calendar, in seconds, as GNU ls has it.
const HALF_YEAR: i64 = 31_556_952 / 2;

impl TimeText {
    /// In a time zone, as seen at a time in seconds since the epoch.
    pub fn new(zone: TimeZone, now: i64) -> Self {
        TimeText { zone, now }
    }

    /// In the zone of the machine, now.
    pub fn system() -> Self {
        TimeText::new(TimeZone::system(), jiff::Timestamp::now().as_second())
    }

    /// The time in twelve columns.
    pub fn text(&self, time: Timestamp) -> String {
        let at = jiff::Timestamp::from_second(time.secs);
        // Years that the calendar does not have.
        let Ok(at) = at else { return format!("@{}", time.secs) };
        let recent = self.now - time.secs < HALF_YEAR && time.secs <= self.now;
        let format = if recent { "%b %e %H:%M" } else { "%b %e  %Y" };
        at.to_zoned_datetime(self.zone.clone()).strftime(format).to_string()
    }

    /// The time to the second, for `diff`.
    pub fn exact(&self, time: Timestamp) -> String {
        match jiff::Timestamp::from_second(time.secs) {
            Ok(at) => at.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
            Err(_) => format!("@{}", time.secs),
        }
    }
}

/// Whether a layer's object has an access list beyond its mode, which `ls -l` marks by a `+`.
pub(super) fn has_acl(layer: &dyn Layer, object: &crate::layer::Object) -> crate::sys::Result<bool> {
    let names = layer.list_xattrs(object)?;
    Ok(names.split(|b| *b == 0).any(|name| name.starts_with(b"system.posix_acl_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_like_ls() {
        assert_eq!(mode_text(FileKind::Regular, 0o644), "-rw-r--r--");
        assert_eq!(mode_text(FileKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(mode_text(FileKind::Regular, 0o6755), "-rwsr-sr-x");
        assert_eq!(mode_text(FileKind::Fifo, 0o7000), "p--S--S--T");
    }

    #[test]
    fn sizes_read_like_ls_h() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10_240, "10K"),
            (10_241, "11K"),
            (1 << 20, "1.0M"),
            ((1 << 20) - 1, "1.0M"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(human_size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn times_read_like_ls() {
        let text = TimeText::new(TimeZone::UTC, 1_000_000_000);
        let at = |secs| text.text(Timestamp { secs, nanos: 0 });
        assert_eq!(at(999_999_999), "Sep  9 01:46");
        assert_eq!(at(0), "Jan  1  1970");
        assert_eq!(at(1_000_000_001), "Sep  9  2001");
        assert_eq!(at(i64::MAX), format!("@{}", i64::MAX));
    }

    #[test]
    fn names_cannot_talk_to_the_terminal() {
        assert_eq!(NameStyle::Safe.apply("a\u{1b}[2Jé".as_bytes()), "a?[2Jé".as_bytes());
        assert_eq!(NameStyle::Safe.apply(b"\xff\n"), b"??");
        assert_eq!(NameStyle::Raw.apply(b"\xff\n"), b"\xff\n");
        assert_eq!(PathText::from(b"/a\n\xff").to_string(), "/a\\n\\xff");
    }
}
