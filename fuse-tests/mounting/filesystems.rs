//! Upper and lowers on filesystems that lack things: M16. What is lacking is said at mount, and the
//! same work gives the same tree as on a plain directory.

use super::*;
use rustix::fs::{Advice, fadvise};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Command;

/// A filesystem at `BASE/fs`, unmounted on drop: make it before the mount that uses it.
struct Beneath {
    place: PathBuf,
}

impl Beneath {
    /// Mounts it by a shell line, whose `$1` is the place and `$2` the base directory.
    fn new(stack: &Stack, line: &str) -> Self {
        let place = stack.base().join("fs");
        fs::create_dir(&place).unwrap();
        sh(line, &[&place, stack.base()]);
        assert!(is_mounted(&place), "{line}");
        Beneath { place }
    }

    /// An upper and a workdir on it.
    fn upper(&self) -> PathBuf {
        for dir in ["u", "w"] {
            fs::create_dir(self.place.join(dir)).unwrap();
        }
        self.place.join("u")
    }
}

impl Drop for Beneath {
    fn drop(&mut self) {
        let mut command = Command::new("sh");
        let line =
            "for try in 1 2 3 4 5 6 7 8 9; do umount \"$0\" && exit; sleep 0.3; done; umount -l \"$0\"";
        let outcome = run(command.args(["-c", line]).arg(&self.place), LIMIT);
        if !outcome.success() {
            eprintln!("{}: {}", self.place.display(), outcome.stderr);
        }
    }
}

/// What anybody does with a tree; `mv` copies where a directory cannot be renamed.
const WORK: &str = r#"cd "$1"
echo changed > d/changed; echo more >> d/appended; chmod 600 d/mode; chown 12:34 d/owner
rm d/gone; rm -r d/tree; mkdir d/tree; echo new > d/tree/new
mv d/old d/new; mv d/moved d/there; ln -s target link; mkdir -m 1770 dir; mkfifo pipe
rm d/again; echo again > d/again; mv d/again d/gone; rm -r d/full; mv d/tree d/full; mv d/there d/void
rmdir d/empty; touch d/empty; truncate -s 3 d/cut; rm -r e; mkdir e; rm -r e"#;

fn stack() -> Stack {
    let stack = Stack::new(2);
    stack.opt_out(Check::UpperNames);
    for name in
        ["changed", "appended", "mode", "owner", "gone", "tree/x", "old", "moved/y", "again", "full/z", "cut"]
    {
        write(stack.lower(0).join("d").join(name), format!("{name} of the lower"));
    }
    for name in ["d/void/v", "d/moved/below", "e/f/g"] {
        write(stack.lower(1).join(name), name);
    }
    fs::create_dir(stack.lower(0).join("d/empty")).unwrap();
    sh("rm -r \"$1\"/d/void/v", &[stack.lower(1)]);
    stack
}

fn described(root: &Path) -> String {
    dump_with(root, &DumpOptions { mtime: false, nlink: false, ..DumpOptions::default() })
}

/// What the work gives on a plain directory.
fn wanted(stack: &Stack) -> String {
    let plain = stack.base().join("plain");
    fs::create_dir(&plain).unwrap();
    sh("cp -a \"$2\"/. \"$1\"; cp -a \"$3\"/. \"$1\"", &[&plain, stack.lower(1), stack.lower(0)]);
    sh(WORK, &[&plain]);
    described(&plain)
}

fn mount_on(stack: &Stack, upper: &Path) -> Mount {
    let lowers: Vec<&str> = stack.lowers().iter().map(|l| l.to_str().unwrap()).collect();
    let (lowers, work) = (lowers.join(":"), upper.with_file_name("w"));
    let options = format!("lowerdir={lowers},upperdir={},workdir={}", upper.display(), work.display());
    let mut command = layerfs_command();
    command.arg(stack.mnt()).args(["-o", &options]).env("LAYERFS_LOG", "info");
    stack.adopt(run(&mut command, LIMIT))
}

/// Works in a mount whose upper is there, mounts it again, and compares; `lacks` is in the one line that
/// says what is lacking.
fn assert_works_on(stack: &Stack, upper: &Path, lacks: &[&str]) {
    let wanted = wanted(stack);
    let m = mount_on(stack, upper);
    let lines: Vec<&str> = m.said().stderr.lines().filter(|line| line.contains("INFO")).collect();
    let said = lines.iter().filter(|line| line.contains("upperdir: ")).count();
    assert_eq!(said, 1, "{lines:?}");
    for word in lacks {
        assert!(lines.concat().contains(word), "{word}: {lines:?}");
    }
    sh(WORK, &[m.path()]);
    assert_same_text(&wanted, &described(m.path()), "a plain directory and layerfs");
    m.umount();
    let m = mount_on(stack, upper);
    assert_same_text(&wanted, &described(m.path()), "a plain directory and layerfs, mounted again");
}

