//! Hard links.

use super::{hash, header, means, new};
use crate::store::tar::testing::{layer_as_text, layer_of};

#[test]
fn what_aufs_kept_beside_the_files_is_skipped_but_for_hard_links() {
    means(
        new()
            .dir(".wh..wh.plnk")
            .file(".wh..wh.plnk/1.2", "data")
            .file(".wh..wh.aufs", "")
            .dir(".wh..wh.orph")
            .hard("a", ".wh..wh.plnk/1.2")
            .hard("b", "./.wh..wh.plnk/1.2"),
        "/a Regular 644 nlink 2
         /b Regular 644 = /a nlink 2",
    );
}

#[test]
fn hard_links_share_what_their_target_is() {
    means(
        new().file("b", "1").hard("a", "b").hard("c", "./a").symlink("s", "x").hard("t", "s"),
        "/a Regular 644 nlink 3
         /b Regular 644 = /a nlink 3
         /c Regular 644 = /a nlink 3
         /s Symlink 644 nlink 2 -> x
         /t Symlink 644 = /s nlink 2 -> x",
    );
    let device = header(b'3', "null", |h| {
        h.set_device_major(1).unwrap();
        h.set_device_minor(3).unwrap();
    });
    means(
        new().raw(device, b"").hard("zero", "/null"),
        "/null CharDevice 644 nlink 2
         /zero CharDevice 644 = /null nlink 2",
    );
}

#[test]
fn hard_links_do_not_change_the_file() {
    let other = header(b'1', "b", |h| {
        h.set_link_name_literal("a").unwrap();
        h.set_mode(0o777);
        h.set_uid(7);
    });
    means(new().file("a", "").raw(other, b""), "/a Regular 644 nlink 2\n/b Regular 644 = /a nlink 2");
}

#[test]
fn hard_links_keep_the_file_they_were_made_of() {
    let (layer, _dir) = layer_of(&new().file("a", "old").hard("b", "a").file("a", "newer").end());
    assert_eq!(
        layer_as_text(&layer),
        "/ Directory 755 0:0 0.000000000\n\
         /a Regular 644 0:0 1000.000000000 5 7c6fa9b0def5fc0e\n\
         /b Regular 644 0:0 1000.000000000 3 72ac9e6b2a9b8e0e\n"
            .replace("7c6fa9b0def5fc0e", &hash("newer"))
            .replace("72ac9e6b2a9b8e0e", &hash("old"))
    );
}

#[test]
fn hard_links_may_come_first_and_in_chains() {
    means(
        new().hard("c", "b").hard("b", "d/a").hard("e", "c").file("d/a", "1"),
        "/b Regular 644 nlink 4
         /c Regular 644 = /b nlink 4
         /d Directory 755 implied
         /e Regular 644 = /b nlink 4
         /d/a Regular 644 = /b nlink 4",
    );
    // What replaces such a link before its target comes leaves nothing to settle.
    means(new().hard("b", "nowhere").file("b", ""), "/b Regular 644");
    means(new().dir("d").hard("d/b", "nowhere").file("d", ""), "/d Regular 644");
    means(new().file("a", "").hard("a", "a"), "/a Regular 644");
}

#[test]
fn hard_links_through_symlinks_and_their_parents() {
    means(
        new().file("d/f", "").symlink("s", "d").hard("s/g", "s/f"),
        "/d Directory 755 implied
         /s Symlink 644 -> d
         /d/f Regular 644 nlink 2
         /d/g Regular 644 = /d/f nlink 2",
    );
}
