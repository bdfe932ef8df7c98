//! R3 and U11: renamed directories, alone, inside each other and in many layers.

use super::*;
use crate::harness::{Check, Errno, Target, assert_errno, place};

#[test]
fn r3_a_renamed_directory_shows_its_tree_and_says_where_it_continues() {
    let stack = Stack::new(2);
    fill(stack.lower(0), &["a/b/c/top", "a/b/both", "a/x"]);
    fill(stack.lower(1), &["a/b/c/bottom", "a/b/both", "a/y", "only_bottom/z"]);
    let mut m = stack.mount(&[]);
    let before = dump(m.join("a/b"));
    fs::rename(m.join("a/b"), m.join("moved")).unwrap();
    fs::rename(m.join("only_bottom"), m.join("a/deep")).unwrap();
    twice(&mut m, |m| {
        assert_same_text(&before, &dump(m.join("moved")), "the moved tree");
        assert_eq!(
            paths(m.path()),
            "a a/deep a/deep/z a/x a/y moved moved/both moved/c \
                                     moved/c/bottom moved/c/top"
        );
        m.assert_whiteout("a/b");
        m.assert_whiteout("only_bottom");
        assert_eq!(place::redirect(stack.upper().join("moved")).unwrap(), b"/a/b");
        assert_eq!(place::redirect(stack.upper().join("a/deep")).unwrap(), b"/only_bottom");
        assert_eq!(paths(stack.upper()), "a a/b a/deep moved only_bottom", "nothing below moved");
    });
}

#[test]
fn r3_within_one_directory_and_back() {
    let stack = stack_with(&["d/a/x", "d/b/y"]);
    let mut m = stack.mount(&[]);
    fs::rename(m.join("d/a"), m.join("d/c")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(paths(m.join("d")), "b b/y c c/x");
        let redirect = place::redirect(stack.upper().join("d/c")).unwrap();
        assert!(redirect == b"a" || redirect == b"/d/a", "{}", redirect.escape_ascii());
    });
    fs::rename(m.join("d/c"), m.join("d/a")).unwrap();
    twice(&mut m, |m| assert_eq!(paths(m.join("d")), "a a/x b b/y"));
    fs::write(m.join("d/a/x"), "changed").unwrap();
    twice(&mut m, |m| assert_eq!(text(m.join("d/a/x")), "changed"));
}

#[test]
fn r3_a_directory_then_its_child_then_its_grandchild() {
    let stack = Stack::new(3);
    fill(stack.lower(0), &["a/b/c/l0"]);
    fill(stack.lower(1), &["a/b/c/l1", "a/b/l1"]);
    fill(stack.lower(2), &["a/b/c/l2", "a/l2"]);
    let mut m = stack.mount(&[]);
    fs::rename(m.join("a"), m.join("one")).unwrap();
    twice(&mut m, |m| assert_eq!(names(m.join("one/b/c")), ["l0", "l1", "l2"]));
    fs::rename(m.join("one/b"), m.join("two")).unwrap();
    twice(&mut m, |m| assert_eq!(names(m.join("two/c")), ["l0", "l1", "l2"]));
    fs::rename(m.join("two/c"), m.join("one/three")).unwrap();
    fs::rename(m.join("one"), m.join("two/four")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(
            paths(m.path()),
            "two two/four two/four/l2 two/four/three two/four/three/l0 \
                                     two/four/three/l1 two/four/three/l2 two/l1"
        );
        assert_eq!(text(m.join("two/four/three/l1")), "a/b/c/l1");
    });
    fs::remove_file(m.join("two/four/three/l1")).unwrap();
    fs::rename(m.join("two/four/three"), m.join("a")).unwrap();
    twice(&mut m, |m| assert_eq!(names(m.join("a")), ["l0", "l2"]));
}

#[test]
fn r3_d6_a_new_directory_at_the_old_name_is_empty() {
    let stack = stack_with(&["a/x", "a/sub/y"]);
    let mut m = stack.mount(&[]);
    fs::rename(m.join("a"), m.join("b")).unwrap();
    fs::create_dir(m.join("a")).unwrap();
    fs::create_dir(m.join("a/sub")).unwrap();
    twice(&mut m, |m| assert_eq!(paths(m.path()), "a a/sub b b/sub b/sub/y b/x"));
    fs::rename(m.join("a"), m.join("c")).unwrap();
    fs::rename(m.join("b"), m.join("a")).unwrap();
    twice(&mut m, |m| assert_eq!(paths(m.path()), "a a/sub a/sub/y a/x c c/sub"));
    fs::remove_dir_all(m.join("a")).unwrap();
    fs::rename(m.join("c"), m.join("a")).unwrap();
    twice(&mut m, |m| assert_eq!(paths(m.path()), "a a/sub"));
}

