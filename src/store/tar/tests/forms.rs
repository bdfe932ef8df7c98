//! The forms in which archives are written.

use super::{hash, header, means, new};
use crate::store::tar::testing::{TarBuilder, index_bytes, index_of, layer_as_text, layer_of};

#[test]
fn what_follows_the_end_is_read_and_means_nothing() {
    let mut tar = new().file("a", "").end();
    tar.extend_from_slice(&new().file("b", "").bytes);
    let mut reader = &tar[..];
    assert_eq!(crate::store::tar::index_tar(&mut reader).unwrap().entries(), 1);
    assert_eq!(reader.len(), 0);
}

#[test]
fn checksums_of_signed_bytes_are_taken() {
    let mut head = TarBuilder::header(b'0', "x");
    head.as_old_mut().name[..2].copy_from_slice("ä".as_bytes());
    head.set_cksum();
    let signed = head.cksum().unwrap() - 2 * 256;
    head.as_old_mut().cksum.copy_from_slice(format!("{signed:06o}\0 ").as_bytes());
    let mut tar = head.as_bytes().to_vec();
    tar.extend_from_slice(&[0; 1024]);
    assert_eq!(index_of(&tar).unwrap().entries(), 1);
}

#[test]
fn pax_records_win_over_the_header_and_long_names_over_both() {
    let tar = new()
        .pax(b'g', &[("uid", b"70000"), ("mtime", b"5"), ("gid", b"9")])
        .pax(
            b'x',
            &[("path", "ä/long".as_bytes()), ("uid", b"4000000000"), ("mtime", b"-1.25"), ("gid", b"")],
        )
        .file("short", "1")
        .kind(b'L', "././@LongLink", b"by/gnu\0")
        .kind(b'K', "././@LongLink", b"target/of/gnu\0")
        .symlink("cut", "cut")
        .end();
    let (layer, _dir) = layer_of(&tar);
    assert_eq!(
        layer_as_text(&layer),
        format!(
            "/ Directory 755 0:0 0.000000000\n\
             /by Directory 755 0:0 0.000000000\n\
             /by/gnu Symlink 644 70000:9 5.000000000 -> target/of/gnu\n\
             /\\xc3\\xa4 Directory 755 0:0 0.000000000\n\
             /\\xc3\\xa4/long Regular 644 4000000000:0 -2.750000000 1 {}\n",
            hash("1")
        )
    );
}

#[test]
fn xattrs_of_both_forms_are_taken_whatever_is_in_them() {
    let records: &[(&str, &[u8])] = &[
        ("SCHILY.xattr.user.bin", b"a\n\0=b"),
        ("SCHILY.xattr.user.empty", b""),
        ("SCHILY.xattr.user.a%3Db", b"1"),
        ("LIBARCHIVE.xattr.user.only%20here", b"Zm9v"),
        ("LIBARCHIVE.xattr.user.bin", b"eHh4"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/x"),
        ("SCHILY.acl.access", b"user::rw-"),
    ];
    let (layer, _dir) = layer_of(&new().pax(b'x', records).file("f", "").file("g", "").end());
    assert_eq!(
        layer_as_text(&layer),
        format!(
            "/ Directory 755 0:0 0.000000000\n\
             /f Regular 644 0:0 1000.000000000 0 {0} trusted.overlay.redirect=/x user.a=b=1 \
             user.bin=a\\n\\x00=b user.empty= user.only here=foo user.overlay.opaque=y\n\
             /g Regular 644 0:0 1000.000000000 0 {0}\n",
            hash("")
        )
    );
}

#[test]
fn old_forms_of_files_and_directories() {
    means(
        new()
            .kind(0, "v7", b"x")
            .kind(0, "dir/", b"")
            .kind(b'7', "contiguous", b"y")
            .kind(b'0', "slash/", b""),
        "/contiguous Regular 644
         /dir Directory 644
         /slash Regular 644
         /v7 Regular 644",
    );
    let dumpdir = header(b'D', "inc", |h| h.set_size(3));
    means(
        new().raw(dumpdir, b"Yx\0").kind(b'V', "label", b"").file("f", ""),
        "/f Regular 644\n/inc Directory 644",
    );
}

#[test]
fn sizes_of_what_has_no_data_are_no_data() {
    let sized = |kind, name, target: &str| {
        header(kind, name, |h| {
            h.set_link_name_literal(target).unwrap();
            h.set_size(512);
        })
    };
    means(
        new()
            .file("a", "")
            .raw(sized(b'1', "h", "a"), b"")
            .raw(sized(b'2', "s", "a"), b"")
            .raw(sized(b'5', "d", ""), b"")
            .file("z", ""),
        "/a Regular 644 nlink 2
         /d Directory 755
         /h Regular 644 = /a nlink 2
         /s Symlink 644 -> a
         /z Regular 644",
    );
}

#[test]
fn the_same_archive_gives_the_same_bytes() {
    let mut tar = new();
    for n in 0..500 {
        tar = tar.pax(b'x', &[("SCHILY.xattr.user.n", &[n as u8])]).file(&format!("d{}/f{n}", n % 7), "x");
    }
    let tar = tar.end();
    assert!(index_bytes(&tar).unwrap() == index_bytes(&tar).unwrap());
}

#[test]
fn old_gnu_sparse_files_continue_over_blocks() {
    let pieces: Vec<(u64, u64)> = (0..60).map(|n| (n * 1000, 2)).collect();
    let data: Vec<u8> = (0..120).map(|n| b'a' + n % 26).collect();
    let (layer, _dir) =
        layer_of(&TarBuilder::new().old_sparse("s", 60_000, &pieces, &data).file("after", "").end());
    let mut expected = vec![0; 60_000];
    for (n, pair) in data.chunks(2).enumerate() {
        expected[n * 1000..n * 1000 + 2].copy_from_slice(pair);
    }
    let text = layer_as_text(&layer);
    assert!(text.contains(&format!(" 60000 {}\n", hash(&String::from_utf8(expected).unwrap()))), "{text}");
    assert!(text.contains("/after Regular"), "{text}");
}
