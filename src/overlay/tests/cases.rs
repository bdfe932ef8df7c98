//! The operations of several steps.

use super::super::{Entry, NewObject, Overlay, RenameMode, Result, WriteHow};
use super::dump::{ROOT, at};
use super::fixture::CAPABILITY;
use crate::sys::XattrSet;
use crate::types::{DeviceNumber, FileKind, Ino, SetAttr};

/// What is left to do once the names are looked up, as the kernel does it.
pub(super) type Op<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

/// One operation.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Done before it, without faults.
    pub(super) prepare: Option<fn(&Overlay) -> Result<()>>,
    /// Looks the names up and gives back the operation itself.
    pub(super) plan: fn(&Overlay) -> Result<Op<'_>>,
    /// Objects whose modification time the operation changes.
    pub(super) touched: &'static [&'static str],
    /// What of the dump may be lost on the way.
    pub(super) excused: &'static str,
}

const HOW: WriteHow = WriteHow { late: false, kill_set_id: false };
const MODE: SetAttr = SetAttr { mode: Some(0o4711), ..SetAttr::NOTHING };
const CUT: SetAttr = SetAttr { size: Some(1234), ..SetAttr::NOTHING };
const OWNER: SetAttr = SetAttr { uid: Some(7), gid: Some(8), ..SetAttr::NOTHING };
const FILE: NewObject<'_> = NewObject::Node(FileKind::Regular, DeviceNumber { major: 0, minor: 0 });
const ZERO: NewObject<'_> = NewObject::Node(FileKind::CharDevice, DeviceNumber { major: 0, minor: 0 });
const DIRECTORY: NewObject<'_> = NewObject::Directory;
const LINK: NewObject<'_> = NewObject::Symlink(b"somewhere");

fn split(path: &str) -> (&str, &[u8]) {
    let (dir, name) = path.rsplit_once('/').unwrap();
    (dir, name.as_bytes())
}

/// An operation on objects which the kernel knows until it is done.
fn held<'a, const N: usize>(
    entries: [Entry<'a>; N],
    op: impl FnOnce([Ino; N]) -> Result<()> + 'a,
) -> Result<Op<'a>> {
    Ok(Box::new(move || {
        let done = op(entries.each_ref().map(|entry| entry.ino));
        drop(entries);
        done
    }))
}

fn write<'a>(overlay: &'a Overlay, path: &str) -> Result<Op<'a>> {
    held([at(overlay, path)?], |[file]| overlay.write(file, 3, b"written", HOW))
}

fn set<'a>(overlay: &'a Overlay, path: &str, change: SetAttr) -> Result<Op<'a>> {
    held([at(overlay, path)?], move |[file]| overlay.set_attr(file, &change, ROOT).map(drop))
}

fn xattr<'a>(overlay: &'a Overlay, path: &str) -> Result<Op<'a>> {
    held([at(overlay, path)?], |[file]| overlay.set_xattr(file, b"user.more", b"2", XattrSet::Any, ROOT))
}

fn unlink<'a>(overlay: &'a Overlay, path: &'static str) -> Result<Op<'a>> {
    let (dir, name) = split(path);
    held([at(overlay, dir)?, at(overlay, path)?], move |[dir, _]| overlay.unlink(dir, name))
}

fn rmdir<'a>(overlay: &'a Overlay, path: &'static str) -> Result<Op<'a>> {
    let (dir, name) = split(path);
    held([at(overlay, dir)?, at(overlay, path)?], move |[dir, _]| overlay.rmdir(dir, name))
}

fn create<'a>(overlay: &'a Overlay, path: &'static str, new: NewObject<'static>) -> Result<Op<'a>> {
    let (dir, name) = split(path);
    held([at(overlay, dir)?], move |[dir]| overlay.create(dir, name, new, 0o755, ROOT).map(drop))
}

fn link<'a>(overlay: &'a Overlay, from: &str, to: &'static str) -> Result<Op<'a>> {
    let (dir, name) = split(to);
    held([at(overlay, from)?, at(overlay, dir)?], move |[file, dir]| overlay.link(file, dir, name).map(drop))
}

fn rename<'a>(
    overlay: &'a Overlay,
    from: &'static str,
    to: &'static str,
    mode: RenameMode,
) -> Result<Op<'a>> {
    let ((from_dir, name), (to_dir, new_name)) = (split(from), split(to));
    let target = at(overlay, to).ok();
    held([at(overlay, from_dir)?, at(overlay, to_dir)?, at(overlay, from)?], move |[from, to, _]| {
        let done = overlay.rename(from, name, to, new_name, mode);
        drop(target);
        done
    })
}

