//! U6, U7 and U8: every form in which whiteouts and opaque directories are written, in lowers and
//! in the upper.

use super::*;
use crate::harness::{Check, Errno, Target, assert_errno, place, write};

const REASON: &str = "the kernel's overlayfs reads its own form only, below marked layer roots";

/// The forms of a whiteout.
const WHITEOUTS: [&str; 4] = ["device", "trusted xattr", "user xattr", ".wh."];

/// Hides `name` of directory `dir` (which gets the mark that the form needs).
fn hide(dir: &Path, name: &str, form: &str) {
    mkdir(dir);
    match form {
        "device" => whiteout(dir.join(name)),
        ".wh." => write(dir.join(format!(".wh.{name}")), ""),
        _ => {
            let space = if form == "user xattr" { "user" } else { "trusted" };
            xattr::lset(dir, &format!("{space}.overlay.opaque"), b"x").unwrap();
            write(dir.join(name), "");
            xattr::lset(dir.join(name), &format!("{space}.overlay.whiteout"), b"y").unwrap();
        }
    }
}

/// Makes `dir` opaque.
fn close(dir: &Path, form: &str) {
    mkdir(dir);
    match form {
        ".wh..wh..opq" => write(dir.join(form), ""),
        space => xattr::lset(dir, &format!("{space}.opaque"), b"y").unwrap(),
    }
}

const OPAQUES: [&str; 4] = ["trusted.overlay", "user.overlay", "user.fuseoverlayfs", ".wh..wh..opq"];

/// One lower with `d/gone`, `d/gone_dir/x` and `d/stays`, hidden in `form` by the upper or by a
/// lower above.
fn hidden(form: &str, by_upper: bool) -> Stack {
    let stack = Stack::new(2);
    fill(stack.lower(1), &["d/gone", "d/gone_dir/x", "d/stays"]);
    let layer = if by_upper { stack.upper() } else { stack.lower(0) };
    hide(&layer.join("d"), "gone", form);
    hide(&layer.join("d"), "gone_dir", form);
    stack.opt_out(Check::UpperNames);
    stack
}

#[test]
fn u6_each_form_of_a_whiteout_hides_its_name() {
    for (form, by_upper) in WHITEOUTS.into_iter().flat_map(|f| [(f, false), (f, true)]) {
        let stack = hidden(form, by_upper);
        let mut m = stack.mount(&[]);
        if form != "device" && m.differs_on(&[Target::KernelOverlay], REASON) {
            continue;
        }
        twice(&mut m, |m| {
            assert_eq!(names(m.join("d")), ["stays"], "{form}, by the upper: {by_upper}");
            let gone = fs::symlink_metadata(m.join("d/gone"));
            assert_errno!(gone, Errno::NOENT, "{form}, by the upper: {by_upper}");
            let below = fs::symlink_metadata(m.join("d/gone_dir/x"));
            assert_errno!(below, Errno::NOENT, "{form}, by the upper: {by_upper}");
        });
    }
}

#[test]
fn u6_what_is_made_over_each_form_of_a_whiteout_is_there_and_new() {
    for (form, by_upper) in WHITEOUTS.into_iter().flat_map(|f| [(f, false), (f, true)]) {
        let stack = hidden(form, by_upper);
        let mut m = stack.mount(&[]);
        if form != "device" && m.differs_on(&[Target::KernelOverlay], REASON) {
            continue;
        }
        let why = format!("{form}, by the upper: {by_upper}");
        fs::write(m.join("d/gone"), "new").unwrap_or_else(|e| panic!("{why}: {e}"));
        fs::create_dir(m.join("d/gone_dir")).unwrap_or_else(|e| panic!("{why}: {e}"));
        twice(&mut m, |m| {
            assert_eq!(names(m.join("d")), ["gone", "gone_dir", "stays"], "{why}");
            assert_eq!(text(m.join("d/gone")), "new", "{why}");
            assert_eq!(names(m.join("d/gone_dir")).len(), 0, "{why}");
        });
        fs::remove_file(m.join("d/gone")).unwrap();
        fs::remove_dir(m.join("d/gone_dir")).unwrap();
        twice(&mut m, |m| assert_eq!(names(m.join("d")), ["stays"], "{why}"));
    }
}

