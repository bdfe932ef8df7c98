//! commit: changes made in a mounted image become a layer that other programs read as we do.

use super::gallery::make;
use super::tools::{skopeo_copy, tool, umoci_unpack, with_store};
use super::*;

/// What a person does in a mounted image: adds, changes, removes, renames, links.
const WORK: &str = r#"
cd "$1"
umask 022
mkdir -p new/dir; echo new >new/file; ln new/file new/dir/link; ln -s ../new/file new/dir/soft
rm etc/motd-link
rm -r var/lib/a
rm -r opt; mkdir opt; echo replaced >opt/whole
mv usr/lib usr/library; mv "dir with blanks" blanks
mv etc/old etc/older
chmod 640 etc/future; chown 9:10 blanks
echo appended >>usr/library/big
ln usr/library/motd-far etc/motd
setfattr -n user.note -v changed etc/owned; setfattr -x user.new etc/owned
mknod -m 600 new/device c 1 7; mkfifo new/pipe; echo x >new/suid; chmod 6711 new/suid
truncate -s 5M new/sparse; echo end >>new/sparse
touch -d 2020-02-02T02:02:02.123456789Z new/file
echo "odd" >"$(printf 'new/raw\377')"
"#;

/// The tree without what a layer cannot keep: of a hard link to a lower file only the upper's names.
fn tree(path: &Path) -> String {
    dump_with(path, &DumpOptions { nlink: false, ..DumpOptions::default() })
}

/// The same as far as podman keeps it: its root is its own, it sets times of directories by unpacking into
/// them, and takes times before 1970 for 1970.
fn for_podman(path: &Path) -> String {
    let options = DumpOptions { nlink: false, root: false, dir_mtime: false, ..DumpOptions::default() };
    let text = dump_with(path, &options);
    text.split_inclusive('\n').filter(|line| !line.starts_with("/etc/older ")).collect()
}

#[test]
fn cache_commit_of_a_mount_is_the_same_tree_for_podman_and_umoci() {
    let cache = Cache::new();
    let home = cache.dir("home");
    cache.load(&make(&cache));
    let rw = cache.dir("rw");
    let m = cache.mount("gallery", "mnt", &["--rw", rw.to_str().unwrap()]);
    sh(WORK, &[m.path()]);
    let (expected, kept) = (tree(m.path()), for_podman(m.path()));
    let at = m.path().to_str().unwrap();
    let change = ["-c", "CMD [\"/bin/new\"]", "-c", "ENV B=2", "-c", "LABEL l=m"];
    let arguments =
        [&["commit", "-m", "changed", "-a", "me"], &change[..], &[at, "gallery", "localhost/c:1"]];
    let said = cache.ok(&arguments.concat());
    assert_eq!(said.trim_end(), cache.id("localhost/c:1"));
    m.umount();
    assert_same_text(&expected, &tree(cache.mount("localhost/c:1", "mnt", &[]).path()), "mount and commit");
    assert_eq!(cache.layers("localhost/c:1").len(), 6);
    assert_eq!(cache.layers("localhost/c:1")[..5], cache.layers("gallery")[..]);
    let env = cache.ok(&["inspect", "--format", "{{json .Config.Env}}", "localhost/c:1"]);
    assert!(env.contains("A=1") && env.contains("B=2"), "{env}");

    let archive = cache.at("committed.tar");
    cache.ok(&["save", "-o", archive.to_str().unwrap(), "localhost/c:1"]);
    let (source, copied) = (format!("docker-archive:{}", archive.display()), cache.at("copied"));
    skopeo_copy(&home, &source, &format!("oci:{}:x", copied.display()), &[]);
    let by_umoci = umoci_unpack(&home, &copied, "x", &cache.at("by-umoci"));
    assert_same_text(&expected, &tree(&by_umoci), "the mount and what umoci unpacks");
    with_store(&home, "podman", &["load", "-i", archive.to_str().unwrap()]);
    let by_podman = with_store(&home, "podman", &["image", "mount", "localhost/c:1"]);
    assert_same_text(&kept, &for_podman(Path::new(&by_podman)), "the mount and what podman mounts");
    let history = cache.ok(&["history", "--format", "{{.Comment}}", "localhost/c:1"]);
    assert_eq!(history.lines().next(), Some("changed"));
}

