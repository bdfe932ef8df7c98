//! What the upper's filesystem can do, asked once at mount by doing it on staged objects.

use super::marks::{read_marks, write_mark};
use super::staged::Staged;
use super::upper::Upper;
use crate::semantics::change::Means;
use crate::semantics::names::{Mark, MarkSpace};
use crate::sys::{
    AsFd, Errno, Ref, RenameHow, Result, get_xattr, make_device, open_dir_path, open_tmpfile, remove_xattr,
    rename, stat, unlink,
};
use crate::types::{DeviceNumber, FileKind, WhiteoutForm};

/// The device number of a whiteout.
pub(super) const WHITEOUT: DeviceNumber = DeviceNumber { major: 0, minor: 0 };

/// What the upper's filesystem can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Where marks are written; `None` if it takes no xattr.
    pub marks: Option<MarkSpace>,
    /// The form in which whiteouts are written.
    pub whiteouts: WhiteoutForm,
    /// Character devices 0:0 can be made.
    pub devices: bool,
    /// Names that begin with `.wh.` can be made: a union below keeps them to itself.
    pub beside: bool,
    /// RENAME_EXCHANGE works.
    pub exchange: bool,
    /// RENAME_NOREPLACE works.
    pub no_replace: bool,
    /// RENAME_WHITEOUT works.
    pub rename_whiteout: bool,
    /// Files can have several names.
    pub links: bool,
    /// Files can be made without a name (O_TMPFILE), and be given one.
    pub nameless: bool,
    /// It has POSIX ACLs.
    pub acls: bool,
}

impl Features {
    /// What may be used while the rest is asked for: the least.
    pub(super) const LEAST: Features = Features {
        marks: None,
        whiteouts: WhiteoutForm::File,
        devices: false,
        beside: false,
        exchange: false,
        no_replace: false,
        rename_whiteout: false,
        links: false,
        nameless: false,
        acls: false,
    };

    /// What one step can do, for the plans.
    pub fn means(&self) -> Means {
        Means {
            exchange: self.exchange,
            leave_whiteout: self.rename_whiteout && self.whiteouts == WhiteoutForm::Device,
            beside: self.whiteouts == WhiteoutForm::File,
        }
    }

    /// What is lacking, with what becomes of it; empty if nothing is.
    pub fn lacks(&self) -> Vec<&'static str> {
        let whiteouts = match self.whiteouts {
            WhiteoutForm::Device => "",
            WhiteoutForm::Xattr => "no whiteout devices (whiteouts are marked files)",
            WhiteoutForm::File => "no whiteout devices or marks (whiteouts are .wh. files)",
        };
        let all = [
            (self.marks.is_none(), "no xattrs (nothing is remembered but the files themselves)"),
            (self.whiteouts != WhiteoutForm::Device, whiteouts),
            (!self.exchange, "no RENAME_EXCHANGE (exchanging names answers EINVAL)"),
            (!self.no_replace, "no RENAME_NOREPLACE (done by looking first)"),
            (!self.rename_whiteout, "no RENAME_WHITEOUT (done in more steps)"),
            (!self.beside, "no .wh. names (a rename over a lower name may be two steps)"),
            (!self.links, "no hard links, or none that can be exchanged (each whiteout is a file)"),
            (!self.acls, "no ACLs"),
        ];
        all.iter().filter(|(lacking, _)| *lacking).map(|(_, text)| *text).collect()
    }
}

/// Finds out by doing: in workdir, with objects that are removed at once. They are few, since making an
/// inode is slow where many were removed just before.
pub(super) fn probe(upper: &Upper, only_user: bool, form: Option<WhiteoutForm>) -> Result<Features> {
    let directory = upper.stage_dir(0o700)?;
    let marks = mark_space(directory.object(), only_user)?;
    // A union below that keeps the marks to itself does so with its own whiteouts as well. They are not even
    // tried there: fuse-overlayfs answers ENOENT, leaves a part of them behind, and may later fail to list
    // the directory.
    let own_whiteouts = marks != Some(MarkSpace::Own);
    let devices = own_whiteouts && can_hold_devices(upper);
    let whiteouts = form.unwrap_or(match (devices, marks) {
        (true, _) => WhiteoutForm::Device,
        (false, Some(space)) if can_mark_files(upper, space) => WhiteoutForm::Xattr,
        (false, _) => WhiteoutForm::File,
    });
    let acls = match get_xattr(directory.object(), crate::semantics::acl::ACCESS) {
        Err(e) if e.errno == Errno::OPNOTSUPP => false,
        answer => answer.map(|_| true)?,
    };
    let exchange = can_exchange(upper, &directory).is_ok();
    let named = stage_nameless(upper);
    let nameless = named.is_ok();
    let object = named.or_else(|_| upper.stage_node(FileKind::Regular, 0o600, DeviceNumber::default()))?;
    Ok(Features {
        marks,
        whiteouts,
        devices,
        beside: own_whiteouts && can_hide(upper).is_ok(),
        exchange,
        no_replace: can_keep_others(upper, &object).is_ok(),
        links: can_link(upper, &object, exchange.then_some(&directory)).is_ok(),
        nameless,
        // The last: the object's name is the whiteout's after it.
        rename_whiteout: devices && can_leave_whiteout(upper, &object).is_ok(),
        acls,
    })
}

