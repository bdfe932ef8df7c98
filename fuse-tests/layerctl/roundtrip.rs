//! Saved and loaded again nothing is changed, and other programs can use the cache and what we save.

use super::gallery::{make, unpacked};
use super::tools::{skopeo_copy, tool, umoci_unpack, with_store};
use super::*;

/// Loads the gallery and gives its id and the bytes of its layers.
fn loaded(cache: &Cache) -> (PathBuf, String, Vec<String>) {
    let layout = make(cache);
    cache.load(&layout);
    (layout, cache.id("gallery"), cache.layers("gallery"))
}

fn assert_same_image(first: &Cache, second: &Cache, name: &str, (id, layers): (&str, &[String])) {
    assert_eq!(second.id(name), id, "{name}");
    assert_eq!(second.layers(name), layers, "{name}");
    for layer in layers {
        assert!(first.blob(layer) == second.blob(layer), "{name}: the bytes of {layer} differ");
    }
}

#[test]
fn cache_load_save_load_keeps_ids_and_bytes_in_both_forms() {
    let cache = Cache::new();
    let (_, id, layers) = loaded(&cache);
    cache.ok(&["tag", "gallery", "localhost/second:2"]);
    let docker = cache.at("saved.tar");
    cache.ok(&["save", "-o", docker.to_str().unwrap(), "gallery", "localhost/second:2"]);
    let oci = cache.at("saved-oci.tar");
    cache.ok(&["save", "--oci", "-o", oci.to_str().unwrap(), "gallery"]);
    let again = Cache::new();
    let mut names = again.load(&docker);
    names.sort();
    assert_eq!(names, ["gallery:latest", "localhost/second:2"]);
    assert_same_image(&cache, &again, "localhost/second:2", (&id, &layers));
    let from_oci = Cache::new();
    assert_eq!(from_oci.load(&oci), ["gallery:latest"]);
    assert_same_image(&cache, &from_oci, "gallery", (&id, &layers));
    // The same image gives the same archive.
    again.ok(&["save", "-o", again.at("again.tar").to_str().unwrap(), "gallery", "localhost/second:2"]);
    assert!(fs::read(docker).unwrap() == fs::read(again.at("again.tar")).unwrap(), "save is reproducible");
}

#[test]
fn cache_save_to_a_pipe_loads_from_a_pipe() {
    let cache = Cache::new();
    let (_, id, _) = loaded(&cache);
    let other = cache.dir("other");
    let line = "\"$1\" save gallery | LAYERFS_ROOT=\"$2\" \"$1\" load";
    let mut command = Command::new("sh");
    command.args(["-ec", line, "sh"]).arg(layerctl_bin()).arg(other.join("root"));
    let outcome = run(command.env("LAYERFS_ROOT", cache.root()), LIMIT);
    assert!(outcome.success(), "{outcome:?}");
    assert_eq!(outcome.stdout, "Loaded image: gallery:latest\n");
    let loading = outcome.stderr.lines().filter(|line| line.contains(": Loading layer")).count();
    assert_eq!(loading, 5, "a line for each layer: {}", outcome.stderr);
    let mut inspect = cache.command(&["inspect", "--format", "{{.Id}}", "gallery"]);
    let seen = run(inspect.env("LAYERFS_ROOT", other.join("root")), LIMIT);
    assert_eq!(seen.stdout.trim_end(), id);
}