#[test]
fn cache_commit_of_an_upper_is_reproducible() {
    let cache = Cache::new();
    cache.load(&make(&cache));
    let rw = cache.dir("rw");
    let m = cache.mount("gallery", "mnt", &["--rw", rw.to_str().unwrap()]);
    sh(WORK, &[m.path()]);
    m.umount();
    let upper = rw.join("upper");
    let commit = |name: &str| {
        let mut command = cache.command(&["commit", upper.to_str().unwrap(), "gallery", name]);
        let outcome = run(command.env("SOURCE_DATE_EPOCH", "1700000000"), LIMIT);
        assert!(outcome.success(), "{outcome:?}");
        outcome.stdout
    };
    let first = commit("localhost/first:1");
    let copy = cache.at("rw2");
    sh("cp -a \"$1\" \"$2\"", &[&rw, &copy]);
    fs::remove_dir_all(&rw).unwrap();
    sh("mv \"$2\" \"$1\"", &[&rw, &copy]);
    assert_eq!(commit("localhost/second:1"), first, "the same changes give the same id");
    let layer = cache.layers("localhost/first:1")[5].clone();
    let names = sh("tar -tf \"$1\"", &[&cache.root().join("blobs/sha256").join(&layer[7..])]);
    let whiteouts = names.lines().filter(|name| name.contains(".wh.")).count();
    assert!(whiteouts > 3, "{names}");
    assert!(!names.contains("overlay"), "{names}");
}

#[test]
fn cache_commit_refuses_what_is_no_upper_and_changes_it_does_not_know() {
    let cache = Cache::new();
    cache.load(&make(&cache));
    let upper = cache.dir("upper");
    let at = upper.to_str().unwrap();
    let before = cache.stored();
    for change in ["RUN true", "EXPOSE many", "ENV", "HEALTHCHECK NONE"] {
        let line = cache.refused(&["commit", "-c", change, at, "gallery", "new:1"]);
        let word = change.split(' ').next().unwrap();
        assert!(line.contains(word), "{change}: {line}");
    }
    assert!(cache.refused(&["commit", "/no/such", "gallery", "new:1"]).contains("/no/such"));
    assert!(cache.refused(&["commit", at, "nothing", "new:1"]).contains("nothing"));
    assert!(cache.refused(&["commit", at, "gallery", "New Name"]).contains("New Name"));
    let m = cache.mount("gallery", "mnt", &[]);
    let mnt = m.path().to_str().unwrap();
    assert!(cache.refused(&["commit", mnt, "gallery", "new:1"]).contains("read-only"));
    let other = Cache::new();
    other.load(&cache.at("gallery"));
    assert!(other.refused(&["commit", mnt, "gallery", "new:1"]).contains("upper directory"));
    m.umount();
    assert_eq!(cache.stored(), before, "a refused commit stores nothing");
}

#[test]
fn cache_commit_keeps_the_config_of_its_base_and_takes_every_change() {
    let cache = Cache::new();
    cache.load(&make(&cache));
    let upper = cache.dir("upper");
    write(upper.join("added"), "added");
    let changes = [
        "ENTRYPOINT [\"/e\"]",
        "EXPOSE 80/tcp",
        "USER 1:2",
        "VOLUME /data",
        "WORKDIR /w",
        "STOPSIGNAL SIGINT",
        "ONBUILD RUN x",
    ];
    let mut arguments = vec!["commit"];
    changes.iter().for_each(|change| arguments.extend(["-c", change]));
    arguments.extend([upper.to_str().unwrap(), "gallery", "localhost/new:1"]);
    cache.ok(&arguments);
    let out = cache.dir("home");
    let oci = format!("oci:{}:localhost/new:1", cache.root().display());
    let config = tool(&out, "skopeo", &["inspect", "--raw", "--config", &oci]);
    for part in [
        "\"Entrypoint\":[\"/e\"]",
        "\"80/tcp\":{}",
        "\"User\":\"1:2\"",
        "\"/data\":{}",
        "\"WorkingDir\":\"/w\"",
    ] {
        assert!(config.replace(' ', "").contains(part), "{part}: {config}");
    }
    for part in ["\"StopSignal\":\"SIGINT\"", "RUN x", "A=1"] {
        let plain = config.replace(": ", ":");
        assert!(plain.contains(part), "{part}: {config}");
    }
}