#[test]
fn m16_a_filesystem_that_lacks_nothing_is_said_to() {
    let stack = stack();
    assert_works_on(&stack, stack.upper(), &["upperdir: its filesystem has all that is used"]);
}

#[test]
fn m16_without_xattrs_and_acls() {
    let stack = stack();
    let beneath = Beneath::new(&stack, "mount -t ramfs none \"$1\"");
    assert_works_on(&stack, &beneath.upper(), &["no xattrs", "no RENAME_WHITEOUT", "no ACLs"]);
}

#[test]
fn m16_without_file_types_in_listings() {
    let stack = stack();
    need_program("mkfs.ext2", "e2fsprogs");
    let line = "truncate -s 32M \"$2\"/image; mkfs.ext2 -q -O ^filetype \"$2\"/image; mount -o loop \"$2\"/image \"$1\"";
    let beneath = Beneath::new(&stack, line);
    assert_works_on(&stack, &beneath.upper(), &["upperdir: "]);
}

/// exFAT has names, times and data, and nothing else: owners and modes are not kept.
#[test]
fn m16_without_hard_links_owners_and_modes() {
    need_program("mount.exfat-fuse", "exfat-fuse");
    need_program("mkfs.exfat", "exfatprogs");
    const BARE_WORK: &str = r#"cd "$1"
echo changed > d/changed; echo more >> d/appended; rm d/gone; rm -r d/tree; mkdir d/tree; echo new > d/tree/new
mv d/old d/new; mv d/moved d/there; rm d/again; echo again > d/again; mv d/again d/gone; rm -r d/full
mv d/tree d/full; mv d/there d/void; rmdir d/empty; touch d/empty; truncate -s 3 d/cut; rm -r e; mkdir e; rm -r e"#;
    const LOOK: &str = r#"cd "$1"; find . -type d -o -type f -exec cksum {} + | sort; find . -printf '%p %y %s\n' | sed '/ d /s/[0-9]*$//' | sort"#;
    let stack = stack();
    let line = "truncate -s 64M \"$2\"/image; mkfs.exfat \"$2\"/image > /dev/null; losetup -f \"$2\"/image
        device=$(losetup -j \"$2\"/image | cut -d: -f1); mount.exfat-fuse $device \"$1\"; losetup -d $device";
    let beneath = Beneath::new(&stack, line);
    let plain = stack.base().join("plain");
    fs::create_dir(&plain).unwrap();
    sh("cp -a \"$2\"/. \"$1\"; cp -a \"$3\"/. \"$1\"", &[&plain, stack.lower(1), stack.lower(0)]);
    sh(BARE_WORK, &[&plain]);
    let upper = beneath.upper();
    let m = mount_on(&stack, &upper);
    let said = &m.said().stderr;
    for lack in ["no xattrs", "no whiteout devices", "no RENAME_EXCHANGE", "no hard links"] {
        assert!(said.contains(lack), "{lack}: {said}");
    }
    assert!(said.contains("WARN") && said.contains("hard links are not kept"), "{said}");
    sh(BARE_WORK, &[m.path()]);
    assert_same_text(&sh(LOOK, &[&plain]), &sh(LOOK, &[m.path()]), "a plain directory and layerfs");
    m.umount();
    let m = mount_on(&stack, &upper);
    assert_same_text(&sh(LOOK, &[&plain]), &sh(LOOK, &[m.path()]), "the same, mounted again");
}

#[test]
fn m16_on_the_kernels_overlayfs() {
    let stack = stack();
    let line = "cd \"$2\"; mkdir bl bu bw; mount -t overlay overlay fs -o lowerdir=bl,upperdir=bu,workdir=bw";
    let beneath = Beneath::new(&stack, line);
    assert_works_on(&stack, &beneath.upper(), &["no whiteout devices (whiteouts are marked files)"]);
}

#[test]
fn m16_on_fuse_overlayfs() {
    let stack = stack();
    need_program("fuse-overlayfs", "fuse-overlayfs");
    let line = "cd \"$2\"; mkdir bl bu bw; fuse-overlayfs fs -o lowerdir=bl,upperdir=bu,workdir=bw";
    let beneath = Beneath::new(&stack, line);
    assert_works_on(&stack, &beneath.upper(), &["no whiteout devices", "no .wh. names"]);
    // Nothing of the probing is left: neither a name in the directory nor a file that only fuse-overlayfs sees.
    let work = beneath.place.join("w/work");
    assert_eq!(fs::read_dir(&work).unwrap().count(), 0);
    let below = sh("ls -A \"$1\"/bu/w/work", &[stack.base()]);
    assert!(below.lines().all(|name| name.starts_with(".wh..wh.")), "{below}");
}

#[test]
fn m16_on_layerfs_itself() {
    let stack = stack();
    let bin = layerfs_bin();
    let line =
        format!("cd \"$2\"; mkdir bl bu bw; {} fs -o lowerdir=bl,upperdir=bu,workdir=bw", bin.display());
    let beneath = Beneath::new(&stack, &line);
    assert_works_on(&stack, &beneath.upper(), &["no RENAME_WHITEOUT", "no .wh. names"]);
}

#[test]
fn m16_lowers_that_are_read_only_without_file_types_or_unions_are_read() {
    let lines = [
        "truncate -s 32M \"$2\"/image; mkfs.ext2 -q -O ^filetype \"$2\"/image; mount -o loop \"$2\"/image \"$1\"; \
         cp -a \"$2\"/l0/. \"$1\"; mount -o remount,ro \"$1\"",
        "mount -t ramfs none \"$1\"; cp -a \"$2\"/l0/. \"$1\"; mount -o remount,ro \"$1\"",
        "cd \"$2\"; mkdir bl bu bw; mount -t overlay overlay fs -o lowerdir=l0:bl",
        "cd \"$2\"; mkdir bl bu bw; fuse-overlayfs fs -o lowerdir=l0:bl",
    ];
    for line in lines {
        let stack = stack();
        let beneath = Beneath::new(&stack, line);
        let wanted = wanted(&stack);
        // The first line leaves a directory of its own there.
        sh("rm -rf \"$1\"/plain/lost+found", &[stack.base()]);
        let options = format!(
            "lowerdir={}:{},upperdir={},workdir={}",
            beneath.place.display(),
            stack.lower(1).display(),
            stack.upper().display(),
            stack.work().display()
        );
        let mut command = layerfs_command();
        let m = stack.adopt(run(command.arg(stack.mnt()).args(["-o", &options]), LIMIT));
        sh("cd \"$1\"; rm -rf lost+found", &[m.path()]);
        sh(WORK, &[m.path()]);
        let root = DumpOptions { mtime: false, nlink: false, root: false, ..DumpOptions::default() };
        let without_root = wanted.lines().skip(1).map(|l| format!("{l}\n")).collect::<String>();
        assert_same_text(&without_root, &dump_with(m.path(), &root), line);
        m.umount();
    }
}

#[test]
fn m16_a_workdir_that_cannot_be_written_is_refused_at_mount() {
    let stack = stack();
    let line = "mount -t ramfs none \"$1\"; mkdir \"$1\"/u \"$1\"/w; mount -o remount,ro \"$1\"";
    let beneath = Beneath::new(&stack, line);
    let (upper, work) = (beneath.place.join("u"), beneath.place.join("w"));
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        stack.lower(0).display(),
        upper.display(),
        work.display()
    );
    let outcome = run(layerfs_command().arg(stack.mnt()).args(["-o", &options]), LIMIT);
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains(upper.to_str().unwrap()), "{outcome:?}");
}

