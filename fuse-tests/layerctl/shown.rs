//! What a mounted image shows is what `umoci unpack` makes of it.

use super::gallery::{make, unpacked};
use super::tarball::{Entry, dir, entry, file, hard_link, symlink, tar};
use super::tools::{skopeo_copy, umoci_unpack, with_store};
use super::*;

/// Mounts an image and compares every object with a tree.
fn assert_shows(cache: &Cache, image: &str, tree: &Path) {
    let mounted = cache.mount(image, "mnt", &[]);
    assert_same_text(&dump(tree), &dump(mounted.path()), &format!("umoci's tree and the mount of {image}"));
}

#[test]
fn l3_cache_an_oci_directory_of_umoci_shows_as_umoci_unpacks_it() {
    let cache = Cache::new();
    let layout = make(&cache);
    assert_eq!(cache.load(&layout), ["gallery:latest"]);
    let tree = unpacked(&cache, &layout, "gallery", "tree");
    // The comparison is worth something only if the tree has what layers can have.
    let text = dump(&tree);
    for part in [" char ", " block ", " fifo ", " 6755 ", "security.capability", "nlink=2", "user.new=1"] {
        assert!(text.contains(part), "the gallery has no {part}:\n{text}");
    }
    assert_shows(&cache, "gallery", &tree);
}

#[test]
fn l1_cache_archives_of_skopeo_in_every_form_show_the_same_and_have_the_same_id() {
    let cache = Cache::new();
    let (home, layout) = (cache.dir("home"), make(&cache));
    let tree = unpacked(&cache, &layout, "gallery", "tree");
    let from = format!("oci:{}:gallery", layout.display());
    let at = |name: &str| cache.at(name).display().to_string();
    skopeo_copy(&home, &from, &format!("docker-archive:{}:localhost/docker:1", at("docker.tar")), &[]);
    skopeo_copy(&home, &from, &format!("oci-archive:{}:archived", at("oci.tar")), &[]);
    let zstd = ["--dest-compress-format", "zstd"];
    skopeo_copy(&home, &from, &format!("oci:{}:zstd", at("zstd")), &zstd);
    assert_eq!(cache.load(&cache.at("docker.tar")), ["localhost/docker:1"]);
    assert_eq!(cache.load(&cache.at("oci.tar")), ["archived:latest"]);
    assert_eq!(cache.load(&cache.at("zstd")), ["zstd:latest"]);
    for image in ["localhost/docker:1", "archived", "zstd"] {
        assert_shows(&cache, image, &tree);
    }
    let config = super::tools::tool(&home, "skopeo", &["inspect", "--raw", "--config", &from]);
    let id = super::archive::digest(config.as_bytes());
    for image in ["localhost/docker:1", "archived", "zstd"] {
        assert_eq!(cache.id(image), id, "{image}: the id is the digest of the config, compressed or not");
    }
}

#[test]
fn l1_cache_images_of_buildah_show_as_umoci_unpacks_them() {
    let cache = Cache::new();
    let home = cache.dir("home");
    let files = cache.dir("files");
    write(files.join("sub/one"), "one");
    sh("ln \"$1\"/sub/one \"$1\"/two; ln -s two \"$1\"/three; chown -R 5:6 \"$1\"", &[&files]);
    let buildah = |arguments: &[&str]| with_store(&home, "buildah", arguments);
    let container = buildah(&["from", "scratch"]);
    buildah(&["copy", "--chown", "7:8", &container, files.to_str().unwrap(), "/data"]);
    buildah(&["config", "--cmd", "[\"/bin/sh\"]", "--env", "A=1", "--label", "x=y", &container]);
    let oci = format!("oci:{}:built", cache.at("built").display());
    let docker = format!("docker-archive:{}:localhost/built:1", cache.at("built.tar").display());
    buildah(&["commit", "--quiet", &container, &oci]);
    buildah(&["commit", "--quiet", "--format", "docker", &container, &docker]);
    assert_eq!(cache.load(&cache.at("built")), ["built:latest"]);
    assert_eq!(cache.load(&cache.at("built.tar")), ["localhost/built:1"]);
    let tree = umoci_unpack(&home, &cache.at("built"), "built", &cache.at("tree"));
    assert_shows(&cache, "built", &tree);
    assert_shows(&cache, "localhost/built:1", &tree);
    let label = cache.ok(&["inspect", "--format", "{{index .Config.Labels \"x\"}}", "built"]);
    assert_eq!(label, "y\n");
}

