//! The rows of a listing: cookies, places used again, and what they say of layers.

use super::super::listing::{Builder, Listing, UPPER, UpperRow};
use crate::types::{FileKind, Ino};
use std::collections::BTreeMap;

const FILE: FileKind = FileKind::Regular;
const DIR: FileKind = FileKind::Directory;

/// A listing of one part of regular files, the upper.
fn of_upper(names: &[&[u8]]) -> Listing {
    let mut builder = Builder::default();
    for (n, name) in names.iter().enumerate() {
        builder.entry(UPPER, name, FILE, Ino(100 + n as u64));
    }
    builder.end_part(UPPER);
    builder.finish()
}

fn names(listing: &Listing, from: usize) -> Vec<String> {
    listing.rows_from(from).map(|(_, name)| String::from_utf8_lossy(name.name).into_owned()).collect()
}

/// The cookie after a name.
fn after(listing: &Listing, name: &[u8]) -> usize {
    listing.rows_from(0).find(|(_, row)| row.name == name).map(|(next, _)| next).unwrap()
}

#[test]
fn u10_cookies_stay_good_while_names_come_and_go() {
    let mut listing = of_upper(&[b"a", b"b", b"c", b"d"]);
    let cookie = after(&listing, b"b");
    listing.remove(b"a");
    listing.remove(b"c");
    assert_eq!(names(&listing, cookie), ["d"]);
    // A place that is free is used again, before or after the cookie; what was there stays put.
    listing.set_upper(b"x", UpperRow::Object(FILE, Ino(7)));
    listing.set_upper(b"y", UpperRow::Object(FILE, Ino(8)));
    listing.set_upper(b"z", UpperRow::Object(FILE, Ino(9)));
    assert_eq!(after(&listing, b"b"), cookie);
    let rest = names(&listing, cookie);
    assert!(rest.contains(&"d".to_owned()) && rest.contains(&"z".to_owned()), "{rest:?}");
    assert_eq!(listing.rows_from(0).map(|(next, _)| next).max(), Some(5), "no more rows than names at once");
}

#[test]
fn u10_a_reader_that_removes_what_it_reads_sees_all() {
    let wanted: Vec<String> = (0..500).map(|n| format!("name{n}")).collect();
    let all: Vec<&[u8]> = wanted.iter().map(|name| name.as_bytes()).collect();
    let mut listing = of_upper(&all);
    let (mut seen, mut cookie) = (Vec::new(), 0);
    loop {
        let batch: Vec<(usize, Vec<u8>)> =
            listing.rows_from(cookie).take(7).map(|(next, row)| (next, row.name.to_vec())).collect();
        let Some((next, _)) = batch.last() else { break };
        cookie = *next;
        for (_, name) in &batch {
            listing.remove(name);
            seen.push(String::from_utf8(name.clone()).unwrap());
        }
    }
    assert_eq!(seen, wanted);
    assert!(listing.is_empty());
}

#[test]
fn names_survive_the_compaction_of_their_buffer() {
    let mut listing = of_upper(&[b"stays", b"goes"]);
    let cookie = after(&listing, b"stays");
    let long = vec![b'n'; 255];
    for round in 0u64..200 {
        listing.set_upper(&long, UpperRow::Object(FILE, Ino(1000 + round)));
        listing.set_upper(format!("kept{round}").as_bytes(), UpperRow::Object(FILE, Ino(round + 2)));
    }
    listing.remove(b"goes");
    listing.remove(&long);
    assert_eq!(after(&listing, b"stays"), cookie);
    assert_eq!(listing.get(b"stays").unwrap().ino, Ino(100));
    for round in 0u64..200 {
        assert_eq!(listing.get(format!("kept{round}").as_bytes()).unwrap().ino, Ino(round + 2));
    }
    assert_eq!(names(&listing, 0).len(), 201);
}

/// Upper over two lowers: `both` is a merged directory, `low` of one lower only, `gone` hidden.
fn merged() -> Listing {
    let mut builder = Builder::default();
    builder.entry(UPPER, b"both", DIR, Ino(10));
    builder.whiteout(b"gone");
    builder.end_part(UPPER);
    builder.entry(1, b"both", DIR, Ino(11));
    builder.entry(1, b"low", FILE, Ino(12));
    builder.entry(1, b"gone", FILE, Ino(13));
    builder.entry(1, b"dir", DIR, Ino(14));
    builder.whiteout(b"deep");
    builder.end_part(1);
    builder.entry(2, b"both", DIR, Ino(21));
    builder.entry(2, b"low", FILE, Ino(22));
    builder.entry(2, b"deep", FILE, Ino(23));
    builder.entry(2, b"dir", DIR, Ino(24));
    builder.end_part(2);
    builder.finish()
}