#[test]
fn cache_podman_and_skopeo_take_what_is_saved() {
    let cache = Cache::new();
    let (layout, id, _) = loaded(&cache);
    let home = cache.dir("home");
    let tree = dump(unpacked(&cache, &layout, "gallery", "tree"));
    let docker = cache.at("saved.tar");
    cache.ok(&["tag", "gallery", "localhost/gallery:1"]);
    cache.ok(&["save", "-o", docker.to_str().unwrap(), "localhost/gallery:1"]);
    with_store(&home, "podman", &["load", "-i", docker.to_str().unwrap()]);
    let seen = with_store(&home, "podman", &["inspect", "--format", "{{.Id}}", "localhost/gallery:1"]);
    assert_eq!(format!("sha256:{seen}"), id, "podman shows the same id");
    let copied = cache.at("copied");
    let source = format!("docker-archive:{}", docker.display());
    skopeo_copy(&home, &source, &format!("oci:{}:x", copied.display()), &[]);
    let again = umoci_unpack(&home, &copied, "x", &cache.at("again"));
    assert_same_text(&tree, &dump(again), "the tree before and after load, save, skopeo copy");
}

#[test]
fn cache_the_root_is_an_oci_layout_for_skopeo_and_umoci() {
    let cache = Cache::new();
    let (layout, id, layers) = loaded(&cache);
    let home = cache.dir("home");
    let root = cache.root();
    let image = format!("oci:{}:gallery:latest", root.display());
    let seen = tool(&home, "skopeo", &["inspect", &image]);
    for layer in &layers {
        assert!(seen.contains(layer.as_str()), "skopeo inspect does not show {layer}:\n{seen}");
    }
    let config = tool(&home, "skopeo", &["inspect", "--raw", "--config", &image]);
    assert_eq!(super::archive::digest(config.as_bytes()), id);
    let names = tool(&home, "umoci", &["ls", "--layout", root.to_str().unwrap()]);
    assert_eq!(names, "gallery:latest\n");
    skopeo_copy(&home, &image, &format!("oci:{}:out", cache.at("out").display()), &[]);
    let tree = unpacked(&cache, &layout, "gallery", "tree");
    let copied = umoci_unpack(&home, &cache.at("out"), "out", &cache.at("copied"));
    assert_same_text(&dump(tree), &dump(copied), "the image and what skopeo copied out of the cache");
    let index = fs::read_to_string(root.join("index.json")).unwrap();
    let manifest = fs::read_to_string(layout.join("index.json")).unwrap();
    let original = manifest.split("\"digest\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert!(index.contains(original), "the original digest {original} is kept: {index}");
}

#[test]
fn cache_an_imported_tar_or_directory_is_an_image_of_one_layer() {
    let cache = Cache::new();
    let files = cache.dir("files");
    write(files.join("etc/motd"), "hello");
    sh("ln -s motd \"$1\"/etc/link; chmod 700 \"$1\"/etc; chown 5:6 \"$1\"/etc/motd", &[&files]);
    sh("setfattr -n user.a -v b \"$1\"/etc/motd", &[&files]);
    let tars = ["plain", "gzip", "zstd"];
    sh(
        "cd \"$1\"; tar --xattrs --pax-option=delete=atime,delete=ctime --format=pax -cf ../plain .",
        &[&files],
    );
    sh("cd \"$1\"; gzip -k plain -c >gzip; zstd -q plain -o zstd", &[&cache.at("")]);
    for name in tars {
        let target = format!("localhost/{name}:1");
        let file = cache.at(name);
        let id = cache.ok(&["import", "--change", "CMD [\"/bin/x\"]", file.to_str().unwrap(), &target]);
        assert_eq!(id.trim_end(), cache.id(&target));
        assert_eq!(cache.ok(&["inspect", "--format", "{{json .Config.Cmd}}", &target]), "[\"/bin/x\"]\n");
        let m = cache.mount(&target, "mnt", &[]);
        assert_same_text(&dump(&files), &dump(m.path()), &format!("the directory and its tar as {name}"));
    }
    assert_eq!(cache.layers("localhost/plain:1"), cache.layers("localhost/zstd:1"));
    cache.ok(&["import", files.to_str().unwrap(), "localhost/dir:1"]);
    let m = cache.mount("localhost/dir:1", "mnt", &[]);
    assert_same_text(&dump(&files), &dump(m.path()), "the directory and its image");
    assert_eq!(cache.layers("localhost/dir:1").len(), 1);
}
