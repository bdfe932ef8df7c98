//! Attributes that reading made stale are given anew, many at a time (rule M20): what it saves, that they are
//! right, and that the server's visits of its own mount are in nobody's way.

use super::requests::{requests_of, total};
use super::*;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};

/// Fewer than 64 wait until there are more, and those that are read during a visit wait for the next one.
const MOST_LEFT: u64 = 130;
/// Requests come over the device, also where the other tests have them come over io_uring.
const VISITED: &[&str] = &["io_uring=0"];

/// So many files of one directory.
fn files(stack: &Stack, dir: &str, many: usize) {
    for at in 0..many {
        write(stack.lower(0).join(format!("{dir}/f{at:07}")), "some data");
    }
}

fn read_files(m: &Mount, dir: &str, which: std::ops::Range<usize>) {
    for at in which {
        assert_eq!(fs::read(m.join(format!("{dir}/f{at:07}"))).unwrap(), b"some data");
    }
}

/// The requests that `work` causes, once visits that were late on a busy machine are over.
fn later_requests_of(m: &Mount, work: impl FnOnce()) -> BTreeMap<String, u64> {
    std::thread::sleep(Duration::from_millis(300));
    requests_of(m, work)
}

/// How often `work` makes the kernel ask for attributes.
fn asked(m: &Mount, work: impl FnOnce()) -> u64 {
    later_requests_of(m, work).get("GETATTR").copied().unwrap_or(0)
}

/// Stats all that a tree has.
fn look(at: &Path) -> String {
    sh("find \"$1\" -printf '%P %i %y %m %n %u %g %s %b %T@ %l\\n' | sort", &[at])
}

#[test]
fn m20_files_that_were_read_need_not_be_asked_for_one_by_one() {
    let stack = Stack::new(1);
    (0..5).for_each(|dir| files(&stack, &format!("d{dir}"), 100));
    let m = stack.mount_as(Target::Layerfs, VISITED);
    look(m.path());
    (0..5).for_each(|dir| read_files(&m, &format!("d{dir}"), 0..100));
    let second = later_requests_of(&m, || drop(look(m.path())));
    assert!(total(&second) <= MOST_LEFT, "{second:?}");
    let third = requests_of(&m, || drop(look(m.path())));
    assert_eq!(total(&third), third.get("STATFS").copied().unwrap_or(0), "{third:?}");
}

#[test]
fn m20_directories_that_were_listed_need_not_be_asked_for_one_by_one() {
    let stack = Stack::new(1);
    (0..300).for_each(|dir| files(&stack, &format!("{}/{dir}", dir % 10), 1));
    let m = stack.mount_as(Target::Layerfs, VISITED);
    look(m.path());
    let second = later_requests_of(&m, || drop(look(m.path())));
    assert!(total(&second) <= MOST_LEFT, "{second:?}");
}

#[test]
fn m20_symlinks_that_were_read_need_not_be_asked_for_one_by_one() {
    let stack = Stack::new(1);
    files(&stack, "d", 1);
    for at in 0..200 {
        symlink("nowhere", stack.lower(0).join(format!("d/l{at}"))).unwrap();
    }
    let m = stack.mount_as(Target::Layerfs, VISITED);
    let links: Vec<PathBuf> = (0..200).map(|at| m.join(format!("d/l{at}"))).collect();
    links.iter().for_each(|link| assert_eq!(fs::read_link(link).unwrap(), Path::new("nowhere")));
    read_files(&m, "d", 0..1);
    let asked = asked(&m, || assert!(links.iter().all(|link| link.is_symlink())));
    assert!(asked <= MOST_LEFT, "{asked}");
}

/// The kernel answers for a listing that fills its last page itself, wherever it is to begin.
#[test]
fn m20_a_listing_of_whole_pages_is_no_obstacle() {
    // `.` and `..` take 32 bytes of the kernel's listing, and so does each name of eight.
    const PAGES: usize = 3;
    let stack = Stack::new(1);
    files(&stack, "d", PAGES * 128 - 2);
    let m = stack.mount_as(Target::Layerfs, VISITED);
    look(m.path());
    read_files(&m, "d", 0..PAGES * 128 - 2);
    let asked = asked(&m, || drop(look(m.path())));
    assert!(asked <= MOST_LEFT, "{asked}");
}

#[test]
fn m20_what_is_given_anew_is_what_is_there() {
    change_what_waits(VISITED);
    change_what_waits(&["io_uring=0", "writeback=1"]);
}