/// Bytes of a file that are in memory.
fn resident(path: &Path) -> u64 {
    sh("fincore -nb -o RES \"$1\"", &[path]).trim().parse().unwrap()
}

/// The data, and that the disk has it without a copy in memory: on ext4, with Linux 6.16 and newer.
#[test]
fn f7_much_data_is_not_kept_in_memory_twice() {
    need_program("fincore", "util-linux-extra");
    need_program("mkfs.ext4", "e2fsprogs");
    const SIZE: usize = 24 << 20;
    let stack = stack();
    let line = "truncate -s 160M \"$2\"/image; mkfs.ext4 -q \"$2\"/image; mount -o loop \"$2\"/image \"$1\"";
    let beneath = Beneath::new(&stack, line);
    let data: Vec<u8> = (0..SIZE).map(|at| (at / 4096) as u8 ^ at as u8).collect();
    write(stack.lower(0).join("big"), &data);
    let upper = beneath.upper();
    let m = mount_on(&stack, &upper);
    let mut written = fs::File::create(m.join("written")).unwrap();
    data.chunks(1 << 20).for_each(|part| written.write_all(part).unwrap());
    fs::OpenOptions::new().append(true).open(m.join("big")).unwrap().write_all(b"!").unwrap();
    sh("sync -f \"$1\"", &[m.path()]);
    let kernel = sh("uname -r", &[]);
    let can: bool = kernel.split('.').map(|part| part.parse().unwrap_or(0)).take(2).ge([6_u32, 16]);
    for name in ["written", "big"] {
        let small = || resident(&upper.join(name)) < SIZE as u64 / 4;
        assert!(!can || wait_until(LIMIT, small), "{name}: {} bytes in memory", resident(&upper.join(name)));
        let wanted = if name == "big" { [&data[..], b"!"].concat() } else { data.clone() };
        assert!(fs::read(upper.join(name)).unwrap() == wanted, "{name} in the upper");
        assert!(fs::read(m.join(name)).unwrap() == wanted, "{name} in the mount");
    }
}