#[test]
fn r3_changes_inside_a_renamed_directory() {
    let stack = stack_with(&["a/file", "a/gone", "a/dir/x", "a/dir/y", "a/full/z"]);
    let mut m = stack.mount(&[]);
    fs::rename(m.join("a"), m.join("b")).unwrap();
    fs::write(m.join("b/file"), "changed").unwrap();
    fs::remove_file(m.join("b/gone")).unwrap();
    fs::remove_dir_all(m.join("b/dir")).unwrap();
    fs::create_dir(m.join("b/dir")).unwrap();
    fs::write(m.join("b/new"), "new").unwrap();
    fs::rename(m.join("b/full/z"), m.join("b/z")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(paths(m.path()), "b b/dir b/file b/full b/new b/z");
        assert_eq!(text(m.join("b/file")), "changed");
        assert_eq!(text(m.join("b/z")), "a/full/z");
        m.assert_whiteout("b/gone");
        assert!(place::is_opaque(stack.upper().join("b/dir")));
    });
    fs::rename(m.join("b"), m.join("c")).unwrap();
    twice(&mut m, |m| assert_eq!(paths(m.path()), "c c/dir c/file c/full c/new c/z"));
}

#[test]
fn r3_two_directories_swap_and_swap_their_children() {
    let stack = stack_with(&["a/sub/1", "a/1", "b/sub/2", "b/2"]);
    let mut m = stack.mount(&[]);
    let swap = |m: &Mount, one: &str, other: &str| {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(CWD, m.join(one), CWD, m.join(other), flags).unwrap();
    };
    swap(&m, "a", "b");
    twice(&mut m, |m| assert_eq!(paths(m.path()), "a a/2 a/sub a/sub/2 b b/1 b/sub b/sub/1"));
    swap(&m, "a/sub", "b/sub");
    twice(&mut m, |m| assert_eq!(paths(m.path()), "a a/2 a/sub a/sub/1 b b/1 b/sub b/sub/2"));
    swap(&m, "a/sub", "b/1");
    twice(&mut m, |m| assert_eq!(paths(m.path()), "a a/2 a/sub b b/1 b/1/1 b/sub b/sub/2"));
}

#[test]
fn r3_redirect_dir_off_answers_exdev_and_changes_nothing() {
    let stack = stack_with(&["lower/x", "merged/x", "file"]);
    fill(stack.upper(), &["merged/u", "upper/u"]);
    // The kernel refuses metacopy without redirect_dir.
    let kernel = Target::chosen() == Target::KernelOverlay;
    let options = &["redirect_dir=off", "metacopy=off"][..1 + usize::from(kernel)];
    let mut m = stack.mount(options);
    let before = dump(m.path());
    for dir in ["lower", "merged"] {
        assert_errno!(fs::rename(m.join(dir), m.join("new")), Errno::XDEV, "{dir}");
    }
    assert_same_text(&before, &dump(m.path()), "before and after EXDEV");
    assert!(!place::exists(stack.upper().join("new")));
    fs::rename(m.join("upper"), m.join("upper2")).unwrap();
    fs::rename(m.join("file"), m.join("file2")).unwrap();
    m.remount(options);
    assert_eq!(names(m.path()), ["file2", "lower", "merged", "upper2"]);
}

#[test]
fn r3_at_any_depth_and_with_long_names() {
    let stack = Stack::new(1);
    let long = "n".repeat(200);
    let path = [long.as_str(); 12].join("/");
    fill(stack.lower(0), &[&format!("{path}/dir/x")]);
    let mut m = stack.mount(&[]);
    if m.differs_on(&[Target::KernelOverlay], "a redirect above 256 bytes answers EXDEV there") {
        return;
    }
    fs::rename(m.join(&path).join("dir"), m.join("top")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.join("top")), ["x"]);
        assert_eq!(names(m.join(&path)).len(), 0);
    });
    fs::rename(m.join("top"), m.join(&path).join("back")).unwrap();
    twice(&mut m, |m| assert_eq!(names(m.join(&path).join("back")), ["x"]));
}

#[test]
fn r3_names_of_any_bytes() {
    let stack = stack_with(&["sp ace:c,o\\l\u{e9}\n/x", "#a/x"]);
    let mut m = stack.mount(&[]);
    stack.opt_out(Check::UpperNames);
    fs::rename(m.join("sp ace:c,o\\l\u{e9}\n"), m.join("new: \n")).unwrap();
    fs::rename(m.join("#a"), m.join("#b")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.path()), ["#b", "new: \n"]);
        assert_eq!(names(m.join("new: \n")), ["x"]);
    });
}