#[test]
fn u6_what_is_renamed_over_each_form_of_a_whiteout_replaces_it() {
    for (form, by_upper) in WHITEOUTS.into_iter().flat_map(|f| [(f, false), (f, true)]) {
        let stack = hidden(form, by_upper);
        let mut m = stack.mount(&[]);
        if form != "device" && m.differs_on(&[Target::KernelOverlay], REASON) {
            continue;
        }
        fs::rename(m.join("d/stays"), m.join("d/gone")).unwrap();
        twice(&mut m, |m| {
            assert_eq!(names(m.join("d")), ["gone"], "{form}, by the upper: {by_upper}");
            assert_eq!(text(m.join("d/gone")), "d/stays", "{form}");
        });
    }
}

#[test]
fn u6_a_directory_of_nothing_but_whiteouts_is_empty() {
    for (form, by_upper) in WHITEOUTS.into_iter().flat_map(|f| [(f, false), (f, true)]) {
        let stack = Stack::new(2);
        stack.opt_out(Check::UpperNames);
        fill(stack.lower(1), &["d/one", "d/two/x"]);
        let layer = if by_upper { stack.upper() } else { stack.lower(0) };
        hide(&layer.join("d"), "one", form);
        hide(&layer.join("d"), "two", form);
        let mut m = stack.mount(&[]);
        if form != "device" && m.differs_on(&[Target::KernelOverlay], REASON) {
            continue;
        }
        fs::remove_dir(m.join("d")).unwrap_or_else(|e| panic!("{form}, {by_upper}: {e}"));
        twice(&mut m, |m| assert!(absent(m.join("d")), "{form}"));
    }
}

#[test]
fn u6_a_wh_file_hides_in_lower_layers_only() {
    let stack = Stack::new(3);
    fill(stack.lower(0), &["d/top"]);
    write(stack.lower(1).join("d/.wh.name"), "");
    write(stack.lower(1).join("d/name"), "of the same layer");
    write(stack.lower(1).join("d/.wh.top"), "");
    write(stack.lower(1).join("d/.wh.dir"), "");
    write(stack.lower(1).join("d/dir/new"), "of the same layer");
    fill(stack.lower(2), &["d/name", "d/top", "d/dir/old"]);
    let mut m = stack.mount(&[]);
    if m.differs_on(&[Target::KernelOverlay], REASON) {
        return;
    }
    twice(&mut m, |m| {
        assert_eq!(names(m.join("d")), ["dir", "name", "top"]);
        assert_eq!(text(m.join("d/name")), "of the same layer");
        assert_eq!(text(m.join("d/top")), "d/top");
        assert_eq!(names(m.join("d/dir")), ["new"], "the old directory is hidden, not merged");
    });
}

#[test]
fn u6_an_empty_file_with_the_whiteout_xattr_needs_the_directory_to_say_so() {
    let stack = Stack::new(2);
    fill(stack.lower(1), &["d/name"]);
    write(stack.lower(0).join("d/name"), "");
    mark(stack.lower(0).join("d/name"), "whiteout", "y");
    let mut m = stack.mount(&[]);
    if m.differs_on(&[Target::KernelOverlay], "the kernel lists it and answers ENOENT for it") {
        return;
    }
    twice(&mut m, |m| {
        assert_eq!(names(m.join("d")), ["name"]);
        assert_eq!(text(m.join("d/name")), "");
    });
}