#[test]
fn l1_cache_an_old_docker_archive_shows_its_layers_and_all_its_images() {
    let cache = Cache::new();
    let base = tar(&[dir("./"), dir("./etc/"), file("./etc/a", "a"), file("./etc/b", "b")]);
    let top = tar(&[file("etc/.wh.a", ""), file("etc/c", "c"), hard_link("etc/c2", "etc/c")]);
    let image = |names: &[&str], layers: &[&Vec<u8>]| super::archive::Image {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        layers: layers.iter().map(|layer| (*layer).clone()).collect(),
    };
    let images = [image(&["one:1", "localhost/uno:1"], &[&base, &top]), image(&["two:2"], &[&base])];
    write(cache.at("old.tar"), super::archive::old_docker_archive(&images));
    assert_eq!(cache.load(&cache.at("old.tar")), ["one:1", "localhost/uno:1", "two:2"]);
    let one = cache.mount("one:1", "one", &[]);
    let two = cache.mount("two:2", "two", &[]);
    let names = |dir: PathBuf| sh("ls \"$1\"", &[&dir]);
    assert_eq!(names(one.join("etc")), "b\nc\nc2\n");
    assert_eq!(names(two.join("etc")), "a\nb\n");
    assert_eq!(cache.id("one:1"), cache.id("localhost/uno:1"));
    assert_eq!(cache.layers("one:1")[0], cache.layers("two:2")[0]);
}

#[test]
fn l3_l4_cache_what_umoci_does_not_write_shows_as_the_tar_says_it() {
    let cache = Cache::new();
    let long = "n".repeat(255);
    let pax: &[(&str, &[u8])] = &[
        ("path", long.as_bytes()),
        ("mtime", b"1234567890.123456789"),
        ("uid", b"4000000000"),
        ("gid", b"4000000001"),
        ("SCHILY.xattr.user.blob", b"\x00\xff=\n"),
    ];
    let base = [
        dir("./"),
        Entry { pax, ..file("short", "nanoseconds") },
        file("not/described/file", "implied"),
        hard_link("early", "late"),
        file("late", "linked before it"),
        file("twice", "first"),
        Entry { mode: 0o600, ..file("twice", "last") },
        Entry { device: (10, 200), mode: 0o600, ..entry("tun", b'3') },
        symlink("link", "late"),
        file("lower", "lower"),
    ];
    // A whiteout after an entry of the same name hides the lower one only.
    let top = [dir("./"), file("lower", "upper"), file(".wh.lower", ""), file(".wh.link", "")];
    write(cache.at("odd.tar"), super::archive::archive_of("odd:1", &[&tar(&base), &tar(&top)]));
    cache.load(&cache.at("odd.tar"));
    let m = cache.mount("odd:1", "mnt", &[]);
    let text = dump(m.path());
    let line = |name: &str| {
        let found = text.lines().find(|line| line.starts_with(&format!("/{name} ")));
        found.unwrap_or_else(|| panic!("no {name} in\n{text}")).to_owned()
    };
    let shown = line(&long);
    assert!(shown.contains(" 4000000000:4000000001 "), "{shown}");
    assert!(shown.contains(" mtime=1234567890.123456789 "), "{shown}");
    assert!(shown.contains(r" user.blob=\x00\xff=\n "), "{shown}");
    assert_eq!(fs::read_to_string(m.join("not/described/file")).unwrap(), "implied");
    assert_eq!(fs::read_to_string(m.join("early")).unwrap(), "linked before it");
    assert!(line("early").contains("nlink=2") && line("late").contains("nlink=2"), "{text}");
    assert_eq!(fs::read_to_string(m.join("twice")).unwrap(), "last");
    assert!(line("twice").contains(" 0600 "), "{}", line("twice"));
    assert!(line("tun").contains(" char ") && line("tun").contains(" rdev=ac8"), "{}", line("tun"));
    assert_eq!(fs::read_to_string(m.join("lower")).unwrap(), "upper");
    assert!(!place::exists(m.join("link")));
}

#[test]
fn l2_cache_layers_and_directories_stack_and_owners_are_squashed() {
    let cache = Cache::new();
    let layer =
        tar(&[dir("./"), Entry { owner: (7, 8), ..file("from-the-cache", "cached") }, file("both", "c")]);
    write(cache.at("a.tar"), super::archive::archive_of("a:1", &[&layer]));
    cache.load(&cache.at("a.tar"));
    let (over, mnt) = (cache.dir("over"), cache.dir("mnt"));
    write(over.join("both"), "directory");
    let options = format!("lowerdir={}:{},squash_to_uid=1234", over.display(), cache.layers("a:1")[0]);
    let mut command = layerfs_command();
    command.arg("mixed").arg(&mnt).args(["-o", &options]).env("LAYERFS_ROOT", cache.root());
    let outcome = run(&mut command, LIMIT);
    assert!(outcome.success(), "{outcome:?}");
    let m = Mounted::take_over(mnt);
    assert_eq!(fs::read_to_string(m.join("both")).unwrap(), "directory");
    let text = dump(m.path());
    assert!(text.contains("/from-the-cache file 0644 1234:8 size=6 "), "{text}");
}
