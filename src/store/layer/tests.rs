//! Cached layers: what is made anew, what is refused, and what the union is told.

use super::{CachedLayer, LayerError};
use crate::layer::{Finding, Layer, Object};
use crate::store::digest::{DiffId, Hasher};
use crate::store::index::{Index, IndexError};
use crate::store::tar::testing::{TarBuilder, index_bytes, layer_as_text, layer_of, read_all};
use crate::sys::{Errno, Whence};
use crate::types::{DeviceNumber, FileKind, FileName, RealId};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

fn sample() -> Vec<u8> {
    let mut tar = TarBuilder::new().dir("d").file("d/f", "data").symlink("d/s", "f").file("d/.wh.gone", "");
    for n in 0..200 {
        tar = tar.file(&format!("many/{n}"), "x");
    }
    tar.end()
}

struct OnDisk {
    dir: TempDir,
    diff_id: DiffId,
    tar: Vec<u8>,
}

impl OnDisk {
    fn new(tar: Vec<u8>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut hasher = Hasher::new();
        hasher.update(&tar);
        fs::write(dir.path().join("blob"), &tar).unwrap();
        OnDisk { dir, diff_id: hasher.finish_diff(), tar }
    }

    fn index(&self) -> PathBuf {
        self.dir.path().join("index")
    }

    fn open(&self) -> Result<CachedLayer, LayerError> {
        CachedLayer::open(&self.index(), &self.dir.path().join("blob"), self.diff_id)
    }

    /// Opens the layer and checks that the index on disk is then the right one and nothing else is there.
    #[track_caller]
    fn opens_and_heals(&self) {
        self.open().unwrap();
        assert!(fs::read(self.index()).unwrap() == index_bytes(&self.tar).unwrap());
        assert_eq!(fs::read_dir(self.dir.path()).unwrap().count(), 2);
        assert_eq!(fs::metadata(self.index()).unwrap().permissions().mode() & 0o7777, 0o444);
    }
}

fn find(layer: &CachedLayer, path: &str) -> Object {
    path.split('/').fold(layer.root(), |dir, name| match layer.find(&dir, name.as_bytes()).unwrap() {
        Finding::Found(found) => layer.object(&dir, &FileName::from(name.as_bytes()), &found),
        other => panic!("{name}: {other:?}"),
    })
}

#[test]
fn an_index_that_is_missing_old_or_damaged_is_made_anew() {
    let disk = OnDisk::new(sample());
    disk.opens_and_heals();
    let good = fs::read(disk.index()).unwrap();
    let damaged: [fn(&mut Vec<u8>); 6] = [
        |bytes| bytes.clear(),
        |bytes| bytes.truncate(5000),
        |bytes| bytes.push(0),
        |bytes| bytes[0] ^= 1,
        |bytes| bytes[8] = 9,
        |bytes| bytes[4096] ^= 1,
    ];
    for damage in damaged {
        let mut bytes = good.clone();
        damage(&mut bytes);
        fs::remove_file(disk.index()).unwrap();
        fs::write(disk.index(), bytes).unwrap();
        disk.opens_and_heals();
    }
    // One of another layer, sound in itself.
    fs::remove_file(disk.index()).unwrap();
    fs::write(disk.index(), index_bytes(&TarBuilder::new().end()).unwrap()).unwrap();
    disk.opens_and_heals();
}

