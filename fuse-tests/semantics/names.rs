//! U9: the reserved names that begin with `.wh.`.

use super::*;
use crate::harness::{Errno, Target, assert_errno, write};
use rustix::fs::RenameFlags;
use std::os::unix::fs::symlink;

const REASON: &str = "the kernel's overlayfs does not know the .wh. forms";

#[test]
fn u9_names_that_begin_with_wh_are_never_shown() {
    let stack = Stack::new(1);
    write(stack.lower(0).join("d/.wh.gone"), "");
    write(stack.lower(0).join("d/.wh.full"), "with content");
    mkdir(stack.lower(0).join("d/.wh.dir"));
    mkdir(stack.lower(0).join("d/.wh..wh.plnk"));
    write(stack.upper().join("d/.wh.upper"), "");
    write(stack.lower(0).join("d/.whatever"), "an ordinary name");
    stack.opt_out(crate::harness::Check::UpperNames);
    let mut m = stack.mount(&[]);
    if m.differs_on(&[Target::KernelOverlay], REASON) {
        return;
    }
    twice(&mut m, |m| {
        assert_eq!(names(m.join("d")), [".whatever"]);
        for name in [".wh.gone", ".wh.full", ".wh.dir", ".wh..wh.plnk", ".wh.upper", ".wh."] {
            assert_errno!(fs::symlink_metadata(m.join("d").join(name)), Errno::NOENT, "{name}");
            assert_errno!(fs::read(m.join("d").join(name)), Errno::NOENT, "{name}");
        }
    });
}

#[test]
fn u9_names_that_begin_with_wh_cannot_be_made() {
    let stack = stack_with(&["file", "dir/x"]);
    let m = stack.mount(&[]);
    if m.differs_on(&[Target::KernelOverlay], REASON) {
        return;
    }
    let (file, dir) = (m.join("file"), m.join("dir"));
    for name in [".wh.new", ".wh.", ".wh..wh..opq", "dir/.wh.x"] {
        let new = m.join(name);
        assert_errno!(fs::write(&new, "x"), Errno::INVAL, "create {name}");
        assert_errno!(fs::create_dir(&new), Errno::INVAL, "mkdir {name}");
        assert_errno!(symlink("t", &new), Errno::INVAL, "symlink {name}");
        assert_errno!(fs::hard_link(&file, &new), Errno::INVAL, "link {name}");
        assert_errno!(fs::rename(&file, &new), Errno::INVAL, "rename {name}");
        assert_errno!(fs::rename(&dir, m.join(".wh.new")), Errno::INVAL, "rename dir {name}");
        let fifo = rustix::fs::mknodat(CWD, &new, FileType::Fifo, Mode::from(0o600), 0);
        assert_errno!(fifo, Errno::INVAL, "mknod {name}");
        let exclusive = rustix::fs::renameat_with(CWD, &file, CWD, &new, RenameFlags::NOREPLACE);
        assert_errno!(exclusive, Errno::INVAL, "rename without replacing {name}");
    }
    assert_eq!(names(m.path()), ["dir", "file"]);
    assert_eq!(names(m.join("dir")), ["x"]);
    assert_eq!(paths(stack.upper()), "");
}
