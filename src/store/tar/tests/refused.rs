//! Archives that are refused, and what is said of them.

use super::{header, new, refused};
use crate::store::tar::testing::{TarBuilder, index_of, rows_as_text};

#[test]
fn parents_that_are_no_directories_are_refused() {
    refused(&new().file("a", "").file("a/b", "").end(), r#""a/b": its parent is no directory (at byte 512)"#);
    let tar = new().file("f", "").symlink("l", "f").file("l/x", "").end();
    refused(&tar, r#""l/x": its parent is no directory (at byte 1024)"#);
    let tar = new().symlink("a", "b").symlink("b", "a").file("a/x", "").end();
    refused(&tar, r#""a/x": its parent leads through too many symlinks (at byte 1024)"#);
    let tar = new().symlink("a", ".wh.b").file("a/x", "").end();
    refused(&tar, r#""a/x": it lies inside a whiteout (at byte 512)"#);
}

#[test]
fn whiteouts_of_nothing_are_refused() {
    for name in [".wh.", "a/.wh..", ".wh...", ".wh./"] {
        let tar = new().file(name, "").end();
        refused(&tar, &format!("{name:?}: it is a whiteout of nothing (at byte 0)"));
    }
    refused(&new().file("a/.wh.x/y", "").end(), r#""a/.wh.x/y": it lies inside a whiteout (at byte 0)"#);
}

#[test]
fn hard_links_to_nothing_and_to_directories_are_refused() {
    let cases = [
        (new().hard("b", "a"), r#""b": it is a hard link to "a", which is not in the archive (at byte 0)"#),
        (
            new().hard("b", "x/y"),
            r#""b": it is a hard link to "x/y", which is not in the archive (at byte 0)"#,
        ),
        (
            new().dir("d").hard("b", "d"),
            r#""b": it is a hard link to "d", which is a directory (at byte 512)"#,
        ),
        (new().hard("b", "d").dir("d"), r#""b": it is a hard link to "d", which is a directory (at byte 0)"#),
        (new().hard("b", "/"), r#""b": it is a hard link to "/", which is a directory (at byte 0)"#),
        (
            new().hard("b", "a").hard("a", "b"),
            r#""b": it is a hard link to "a", which leads back to it (at byte 0)"#,
        ),
        (new().hard("b", "b"), r#""b": it is a hard link to "b", which leads back to it (at byte 0)"#),
        (new().hard("b", "../a"), r#""b": its link target leaves the root of the layer by .. (at byte 0)"#),
        (
            new().hard("b", ".wh..wh.plnk/1"),
            r#""b": it is a hard link to ".wh..wh.plnk/1", which is not in the archive (at byte 0)"#,
        ),
    ];
    for (tar, expected) in cases {
        refused(&tar.end(), expected);
    }
}

#[test]
fn names_that_cannot_be_are_refused() {
    refused(
        &new().file("a/../../b", "").end(),
        r#""a/../../b": its name leaves the root of the layer by .. (at byte 0)"#,
    );
    refused(
        &new().file("/..", "").end(),
        r#""/..": its name leaves the root of the layer by .. (at byte 0)"#,
    );
    refused(&new().pax(b'x', &[("path", b"a\0b")]).file("x", "").end(), "its name contains NUL (at byte 0)");
    let tar = new().kind(b'L', "././@LongLink", b"a\0b\0").file("x", "").end();
    refused(&tar, "its name contains NUL (at byte 0)");
    refused(
        &new().pax(b'x', &[("linkpath", b"a\0b")]).symlink("x", "y").end(),
        "its link target contains NUL (at byte 0)",
    );
    let long = "n".repeat(256);
    let tar = new().pax(b'x', &[("path", format!("d/{long}").as_bytes())]).file("x", "").end();
    refused(
        &tar,
        &format!("{:?}: a name in its name is longer than 255 bytes (at byte 1024)", format!("d/{long}")),
    );
    refused(&new().file("", "").end(), r#""": an entry has no name (at byte 0)"#);
    refused(
        &new().file(".", "").end(),
        r#"".": it is the root of the layer, which must be a directory (at byte 0)"#,
    );
    refused(&new().symlink("s", "").end(), r#""s": it is a symlink without a target (at byte 0)"#);
}

#[test]
fn truncated_archives_are_refused() {
    let whole = new().file("a", "data").file("b", "").end();
    assert_eq!(whole.len(), 512 * 3 + 1024);
    for len in 1..512 * 3 {
        match (len, index_of(&whole[..len])) {
            // All of the data is there, and its padding or a part of it.
            (516..=1024, result) => assert_eq!(result.unwrap().entries(), 1),
            (_, result) => assert!(result.unwrap_err().to_string().contains("truncated"), "{len} bytes"),
        }
    }
    // The blocks of zeros may be missing, or cut.
    for len in [512 * 3, 512 * 4, 512 * 5] {
        assert_eq!(index_of(&whole[..len]).unwrap().entries(), 2);
    }
    let tar = new().pax(b'x', &[("path", b"x")]).end();
    refused(
        &tar,
        "the archive is truncated: it ends inside an entry, after its extended header (at byte 1024)",
    );
}

#[test]
fn a_damaged_header_is_refused() {
    let mut tar = new().file("a", "").file("b", "").end();
    tar[512] ^= 1;
    refused(&tar, "the checksum of its header is wrong: the archive is damaged (at byte 512)");
    tar[0] ^= 1;
    refused(&tar, "this is no tar archive (at byte 0)");
    let mut tar = new().file("a", "").data(&[0; 512]);
    tar = tar.file("b", "");
    refused(
        &tar.end(),
        "a block of zeros stands between the entries: the archive is damaged, or several were joined (at byte 512)",
    );
}

#[test]
fn sizes_and_numbers_that_lie_are_refused() {
    let field = |at: usize, bytes: &[u8]| {
        let mut head = TarBuilder::header(b'0', "f");
        head.as_mut_bytes()[at..at + bytes.len()].copy_from_slice(bytes);
        new().raw(head, b"").end()
    };
    refused(
        &field(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        "its size is out of range (at byte 0)",
    );
    refused(&field(124, b"0000000008\0"), "its size is no number (at byte 0)");
    refused(
        &field(124, b"77777777777\0"),
        r#""f": the archive is truncated: it ends inside the data of an entry (at byte 0)"#,
    );
    refused(&field(108, b"\x80\0\0\x01\0\0\0\0"), r#""f": its owner is out of range (at byte 0)"#);
    refused(
        &field(116, b"\xff\xff\xff\xff\xff\xff\xff\xfe"),
        r#""f": its group is out of range (at byte 0)"#,
    );
    refused(&field(100, b"rw-r--r-"), "its mode is no number (at byte 0)");
    refused(&field(156, b"Z"), r#""f": its type 'Z' is unknown (at byte 0)"#);
    let pax = |key: &str, value: &[u8]| new().pax(b'x', &[(key, value)]).file("f", "").end();
    refused(&pax("size", b"9223372036854775808"), r#""f": its size is out of range (at byte 1024)"#);
    refused(&pax("size", b"-1"), "its size is no number (at byte 0)");
    refused(&pax("uid", b"4294967295"), r#""f": its owner is out of range (at byte 1024)"#);
    refused(&pax("mtime", b"now"), "its mtime is no number (at byte 0)");
}

#[test]
fn extended_headers_that_lie_are_refused() {
    let long = header(b'x', "pax", |h| h.set_size(1 << 40));
    refused(
        &new().raw(long, b"").end(),
        "its pax header of 1099511627776 bytes is too long: at most 1048576 are taken (at byte 0)",
    );
    let long = header(b'L', "long", |h| h.set_size((1 << 20) + 1));
    refused(
        &new().raw(long, b"").end(),
        "its name of 1048577 bytes is too long: at most 1048576 are taken (at byte 0)",
    );
    for (records, what) in [
        (&b"8 path=a\n"[..], "a record does not end where it says"),
        (b"99 path=a\n", "the length of a record is wrong"),
        (b"0 path=a\n", "the length of a record is wrong"),
        (b"path=a\n", "a record without its length"),
        (b"x path=a\n", "the length of a record is no number"),
        (b"6 =ab\n", "a record without a key"),
        (b"5 ab\n", "a record without a key"),
        (b"29 LIBARCHIVE.xattr.user.a=!\n", "the value of an xattr is no base64"),
        (b"19 SCHILY.xattr.=a\n", "an xattr without a name"),
    ] {
        let tar = new().kind(b'x', "pax", records).file("f", "").end();
        refused(&tar, &format!("its pax header is damaged: {what} (at byte 0)"));
    }
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let pax = |records: &[(&str, &[u8])]| new().pax(b'x', records).file("f", "data").end();
    for (map, size, what) in [
        (&b"0,2,1,2"[..], &b"9"[..], "its pieces overlap or are not in order"),
        (b"4,2,0,2", b"9", "its pieces overlap or are not in order"),
        (b"0,4", b"3", "its pieces exceed the size of the file"),
        (b"0,3", b"9", "its pieces are not as long as the data that follows"),
        (b"0,5", b"9", "its pieces are not as long as the data that follows"),
        (b"18446744073709551615,4", b"9", "a piece ends beyond all sizes"),
        (b"0", b"9", "an offset without a length"),
        (b"0,x", b"9", "a record is no number"),
    ] {
        let text = match index_of(&pax(&[("GNU.sparse.map", map), ("GNU.sparse.size", size)])) {
            Err(e) => e.to_string(),
            Ok(index) => panic!("taken:\n{}", rows_as_text(&index)),
        };
        assert!(text.contains(&format!("its sparse map is wrong: {what} (at byte")), "{text}");
    }
    let one = |data: &[u8]| {
        let records: &[(&str, &[u8])] =
            &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")];
        new().pax(b'x', records).kind(b'0', "f", data).end()
    };
    let mut good = b"1\n2\n4\n".to_vec();
    good.resize(512, 0);
    good.extend_from_slice(b"data");
    assert!(index_of(&one(&good)).is_ok());
    for bad in [&b"1\n2\n4\n"[..], b"", &[b'1'; 512], &good[..512], b"x\n"] {
        let text = index_of(&one(bad)).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(text.contains("its sparse map is wrong"), "{text}");
    }
}