/// Where marks can be written and read back: a union below may take them and show nothing of them.
fn mark_space(directory: Ref<'_>, only_user: bool) -> Result<Option<MarkSpace>> {
    let spaces = MarkSpace::ALL.into_iter().filter(|space| !only_user || *space != MarkSpace::Trusted);
    for space in spaces {
        match write_mark(directory, space, Mark::Opaque, b"y") {
            Ok(()) if read_marks(directory)?.opaque => {
                remove_xattr(directory, &Mark::Opaque.xattr(space))?;
                return Ok(Some(space));
            }
            Ok(()) => {}
            Err(e) if matches!(e.errno, Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::INVAL) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

/// A file that was made without a name.
fn stage_nameless(upper: &Upper) -> Result<Staged<'_>> {
    let file = open_tmpfile(upper.work(), 0o600)?;
    upper.stage_link(Ref::Fd(file.as_fd()))
}

/// A union below takes a device 0:0 and then shows nothing of it.
fn can_hold_devices(upper: &Upper) -> bool {
    let Ok(staged) = upper.stage_node(FileKind::CharDevice, 0, WHITEOUT) else {
        return false;
    };
    stat(staged.object()).is_ok_and(|(_, attr)| attr.kind == FileKind::CharDevice && attr.rdev == WHITEOUT)
}

/// A union below may take the name and then know nothing of it.
fn can_hide(upper: &Upper) -> Result<()> {
    const NAME: &[u8] = b".wh.#probe";
    make_device(upper.work(), NAME, FileKind::Regular, 0o600, DeviceNumber::default())?;
    unlink(upper.work(), NAME)
}

/// As it is used: a link of a whiteout changes places with a staged directory, which a union below may
/// refuse.
fn can_link(upper: &Upper, object: &Staged<'_>, exchanged: Option<&Staged<'_>>) -> Result<()> {
    let link = upper.stage_link(object.object())?;
    match exchanged {
        Some(directory) => {
            rename(upper.work(), directory.name(), upper.work(), link.name(), RenameHow::Exchange)
        }
        None => Ok(()),
    }
}

fn can_mark_files(upper: &Upper, space: MarkSpace) -> bool {
    let file = upper.stage_node(FileKind::Regular, 0o600, DeviceNumber::default());
    file.and_then(|file| write_mark(file.object(), space, Mark::Whiteout, b"y")).is_ok()
}

/// As it is used: a staged directory for a whiteout in another directory, which a union below may refuse.
fn can_exchange(upper: &Upper, other: &Staged<'_>) -> Result<()> {
    let directory = upper.stage_dir(0o700)?;
    let inside = open_dir_path(upper.work(), other.name(), true)?;
    make_device(inside.as_fd(), b"x", FileKind::Regular, 0o600, DeviceNumber::default())?;
    rename(upper.work(), directory.name(), inside.as_fd(), b"x", RenameHow::Exchange)
}

/// RENAME_NOREPLACE; the object has its name again afterwards.
fn can_keep_others(upper: &Upper, object: &Staged<'_>) -> Result<()> {
    let moved =
        upper.stage(|work, name| rename(work, object.name(), work, name, RenameHow::NoReplace))?.keep();
    rename(upper.work(), &moved, upper.work(), object.name(), RenameHow::Replace)
}

/// RENAME_WHITEOUT; the whiteout has the object's name afterwards.
fn can_leave_whiteout(upper: &Upper, object: &Staged<'_>) -> Result<()> {
    upper.stage(|work, name| rename(work, object.name(), work, name, RenameHow::Whiteout)).map(drop)
}