/// Whatever part of it is in memory when the mount, which knows nothing of it yet, reads it.
#[test]
fn f8_large_reads_of_a_lower_answer_its_bytes_cached_or_not() {
    const HOLE: std::ops::Range<usize> = 1 << 20..5 << 18;
    let stack = stack();
    let mut data: Vec<u8> = (0..(4 << 20) + 4321).map(|at| (at / 4096) as u8 ^ at as u8).collect();
    data[HOLE].fill(0);
    let lower = stack.lower(0).join("big");
    let file = fs::File::create(&lower).unwrap();
    file.write_all_at(&data[..HOLE.start], 0).unwrap();
    file.write_all_at(&data[HOLE.end..], HOLE.end as u64).unwrap();
    file.sync_all().unwrap();
    let mut m = stack.mount(&[]);
    for uncached in [0..0, 0..data.len(), 2 << 20..(2 << 20) + 4096, 0..3 << 20] {
        assert!(fs::read(&lower).unwrap() == data);
        if let Some(len) = NonZeroU64::new(uncached.len() as u64) {
            fadvise(&file, uncached.start as u64, Some(len), Advice::DontNeed).unwrap();
        }
        m.remount(&[]);
        assert!(fs::read(m.join("big")).unwrap() == data, "all but {uncached:?} cached");
        m.remount(&[]);
        let open = fs::File::open(m.join("big")).unwrap();
        for (at, len) in [(3 << 20, 1 << 20), (777, 300_000), ((4 << 20) - 5, 4326), (0, data.len())] {
            let mut part = vec![1; len];
            open.read_exact_at(&mut part, at as u64).unwrap();
            assert!(part == data[at..at + len], "{len} at {at}, all but {uncached:?} cached");
        }
    }
    m.remount(&[]);
    let open = fs::OpenOptions::new().read(true).write(true).open(m.join("big")).unwrap();
    open.write_all_at(b"changed", 2 << 20).unwrap();
    data[2 << 20..(2 << 20) + 7].copy_from_slice(b"changed");
    assert!(fs::read(m.join("big")).unwrap() == data, "after a copy-up");
    m.assert_upper_content("big", &data);
}

/// Its files are on the disk alone, and what the mount reads in them is all that is read.
#[test]
fn f9_who_reads_files_in_the_order_of_the_listing_finds_the_next_read() {
    need_program("fincore", "util-linux-extra");
    let stack = stack();
    // A directory of tests in memory would have no disk to read from.
    need_program("mkfs.ext4", "e2fsprogs");
    let line = "truncate -s 64M \"$2\"/image; mkfs.ext4 -q \"$2\"/image; mount -o loop \"$2\"/image \"$1\"";
    let beneath = Beneath::new(&stack, line);
    let upper = beneath.upper();
    for (dir, file) in [("in_order", "f"), ("backwards", "b")] {
        (0..40).for_each(|i| write(upper.join(dir).join(format!("{file}{i}")), vec![i; 9000]));
    }
    let m = mount_on(&stack, &upper);
    let listed = |dir: &str| {
        let entries = fs::read_dir(m.join(dir)).unwrap();
        entries.map(|entry| Path::new(dir).join(entry.unwrap().file_name())).collect::<Vec<_>>()
    };
    let (in_order, mut backwards) = (listed("in_order"), listed("backwards"));
    backwards.reverse();
    for path in in_order.iter().chain(&backwards) {
        fs::symlink_metadata(m.join(path)).unwrap();
        let file = fs::File::open(upper.join(path)).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        assert_eq!(resident(&upper.join(path)), 0, "{}", path.display());
    }
    let in_memory = |paths: &[PathBuf]| paths.iter().filter(|path| resident(&upper.join(path)) > 0).count();
    for path in backwards[..4].iter().chain(&in_order[..1]) {
        fs::read(m.join(path)).unwrap();
    }
    assert_eq!((in_memory(&backwards), in_memory(&in_order)), (4, 1), "without an order");
    fs::read(m.join(&in_order[1])).unwrap();
    assert!(wait_until(LIMIT, || in_memory(&in_order[..6]) == 6), "{} of 6", in_memory(&in_order));
    assert_eq!(in_memory(&in_order[6..]), 0, "more than 4 after two");
    in_order[2..10].iter().for_each(|path| drop(fs::read(m.join(path)).unwrap()));
    assert!(wait_until(LIMIT, || in_memory(&in_order[..26]) == 26), "{} of 26", in_memory(&in_order));
    assert_eq!(in_memory(&in_order[26..]), 0, "more than 16 ahead");
    for path in &in_order {
        let number = path.file_name().unwrap().to_str().unwrap()[1..].parse::<u8>().unwrap();
        assert!(fs::read(m.join(path)).unwrap() == vec![number; 9000], "{}", path.display());
    }
}