#[test]
fn a_damaged_page_is_found_when_it_is_read_and_healed_once() {
    let disk = OnDisk::new(sample());
    let good = layer_as_text(&disk.open().unwrap());
    let bytes = fs::read(disk.index()).unwrap();
    assert_eq!(bytes.len() % 4096, 0);
    for page in (8192..bytes.len()).step_by(4096) {
        let mut bytes = bytes.clone();
        bytes[page + 100] ^= 1;
        fs::remove_file(disk.index()).unwrap();
        fs::write(disk.index(), bytes).unwrap();
        let layer = match Index::open(&disk.index(), disk.diff_id, disk.tar.len() as u64) {
            Ok(index) => {
                assert!(matches!(index.check(), Err(IndexError::Damaged("the checksum of a page is wrong"))));
                disk.open().unwrap()
            }
            // The page of the root is read on opening.
            Err(IndexError::Damaged("the checksum of a page is wrong")) => disk.open().unwrap(),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(layer_as_text(&layer), good);
        layer.index().check().unwrap();
        disk.opens_and_heals();
    }
}

#[test]
fn damage_of_index_and_blob_is_an_error_not_a_guess() {
    let disk = OnDisk::new(sample());
    let layer = disk.open().unwrap();
    let last = fs::metadata(disk.index()).unwrap().len() as usize - 4096;
    drop(layer);
    let mut bytes = fs::read(disk.index()).unwrap();
    bytes[last] ^= 1;
    fs::remove_file(disk.index()).unwrap();
    fs::write(disk.index(), bytes).unwrap();
    let layer = disk.open().unwrap();
    let mut tar = disk.tar.clone();
    tar[600] ^= 1;
    fs::write(disk.dir.path().join("blob"), &tar).unwrap();
    for _ in 0..2 {
        let failed = layer.list(&layer.root(), &mut |_| {}).unwrap_err();
        assert_eq!(failed.errno, Errno::IO);
    }
    fs::remove_file(disk.index()).unwrap();
    let refused = disk.open().unwrap_err();
    assert!(matches!(refused, LayerError::Digest(..)), "{refused}");
    assert!(refused.to_string().contains("its blob is damaged"));
    fs::remove_file(disk.dir.path().join("blob")).unwrap();
    assert!(disk.open().unwrap_err().to_string().contains("its blob cannot be read"));
    assert!(!disk.index().exists());
}

#[test]
fn a_blob_that_is_no_layer_is_refused_with_its_reason() {
    let disk = OnDisk::new(TarBuilder::new().file("../f", "").end());
    let text = disk.open().unwrap_err().to_string();
    let reason = r#""../f": its name leaves the root of the layer by .. (at byte 0)"#;
    assert_eq!(text, format!("layer {}: {reason}", disk.diff_id));
}

#[test]
fn an_index_that_cannot_be_kept_is_used_from_memory() {
    let disk = OnDisk::new(sample());
    let nowhere = disk.dir.path().join("missing/index");
    let layer = CachedLayer::open(&nowhere, &disk.dir.path().join("blob"), disk.diff_id).unwrap();
    assert_eq!(layer_as_text(&layer), layer_as_text(&disk.open().unwrap()));
}

#[test]
fn identities_follow_from_the_digest_and_survive_a_copy() {
    let disk = OnDisk::new(TarBuilder::new().file("b", "1").hard("a", "b").file("c", "").end());
    let layer = disk.open().unwrap();
    let dev = layer.device();
    assert!(dev >> 63 == 1);
    assert_eq!(layer.uuid(), disk.diff_id.as_bytes()[..16]);
    let real = |path| layer.look(&find(&layer, path)).unwrap().real;
    assert_eq!(layer.look(&layer.root()).unwrap().real, RealId { dev, ino: 1 });
    assert_eq!([real("a"), real("b"), real("c")].map(|real| real.ino), [2, 2, 4]);
    let origin = layer.origin(&find(&layer, "b")).unwrap().unwrap();
    assert_eq!((origin.inode_number(), origin.uuid()), (Some(2), &layer.uuid()[..]));
    assert_eq!(layer.origin(&find(&layer, "a")).unwrap().unwrap(), origin);
    let again = disk.open().unwrap();
    assert_eq!(
        (again.device(), again.origin(&find(&again, "c")).unwrap().unwrap().inode_number()),
        (dev, Some(4))
    );
    assert!(!layer.shows_mounts());
    assert!(layer.statistics().unwrap().blocks > 0);
}

#[test]
fn whiteouts_opaque_and_implied_directories_are_told() {
    let tar = TarBuilder::new().file("d/.wh.x", "").file("d/y", "").file("o/.wh..wh..opq", "").dir("e");
    let (layer, _dir) = layer_of(&tar.end());
    let (d, o, e) = (find(&layer, "d"), find(&layer, "o"), find(&layer, "e"));
    assert!(matches!(layer.find(&d, b"x").unwrap(), Finding::Whiteout));
    assert!(matches!(layer.find(&d, b"z").unwrap(), Finding::Absent));
    assert!(matches!(layer.find(&d, b".wh.x").unwrap(), Finding::Absent));
    let mut listed = Vec::new();
    let opaque = layer.list(&d, &mut |entry| listed.push((entry.name.to_vec(), entry.whiteout))).unwrap();
    assert_eq!((opaque, listed), (false, vec![(b"x".to_vec(), true), (b"y".to_vec(), false)]));
    assert!(layer.list(&o, &mut |_| {}).unwrap());
    let told = |object| {
        let found = layer.look(object).unwrap();
        (found.marks.opaque, found.implied, found.attr.nlink)
    };
    assert_eq!([told(&d), told(&o), told(&e)], [(false, true, 1), (true, true, 1), (false, false, 1)]);
    let file = find(&layer, "d/y");
    assert_eq!(layer.list(&file, &mut |_| {}).unwrap_err().errno, Errno::NOTDIR);
    assert!(matches!(layer.find(&file, b"x").unwrap(), Finding::Absent));
}

#[test]
fn a_device_0_0_is_a_device_and_no_whiteout() {
    let (layer, _dir) = layer_of(&TarBuilder::new().kind(b'3', "zero", b"").end());
    let found = layer.look(&find(&layer, "zero")).unwrap();
    assert_eq!(found.attr.kind, FileKind::CharDevice);
    assert_eq!(found.marks.device, Some((FileKind::CharDevice, DeviceNumber::default())));
}

#[test]
fn xattrs_of_the_image_are_never_marks() {
    let records: &[(&str, &[u8])] = &[
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.fuseoverlayfs.opaque", b"y"),
        ("SCHILY.xattr.user.x", b"1"),
    ];
    let (layer, _dir) = layer_of(&TarBuilder::new().pax(b'x', records).dir("d").dir("e").end());
    let d = find(&layer, "d");
    let found = layer.look(&d).unwrap();
    assert!(found.marks.others && !found.marks.opaque);
    assert!(!layer.look(&find(&layer, "e")).unwrap().marks.others);
    assert_eq!(layer.list_xattrs(&d).unwrap(), b"trusted.overlay.overlay.opaque\0user.x\0");
    let get = |name: &str| layer.get_xattr(&d, name.as_bytes()).unwrap();
    assert_eq!(get("trusted.overlay.overlay.opaque").as_deref(), Some(&b"y"[..]));
    assert_eq!(get("user.x").as_deref(), Some(&b"1"[..]));
    assert_eq!(
        [get("trusted.overlay.opaque"), get("user.fuseoverlayfs.opaque"), get("user.y")],
        [None, None, None]
    );
}

#[test]
fn data_is_read_in_place_with_its_holes() {
    let records: &[(&str, &[u8])] = &[("GNU.sparse.size", b"100000"), ("GNU.sparse.map", b"10,4,90000,4")];
    let tar = TarBuilder::new().dir("d").pax(b'x', records).file("d/f", "headtail").symlink("s", "d/f").end();
    let (layer, _dir) = layer_of(&tar);
    let object = find(&layer, "d/f");
    let attr = layer.look(&object).unwrap().attr;
    assert_eq!((attr.size, attr.blocks, attr.blksize), (100_000, 1, 4096));
    let contents = layer.open(&object).unwrap();
    let mut expected = vec![0; 100_000];
    expected[10..14].copy_from_slice(b"head");
    expected[90_000..90_004].copy_from_slice(b"tail");
    assert!(read_all(&contents, attr.size) == expected);
    assert_eq!(contents.seek(14, Whence::Data).unwrap(), 90_000);
    assert_eq!(read_all(&layer.open(&find(&layer, "d")).unwrap(), 0), b"");
    assert_eq!(layer.open(&find(&layer, "s")).unwrap_err().errno, Errno::INVAL);
    assert_eq!(layer.read_link(&find(&layer, "s")).unwrap(), b"d/f");
    assert_eq!(layer.read_link(&object).unwrap_err().errno, Errno::INVAL);
}

#[test]
fn objects_that_are_not_there_are_stale_or_an_error() {
    let (layer, _dir) = layer_of(&TarBuilder::new().file(".wh.x", "").end());
    assert_eq!(layer.look(&Object::Entry(1)).unwrap_err().errno, Errno::STALE);
    assert_eq!(layer.look(&Object::Entry(99)).unwrap_err().errno, Errno::IO);
}