#[test]
fn u7_each_form_of_opaque_hides_what_is_below() {
    for (form, by_upper) in OPAQUES.into_iter().flat_map(|f| [(f, false), (f, true)]) {
        let stack = Stack::new(2);
        stack.opt_out(Check::UpperNames);
        fill(stack.lower(1), &["d/old", "d/sub/old", "top"]);
        let layer = if by_upper { stack.upper() } else { stack.lower(0) };
        close(&layer.join("d"), form);
        fill(layer, &["d/new", "d/sub/new"]);
        let mut m = stack.mount(&[]);
        if form != "trusted.overlay" && m.differs_on(&[Target::KernelOverlay], REASON) {
            continue;
        }
        let why = format!("{form}, by the upper: {by_upper}");
        twice(&mut m, |m| {
            assert_eq!(names(m.join("d")), ["new", "sub"], "{why}");
            assert_eq!(names(m.join("d/sub")), ["new"], "{why}");
            let old = fs::symlink_metadata(m.join("d/old"));
            assert_errno!(old, Errno::NOENT, "{why}");
        });
        fs::remove_dir_all(m.join("d")).unwrap_or_else(|e| panic!("{why}: {e}"));
        fs::create_dir(m.join("d")).unwrap();
        twice(&mut m, |m| assert_eq!(names(m.join("d")).len(), 0, "{why}"));
    }
}

#[test]
fn u7_u8_other_values_of_the_opaque_mark_are_not_opaque() {
    let stack = Stack::new(2);
    fill(stack.lower(1), &["d/old"]);
    mkdir(stack.lower(0).join("d"));
    mark(stack.lower(0).join("d"), "opaque", "n");
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| assert_eq!(names(m.join("d")), ["old"]));
}

#[test]
fn u8_redirect_and_metacopy_are_read_in_the_user_form_too() {
    let stack = Stack::new(2);
    fill(stack.lower(1), &["old/x", "data"]);
    mkdir(stack.lower(0).join("new"));
    xattr::lset(stack.lower(0).join("new"), "user.overlay.redirect", b"/old").unwrap();
    write(stack.lower(0).join("data"), "");
    fs::OpenOptions::new().write(true).open(stack.lower(0).join("data")).unwrap().set_len(4).unwrap();
    xattr::lset(stack.lower(0).join("data"), "user.overlay.metacopy", b"").unwrap();
    let mut m = stack.mount(&[]);
    if m.differs_on(&[Target::KernelOverlay], "one namespace of marks a mount") {
        return;
    }
    twice(&mut m, |m| {
        assert_eq!(text(m.join("new/x")), "old/x");
        assert_eq!(text(m.join("data")), "data");
        assert!(xattr::llist(m.join("data")).unwrap().is_empty());
    });
}

#[test]
fn u8_root_writes_trusted_marks_and_with_userxattr_user_marks() {
    for (options, own, other) in [(&[][..], "trusted", "user"), (&["userxattr"][..], "user", "trusted")] {
        if own == "user" && Target::chosen() == Target::KernelOverlay {
            eprintln!("left out: the kernel has no redirects with userxattr");
            continue;
        }
        let stack = stack_with(&["gone/x", "moved/x", "file", "only"]);
        let mut m = stack.mount(options);
        fs::remove_dir_all(m.join("gone")).unwrap();
        fs::create_dir(m.join("gone")).unwrap();
        fs::rename(m.join("moved"), m.join("there")).unwrap();
        fs::set_permissions(m.join("file"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::remove_file(m.join("only")).unwrap();
        let get = |space: &str, path: &str, name: &str| {
            xattr::lget(stack.upper().join(path), &format!("{space}.overlay.{name}")).ok()
        };
        assert_eq!(get(own, "gone", "opaque").as_deref(), Some(&b"y"[..]));
        assert!(get(own, "there", "redirect").is_some());
        assert!(get(own, "file", "metacopy").is_some());
        for (path, name) in [("gone", "opaque"), ("there", "redirect"), ("file", "metacopy")] {
            assert_eq!(get(other, path, name), None, "{other}.overlay.{name} of {path}");
        }
        assert!(place::is_whiteout(stack.upper().join("only")));
        let before = dump(m.path());
        m.remount(options);
        assert_same_text(&before, &dump(m.path()), own);
        assert_eq!(text(m.join("there/x")), "moved/x");
        assert_eq!(text(m.join("file")), "file");
    }
}