#[test]
fn u10_a_merged_listing_says_who_decides_and_who_has_a_share() {
    let listing = merged();
    let parts =
        |name: &[u8]| (0..3).filter(|part| listing.get(name).unwrap().has_part(*part)).collect::<Vec<_>>();
    assert_eq!(parts(b"both"), [0, 1, 2]);
    assert_eq!(parts(b"low"), [1]);
    assert_eq!(parts(b"dir"), [1, 2]);
    let gone = listing.get(b"gone").unwrap();
    assert!(!gone.visible && gone.in_lower);
    let deep = listing.get(b"deep").unwrap();
    assert!(!deep.visible && !deep.in_lower);
    assert_eq!(names(&listing, 0), ["both", "low", "dir"]);
}

#[test]
fn c1_a_copy_up_keeps_number_cookie_and_shares() {
    let mut listing = merged();
    for (name, ino) in [(&b"low"[..], 12), (b"dir", 14)] {
        let cookie = after(&listing, name);
        listing.set_copied_up(name);
        listing.set_copied_up(name);
        let row = listing.get(name).unwrap();
        assert_eq!((row.ino, row.top, row.in_lower, row.visible), (Ino(ino), UPPER, true, true));
        assert_eq!(after(&listing, name), cookie);
    }
    let dir = listing.get(b"dir").unwrap();
    assert!(dir.has_part(0) && dir.has_part(1) && dir.has_part(2));
    assert!(!listing.get(b"low").unwrap().has_part(1));
    listing.set_copied_up(b"gone");
    listing.set_copied_up(b"no such name");
    assert!(!listing.get(b"gone").unwrap().visible);
}

#[test]
fn d2_what_the_lowers_have_outlives_whatever_the_upper_has() {
    let mut listing = merged();
    for _ in 0..3 {
        listing.set_upper(b"low", UpperRow::Whiteout);
        assert!(!listing.get(b"low").unwrap().visible && listing.get(b"low").unwrap().in_lower);
        listing.set_upper(b"low", UpperRow::Object(DIR, Ino(50)));
        let row = listing.get(b"low").unwrap();
        // A new directory over a lower name is opaque: it has one part.
        assert!(row.visible && row.in_lower && row.has_part(UPPER) && !row.has_part(1));
    }
    listing.set_upper(b"new", UpperRow::Object(FILE, Ino(51)));
    assert!(!listing.get(b"new").unwrap().in_lower);
    listing.set_upper(b"new", UpperRow::Whiteout);
    assert!(!listing.get(b"new").unwrap().in_lower);
    listing.remove(b"new");
    assert!(listing.get(b"new").is_none());
}

#[test]
fn d5_a_directory_is_empty_when_all_its_names_are_hidden() {
    let mut listing = merged();
    for name in [&b"both"[..], b"low", b"dir"] {
        assert!(!listing.is_empty());
        listing.set_upper(name, UpperRow::Whiteout);
    }
    assert!(listing.is_empty());
    listing.remove(b"gone");
    listing.remove(b"no such name");
    assert!(listing.is_empty());
    listing.set_upper(b"gone", UpperRow::Object(FILE, Ino(60)));
    assert!(!listing.is_empty());
}

#[test]
fn random_changes_leave_what_a_map_holds() {
    let mut state = 1u64;
    let mut random = move |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let (mut listing, mut map) = (of_upper(&[]), BTreeMap::new());
    for step in 2..20_000u64 {
        let name = format!("{:0width$}", random(300), width = 1 + usize::try_from(random(60)).unwrap());
        match random(3) {
            0 => {
                listing.remove(name.as_bytes());
                map.remove(&name);
            }
            1 => {
                listing.set_upper(name.as_bytes(), UpperRow::Whiteout);
                map.insert(name, None);
            }
            _ => {
                listing.set_upper(name.as_bytes(), UpperRow::Object(FILE, Ino(step)));
                map.insert(name, Some(Ino(step)));
            }
        }
    }
    for (name, ino) in &map {
        let row = listing.get(name.as_bytes()).unwrap();
        assert_eq!(row.visible.then_some(row.ino), *ino, "{name}");
    }
    let mut shown = names(&listing, 0);
    shown.sort();
    let visible = map.into_iter().filter(|(_, ino)| ino.is_some()).map(|(name, _)| name);
    assert_eq!(shown, visible.collect::<Vec<_>>());
}