fn mv<'a>(overlay: &'a Overlay, from: &'static str, to: &'static str) -> Result<Op<'a>> {
    rename(overlay, from, to, RenameMode::Replace)
}

fn swap<'a>(overlay: &'a Overlay, from: &'static str, to: &'static str) -> Result<Op<'a>> {
    rename(overlay, from, to, RenameMode::Exchange)
}

fn metacopied(overlay: &Overlay) -> Result<()> {
    set(overlay, "low/cap", SetAttr { mode: Some(0o4755), ..SetAttr::NOTHING })?()?;
    overlay.set_xattr(
        at(overlay, "low/cap")?.ino,
        b"security.capability",
        &CAPABILITY,
        XattrSet::Any,
        ROOT,
    )?;
    set(overlay, "low/file", MODE)?()
}

/// Bringing the data drops the capability until all is there, as it does in the kernel's overlayfs;
/// the write that is to follow takes it away for good.
const CAPABILITY_GOES: &str =
    "security.capability=Ok([1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])";

/// A copied-up directory with nothing but a whiteout inside.
fn emptied(overlay: &Overlay) -> Result<()> {
    unlink(overlay, "both/full/x")?()
}

macro_rules! case {
    ($name:literal, $touched:expr, $plan:expr) => {
        Case { name: $name, prepare: None, plan: $plan, touched: &$touched, excused: "" }
    };
    ($name:literal, $touched:expr, $prepare:expr, $plan:expr) => {
        case!($name, $touched, $prepare, $plan, "")
    };
    ($name:literal, $touched:expr, $prepare:expr, $plan:expr, $excused:expr) => {
        Case { name: $name, prepare: Some($prepare), plan: $plan, touched: &$touched, excused: $excused }
    };
}

/// Copy-up and what follows it.
pub(super) const COPY_UPS: &[Case] = &[
    case!("write to a lower file", ["/low/file"], |o| write(o, "low/file")),
    case!("chmod of a lower file", [], |o| set(o, "low/file", MODE)),
    case!("chown of a lower file", [], |o| set(o, "low/file", OWNER)),
    case!("chown of a lower link", [], |o| set(o, "low/link", OWNER)),
    case!("chmod of a lower directory", [], |o| set(o, "low/dir", MODE)),
    case!("setxattr of a lower file", [], |o| xattr(o, "low/file")),
    case!("truncate of a lower file", ["/low/file"], |o| set(o, "low/file", CUT)),
    case!("write to a metacopied file", ["/low/file"], metacopied, |o| write(o, "low/file")),
    case!(
        "write to a metacopied program",
        ["/low/cap"],
        metacopied,
        |o| write(o, "low/cap"),
        CAPABILITY_GOES
    ),
    case!("truncate of a metacopied file", ["/low/file"], metacopied, |o| set(o, "low/file", CUT)),
    case!("rename of a metacopied file", ["/low", "/both"], metacopied, |o| mv(o, "low/file", "both/moved")),
];

/// What has several names.
pub(super) const HARD_LINKS: &[Case] = &[
    case!("write to a lower hard link", ["/low/hard1", "/low/hard2", "/low/sub/hard3"], |o| {
        write(o, "low/hard1")
    }),
    case!("chmod of a lower hard link", [], |o| set(o, "low/hard1", MODE)),
    case!("unlink of a lower hard link", ["/low"], |o| unlink(o, "low/hard1")),
    case!("link of a lower hard link", ["/both"], |o| link(o, "low/hard1", "both/linked")),
    case!("rename of a lower hard link", ["/low", "/both"], |o| mv(o, "low/hard1", "both/moved")),
    case!("rename over a lower hard link", ["/low", "/both"], |o| mv(o, "both/mine", "low/hard2")),
    case!(
        "unlink of the last name of a lower hard link",
        ["/low", "/low/sub"],
        |o| {
            unlink(o, "low/hard1")?()?;
            unlink(o, "low/hard2")?()
        },
        |o| unlink(o, "low/sub/hard3")
    ),
    case!("link of a lower file", ["/both"], |o| link(o, "low/file", "both/linked")),
    case!("link over a whiteout", ["/both"], |o| link(o, "both/mine", "both/gone")),
    case!("link of a lower file over a whiteout", ["/both"], |o| link(o, "low/file", "both/gone")),
    case!("unlink of one of two upper names", ["/up"], |o| unlink(o, "up/one")),
];

