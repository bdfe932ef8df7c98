//! By what way requests come: the device, or io_uring.

use super::*;
use std::fs;

/// Whether the kernel offers io_uring to FUSE servers; older kernels do not have it.
const OFFER: &str = "/sys/module/fuse/parameters/enable_uring";

/// The kernel's offer, changed for a while.
struct Offer {
    before: String,
}

impl Offer {
    /// `None` with a kernel that has none to make.
    fn find() -> Option<Self> {
        fs::read_to_string(OFFER).ok().map(|before| Offer { before })
    }

    fn set(&self, on: bool) {
        fs::write(OFFER, if on { "Y" } else { "N" }).unwrap();
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        fs::write(OFFER, &self.before).unwrap();
    }
}

/// Times that the threads of the ring have waited for a request; `None` without a ring.
fn waits_of_ring(m: &Mount) -> Option<u64> {
    let waits = fs::read_dir(format!("/proc/{}/task", m.pid())).unwrap().filter_map(|task| {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let value = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            line.trim_start_matches(':').trim().to_owned()
        };
        value("Name").starts_with("ring-").then(|| value("voluntary_ctxt_switches").parse::<u64>().unwrap())
    });
    waits.reduce(|sum, waits| sum + waits)
}

/// Asserts that the mount reads, writes, lists, renames and removes, and sends requests for it.
fn assert_serves(m: &Mount) {
    assert_three_layers(m);
    write(m.join("new"), "written");
    fs::rename(m.join("new"), m.join("renamed")).unwrap();
    m.assert_upper_content("renamed", "written");
    fs::remove_file(m.join("top")).unwrap();
    m.assert_whiteout("top");
    let mut names: Vec<_> = fs::read_dir(m.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bottom", "common", "renamed", "upper"]);
    for i in 0..100 {
        assert!(!m.join(format!("absent-{i}")).exists());
    }
}

/// One test, since the offer is one for all mounts.
#[test]
fn m22_requests_come_over_io_uring_if_asked_for_and_offered() {
    let offer = Offer::find();
    for option in ["io_uring", "io_uring=1"] {
        if let Some(offer) = &offer {
            offer.set(false);
        }
        let stack = three_layers();
        let m = stack.try_mount(&[option]).unwrap();
        let said = &m.said().stderr;
        assert!(
            said.contains("io_uring: the kernel does not offer it") && said.lines().count() == 1,
            "{said}"
        );
        assert_eq!(waits_of_ring(&m), None);
        assert_serves(&m);
        m.umount();

        let Some(offer) = &offer else { continue };
        offer.set(true);
        let stack = three_layers();
        let m = stack.try_mount(&[option]).unwrap();
        assert_silent(m.said());
        let before = waits_of_ring(&m).expect("no thread of the ring");
        assert_serves(&m);
        let waited = waits_of_ring(&m).unwrap() - before;
        assert!(waited >= 100, "{waited} requests over the ring");
        m.umount();
    }
    let stack = three_layers();
    let m = stack.try_mount(&["io_uring=0"]).unwrap();
    assert_silent(m.said());
    assert_eq!(waits_of_ring(&m), None, "nobody asked for the ring");
    m.umount();
}
