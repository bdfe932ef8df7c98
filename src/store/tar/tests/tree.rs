//! What entries make of each other.

use super::{header, means, new};
use crate::store::tar::testing::{index_of, rows_as_text};

#[test]
fn a_plain_tree() {
    means(
        new().dir("./").dir("./a/").file("./a/f", "data").symlink("./s", "a/f"),
        "/a Directory 755
         /s Symlink 644 -> a/f
         /a/f Regular 644",
    );
}

#[test]
fn an_empty_archive_has_a_root() {
    for tar in [&[][..], &[0; 512], &[0; 1024], &[0; 10_240]] {
        assert_eq!(rows_as_text(&index_of(tar).unwrap()), "/ Directory 755 implied\n");
    }
}

#[test]
fn the_entry_dot_describes_the_root() {
    let root = header(b'5', "./", |h| h.set_mode(0o1777));
    let index = index_of(&new().raw(root, b"").end()).unwrap();
    assert_eq!(rows_as_text(&index), "/ Directory 1777\n");
}

#[test]
fn names_are_cleaned() {
    means(
        new().file("/abs//f", "").file("././a/./x/../g", "").file("b/../h", ""),
        "/a Directory 755 implied
         /abs Directory 755 implied
         /h Regular 644
         /a/g Regular 644
         /abs/f Regular 644",
    );
}

#[test]
fn missing_parents_are_implied_until_an_entry_describes_them() {
    means(
        new().file("a/b/f", "").dir("a/"),
        "/a Directory 755
         /a/b Directory 755 implied
         /a/b/f Regular 644",
    );
}

#[test]
fn children_are_sorted_by_bytes() {
    means(
        new().file("b", "").file("a-", "").file("a/x", "").file("B", "").file("a.", ""),
        "/B Regular 644
         /a Directory 755 implied
         /a- Regular 644
         /a. Regular 644
         /b Regular 644
         /a/x Regular 644",
    );
}

#[test]
fn the_last_entry_of_a_name_wins() {
    means(new().file("f", "1").symlink("f", "x").file("f", "22"), "/f Regular 644");
    means(
        new().dir("d").file("d/x", "").raw(header(b'5', "d", |h| h.set_mode(0o700)), b""),
        "/d Directory 700
         /d/x Regular 644",
    );
    means(new().dir("d").file("d/x", "").file("d", ""), "/d Regular 644");
}

#[test]
fn a_directory_over_a_file_is_new_and_hides_what_the_file_hid() {
    means(
        new().dir("d").file("d/x", "").file("d", "").dir("d").file("d/y", ""),
        "/d Directory 755 opaque
         /d/y Regular 644",
    );
}

#[test]
fn a_directory_over_a_symlink_replaces_it() {
    means(
        new().file("t/x", "").symlink("l", "t").dir("l").file("l/y", ""),
        "/l Directory 755 opaque
         /t Directory 755 implied
         /l/y Regular 644
         /t/x Regular 644",
    );
}

#[test]
fn parents_that_are_symlinks_are_followed_inside_the_root() {
    means(
        new().symlink("lib", "usr/lib").file("lib/x", "").symlink("up", "/../../usr/./up").file("up/y", ""),
        "/lib Symlink 644 -> usr/lib
         /up Symlink 644 -> /../../usr/./up
         /usr Directory 755 implied
         /usr/lib Directory 755 implied
         /usr/up Directory 755 implied
         /usr/lib/x Regular 644
         /usr/up/y Regular 644",
    );
    means(
        new().dir("a").symlink("a/l", "../b").symlink("b", "c").file("a/l/x", ""),
        "/a Directory 755
         /b Symlink 644 -> c
         /c Directory 755 implied
         /a/l Symlink 644 -> ../b
         /c/x Regular 644",
    );
}

#[test]
fn whiteouts_hide_lower_layers_only_whatever_their_order() {
    means(new().file("d/.wh.gone", ""), "/d Directory 755 implied\n/d/gone whiteout");
    for tar in [new().file("f", "").file(".wh.f", ""), new().file(".wh.f", "").file("f", "")] {
        means(tar, "/f Regular 644");
    }
    for tar in [
        new().dir("d").file("d/x", "").file(".wh.d", ""),
        new().file(".wh.d", "").dir("d").file("d/x", ""),
        new().file(".wh.d", "").file("d/x", "").dir("d"),
    ] {
        means(tar, "/d Directory 755 opaque\n/d/x Regular 644");
    }
    means(new().file(".wh.d", "").file("d/x", ""), "/d Directory 755 opaque implied\n/d/x Regular 644");
}

#[test]
fn opaque_applies_to_lower_layers_only_whatever_its_order() {
    for tar in
        [new().file("d/x", "").file("d/.wh..wh..opq", ""), new().file("d/.wh..wh..opq", "").file("d/x", "")]
    {
        means(tar, "/d Directory 755 opaque implied\n/d/x Regular 644");
    }
    let index = index_of(&new().file(".wh..wh..opq", "").end()).unwrap();
    assert_eq!(rows_as_text(&index), "/ Directory 755 opaque implied\n");
}

#[test]
fn whiteouts_in_what_is_no_directory_change_nothing() {
    means(new().file("a", "").file("a/.wh.b", "").file("a/.wh..wh..opq", ""), "/a Regular 644");
}

#[test]
fn whiteouts_go_with_the_directory_they_are_in() {
    means(new().file("d/.wh.x", "").file("d", ""), "/d Regular 644");
    means(
        new().file("d/.wh.x", "").file("d/.wh.x", "").file("d/x", ""),
        "/d Directory 755 implied\n/d/x Regular 644",
    );
}

#[test]
fn whiteouts_of_names_that_look_like_marks() {
    means(
        new().file(".wh..x", "").file(".wh....", "").file(".wha", ""),
        "/... whiteout\n/.wha Regular 644\n/.x whiteout",
    );
}