/// Removal.
pub(super) const REMOVALS: &[Case] = &[
    case!("unlink of a lower file", ["/low"], |o| unlink(o, "low/file")),
    case!("unlink of an upper file", ["/up"], |o| unlink(o, "up/file")),
    case!("unlink of a file of both", ["/both"], |o| unlink(o, "both/file")),
    case!("unlink of a second lower file", ["/low"], |o| unlink(o, "low/link")?(), |o| unlink(o, "low/file")),
    case!("rmdir of a merged directory with whiteouts", ["/both"], |o| rmdir(o, "both/emptied")),
    case!("rmdir of an upper directory", ["/up"], |o| rmdir(o, "up/sub")),
    case!("rmdir of an upper directory with whiteouts", ["/up"], |o| rmdir(o, "up/litter")),
    case!("rmdir of a lower directory", ["/low"], |o| rmdir(o, "low/void")),
];

/// Creation.
pub(super) const CREATIONS: &[Case] = &[
    case!("new file", ["/up", "/up/new"], |o| create(o, "up/new", FILE)),
    case!("new directory", ["/up", "/up/new"], |o| create(o, "up/new", DIRECTORY)),
    case!("new link", ["/up", "/up/new"], |o| create(o, "up/new", LINK)),
    case!("new device 0:0", ["/up", "/up/new"], |o| create(o, "up/new", ZERO)),
    case!("new file in a lower directory", ["/low/sub", "/low/sub/new"], |o| create(o, "low/sub/new", FILE)),
    case!("new directory in a merged one", ["/both", "/both/new"], |o| create(o, "both/new", DIRECTORY)),
    case!("new device 0:0 in a merged directory", ["/both", "/both/new"], |o| create(o, "both/new", ZERO)),
    case!("new file over a whiteout", ["/both", "/both/gone"], |o| create(o, "both/gone", FILE)),
    case!("new directory over a whiteout", ["/both", "/both/gonedir"], |o| create(
        o,
        "both/gonedir",
        DIRECTORY
    )),
    case!("new link over a whiteout", ["/both", "/both/gone"], |o| create(o, "both/gone", LINK)),
    case!("new device 0:0 over a whiteout", ["/both", "/both/gone"], |o| create(o, "both/gone", ZERO)),
];

/// Renaming.
pub(super) const RENAMES: &[Case] = &[
    case!("rename of an upper file", ["/up", "/up/sub"], |o| mv(o, "up/file", "up/sub/moved")),
    case!("rename of a lower file", ["/low", "/low/sub"], |o| mv(o, "low/file", "low/sub/moved")),
    case!("rename of a lower file over a whiteout", ["/low", "/both"], |o| mv(o, "low/file", "both/gone")),
    case!("rename of a lower file over one of both", ["/low", "/both"], |o| mv(o, "low/file", "both/file")),
    case!("rename of an upper file over a lower one", ["/low", "/up"], |o| mv(o, "up/file", "low/file")),
    case!("rename of a merged directory", ["/low", "/both"], |o| { mv(o, "low/dir", "both/moved") }),
    case!("rename of a merged directory over a whiteout", ["/low", "/both"], |o| mv(
        o,
        "low/dir",
        "both/gone"
    )),
    case!("rename of an upper directory over a whiteout", ["/both"], |o| mv(
        o,
        "both/minedir",
        "both/gonedir"
    )),
    case!(
        "rename of a merged directory over an emptied one",
        ["/low", "/both", "/both/full"],
        emptied,
        |o| { mv(o, "low/dir", "both/full") }
    ),
    case!("rename of an upper directory over an emptied one", ["/both", "/both/full"], emptied, |o| {
        mv(o, "both/minedir", "both/full")
    }),
    case!("rename of an upper directory over a lower one", ["/both", "/low"], |o| {
        mv(o, "both/minedir", "low/void")
    }),
];

/// Exchanges.
pub(super) const EXCHANGES: &[Case] = &[
    case!("exchange of two lower files", ["/low"], |o| swap(o, "low/file", "low/cap")),
    case!("exchange of two lower directories", ["/low"], |o| swap(o, "low/dir", "low/other")),
    case!("exchange of a lower directory and a file", ["/low", "/both"], |o| swap(o, "low/dir", "both/file")),
    case!("exchange of an upper and a merged directory", ["/up", "/both"], |o| swap(o, "up/sub", "both/dir")),
];