#[test]
fn u11_absolute_and_relative_redirects_continue_the_search() {
    let stack = Stack::new(3);
    fill(stack.lower(0), &["new/l0", "d/sibling/l0", "d/deep/l0"]);
    fill(stack.lower(1), &["old/dir/l1", "d/was/l1", "new/hidden", "d/sibling/hidden", "d/deep/no"]);
    fill(stack.lower(2), &["old/dir/l2", "d/was/l2", "new/hidden2", "old/dir/sub/l2"]);
    mark(stack.lower(0).join("new"), "redirect", "/old/dir");
    mark(stack.lower(0).join("d/sibling"), "redirect", "was");
    mark(stack.lower(0).join("d/deep"), "redirect", "/old/dir/sub");
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| {
        assert_eq!(names(m.join("new")), ["l0", "l1", "l2", "sub"]);
        assert_eq!(text(m.join("new/l1")), "old/dir/l1");
        assert_eq!(names(m.join("d/sibling")), ["l0", "l1", "l2"]);
        assert_eq!(names(m.join("d/deep")), ["l0", "l2"]);
        assert_eq!(names(m.join("d")), ["deep", "sibling", "was"]);
    });
}

#[test]
fn u11_redirects_follow_each_other_through_the_layers() {
    let stack = Stack::new(3);
    fill(stack.upper(), &["z/upper"]);
    fill(stack.lower(0), &["y/l0"]);
    fill(stack.lower(1), &["x/l1", "y/no", "z/no"]);
    fill(stack.lower(2), &["w/l2", "x/no", "y/no", "z/no"]);
    for (layer, name, to) in
        [(stack.upper(), "z", "/y"), (stack.lower(0), "y", "x"), (stack.lower(1), "x", "/w")]
    {
        mark(layer.join(name), "redirect", to);
    }
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| assert_eq!(names(m.join("z")), ["l0", "l1", "l2", "upper"]));
    fs::rename(m.join("z"), m.join("moved")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.join("moved")), ["l0", "l1", "l2", "upper"]);
        assert_eq!(text(m.join("moved/l2")), "w/l2");
    });
}

#[test]
fn u11_a_redirect_to_nothing_shows_the_directory_alone() {
    let stack = Stack::new(2);
    fill(stack.lower(0), &["new/a", "to_file/a"]);
    fill(stack.lower(1), &["file", "new/no", "to_file/no"]);
    mark(stack.lower(0).join("new"), "redirect", "/none/at/all");
    mark(stack.lower(0).join("to_file"), "redirect", "/file");
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| {
        assert_eq!(names(m.join("new")), ["a"]);
        assert_eq!(names(m.join("to_file")), ["a"]);
    });
}

#[test]
fn u11_u12_a_redirect_that_is_no_path_spoils_only_what_has_it() {
    for bad in ["", ".", "../x", "a/b", "/x//y"] {
        let stack = stack_with(&["d/bad/below", "d/file", "d/meta", "x/y", "a/b"]);
        fill(stack.upper(), &["d/bad/above", "d/meta"]);
        mark(stack.upper().join("d/bad"), "redirect", bad);
        mark(stack.upper().join("d/meta"), "redirect", bad);
        mark(stack.upper().join("d/meta"), "metacopy", "");
        let mut m = stack.mount(&[]);
        if m.differs_on(&[Target::KernelOverlay], "the kernel refuses the lookup of both, with EINVAL") {
            return;
        }
        // Not with a dump, which the directory refuses.
        let check = |m: &Mount| {
            let (dir, meta) = (m.join("d/bad"), m.join("d/meta"));
            assert_eq!(names(m.join("d")), ["bad", "file", "meta"], "{bad:?}");
            assert!(lstat(&dir).is_dir() && lstat(&meta).len() == 6, "{bad:?}");
            assert_errno!(fs::read_dir(&dir).unwrap().next().unwrap(), Errno::IO, "{bad:?}");
            assert_errno!(fs::symlink_metadata(dir.join("above")), Errno::IO, "{bad:?}");
            assert_errno!(fs::write(dir.join("new"), ""), Errno::IO, "{bad:?}");
            assert_errno!(fs::remove_dir(&dir), Errno::IO, "{bad:?}");
            assert_errno!(fs::read(&meta), Errno::IO, "{bad:?}");
            for name in ["d/bad", "d/meta"] {
                assert_errno!(fs::rename(m.join(name), m.join("moved")), Errno::IO, "{bad:?}");
                assert_eq!(place::redirect(stack.upper().join(name)).unwrap(), bad.as_bytes(), "{name}");
            }
            assert_errno!(fs::hard_link(&meta, m.join("linked")), Errno::IO, "{bad:?}");
            assert_eq!(names(m.path()), ["a", "d", "x"], "{bad:?}");
        };
        check(&m);
        m.remount(&[]);
        check(&m);
        fs::remove_file(m.join("d/meta")).unwrap();
        m.assert_whiteout("d/meta");
        m.remount(&[]);
        assert_eq!(names(m.join("d")), ["bad", "file"], "{bad:?}");
    }
}