/// Reads files and changes some before, and some after, their attributes are given anew.
fn change_what_waits(options: &[&str]) {
    const EACH: usize = 60;
    let stack = Stack::new(2);
    files(&stack, "d", 5 * EACH);
    files(&stack, "to", 10);
    files(&stack, "last", 5 * 64);
    write(stack.lower(1).join("d/f0000001"), "below");
    fs::hard_link(stack.lower(0).join("d/f0000009"), stack.lower(0).join("to/linked")).unwrap();
    let mut m = stack.mount_as(Target::Layerfs, options);
    for round in 0..5 {
        let these = round * EACH..(round + 1) * EACH;
        read_files(&m, "d", these.clone());
        // Some of them wait, and change meanwhile.
        for at in these.step_by(4) {
            let name = |at: usize| m.join(format!("d/f{at:07}"));
            fs::rename(name(at), m.join(format!("to/moved{at}"))).unwrap();
            fs::set_permissions(name(at + 1), fs::Permissions::from_mode(0o600 + round as u32)).unwrap();
            fs::write(name(at + 2), "longer than it was").unwrap();
            if at % 8 == 0 {
                fs::remove_file(name(at + 3)).unwrap();
            }
        }
        fs::rename(m.join("to"), m.join("elsewhere")).unwrap();
        read_files(&m, "last", round * 64..(round + 1) * 64);
        fs::rename(m.join("elsewhere"), m.join("to")).unwrap();
    }
    let warm = look(m.path());
    m.remount(options);
    assert_same_text(&warm, &look(m.path()), "warm and anew");
}

/// The last read is the one that causes a visit, and the unmount follows it at once.
#[test]
fn m20_an_unmount_is_never_busy_with_it() {
    let stack = Stack::new(1);
    files(&stack, "d", 64 + 30);
    for round in 0..30 {
        let m = stack.mount_as(Target::Layerfs, VISITED);
        // A process of its own, so that no child of other tests has its descriptors.
        let child = fork_child(&[], || {
            read_files(&m, "d", 0..64 + round);
            let unmounted = rustix::mount::unmount(m.path(), rustix::mount::UnmountFlags::empty());
            unmounted.map_or_else(|errno| errno.raw_os_error(), |()| 0)
        });
        assert_eq!(child.wait(), 0);
        m.ended();
    }
}

/// A server that waits for its own answer when it is killed must not keep itself and others waiting.
#[test]
fn m20_killed_at_any_moment_it_ends_and_lets_its_users_go() {
    let stack = Stack::new(1);
    files(&stack, "d", 4000);
    for round in 0..20 {
        let mut m = stack.mount_as(Target::Layerfs, VISITED);
        let dir = m.join("d");
        let reader =
            std::thread::spawn(move || (0..4000).all(|at| fs::read(dir.join(format!("f{at:07}"))).is_ok()));
        std::thread::sleep(Duration::from_millis(20 + 7 * round));
        m.kill_daemon();
        assert!(wait_until(LIMIT, || reader.is_finished()), "a reader waits for a server that is dead");
    }
}

#[test]
fn m20_a_mount_that_is_not_at_its_place_any_more_is_served_as_before() {
    let stack = Stack::new(1);
    files(&stack, "d", 400);
    let m = stack.mount_as(Target::Layerfs, VISITED);
    read_files(&m, "d", 0..100);
    let inside = File::open(m.path()).unwrap();
    {
        let over = Tmpfs::at(m.path(), "size=1m");
        write(over.path().join("d/f0000100"), "of another filesystem");
        let through = format!("/proc/self/fd/{}/d", inside.as_raw_fd());
        for at in 100..400 {
            assert_eq!(fs::read(format!("{through}/f{at:07}")).unwrap(), b"some data");
        }
    }
    drop(inside);
    let stat = || assert!((100..400).all(|at| m.join(format!("d/f{at:07}")).is_file()));
    assert_eq!((asked(&m, stat), asked(&m, stat)), (300, 0));
}

#[test]
fn m20_where_no_visit_is_possible_it_is_asked_for_each() {
    let stack = Stack::new(1);
    files(&stack, "d", 200);
    let m = stack.mount_as(Target::Layerfs, &["threads=1"]);
    let stat = || assert!((0..200).all(|at| m.join(format!("d/f{at:07}")).is_file()));
    read_files(&m, "d", 0..200);
    assert_eq!((asked(&m, stat), asked(&m, stat)), (200, 0));
}