/// The inode flags as lsattr shows them.
fn flags_of(path: &Path) -> String {
    sh("lsattr -d \"$1\" | cut -d ' ' -f 1", &[path])
}

/// A group holds 8,192 inodes here, and new directories go to the group of their parent unless they are
/// put elsewhere.
#[test]
fn m21_on_ext4_new_objects_lie_apart_from_what_was_there() {
    const GROUP: u64 = 8192;
    let group = |path: &Path| (fs::symlink_metadata(path).unwrap().ino() - 1) / GROUP;
    need_program("mkfs.ext4", "e2fsprogs");
    let stack = stack();
    let line = "truncate -s 16G \"$2\"/image; mkfs.ext4 -q -O ^flex_bg -N 1048576 \"$2\"/image; \
                mount -o loop \"$2\"/image \"$1\"; mkdir \"$1\"/mine";
    let beneath = Beneath::new(&stack, line);
    let (upper, work) = (beneath.place.join("mine/u"), beneath.place.join("mine/w"));
    sh("mkdir -p \"$1\" \"$2\"/#apart-5/x", &[&upper, &work]);
    let (mut works, mut firsts) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..8 {
        let m = mount_on(&stack, &upper);
        fs::create_dir_all(m.join(format!("new{round}/below"))).unwrap();
        write(m.join(format!("new{round}/below/file")), "x");
        let changed =
            format!("d/{}", ["changed", "mode", "owner", "gone", "old", "again", "cut", "appended"][round]);
        fs::set_permissions(m.join(&changed), fs::Permissions::from_mode(0o600)).unwrap();
        m.umount();
        let first = group(&upper.join(format!("new{round}")));
        assert_eq!(group(&upper.join(format!("new{round}/below"))), first);
        assert_eq!(group(&upper.join(format!("new{round}/below/file"))), first);
        assert_eq!(group(&upper.join(&changed)), group(&work.join("work")), "{changed}");
        firsts.insert(first);
        works.insert(group(&work.join("work")));
    }
    for places in [&works, &firsts] {
        assert!(places.len() > 1, "always in {places:?}");
        assert!(!places.contains(&group(&upper)), "{places:?} has that of the upper");
    }
    let m = mount_on(&stack, &upper);
    for number in 0..70 {
        fs::create_dir(m.join(format!("many{number}"))).unwrap();
    }
    m.umount();
    let in_place = |number: &u32| group(&upper.join(format!("many{number}"))) == group(&upper);
    assert_eq!((0..70).filter(in_place).collect::<Vec<_>>(), Vec::from_iter(64..70));
    assert_eq!(sh("ls -A \"$1\"", &[&work]), "index\nwork\n");
    for dir in [&upper, &work] {
        assert!(!flags_of(dir).contains('T'), "{}", dir.display());
    }
}

#[test]
fn m21_a_root_that_hands_on_its_flags_keeps_its_directories() {
    need_program("chattr", "e2fsprogs");
    let stack = stack();
    let m = stack.mount_as(Target::Layerfs, &[]);
    sh("mkdir \"$1\"/before; chattr +d \"$1\"; mkdir \"$1\"/after", &[m.path()]);
    assert!(!flags_of(&m.join("before")).contains('d'));
    let hands_on = Filesystem::of_tests().hands_on_flags();
    assert_eq!(flags_of(&m.join("after")).contains('d'), hands_on, "set in the mount");
    m.umount();
    let m = stack.mount_as(Target::Layerfs, &[]);
    sh("mkdir \"$1\"/later", &[m.path()]);
    assert_eq!(flags_of(&m.join("later")).contains('d'), hands_on, "found at the mount");
}
