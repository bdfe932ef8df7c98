//! Looking into images without mounting them.

use super::gallery::{make, unpacked};
use super::tarball::{Entry, dir, file, symlink, tar};
use super::*;

/// `a:1` of three layers: a base, one that changes and deletes, one that adds; and `b:1`, its base alone.
fn layered() -> Cache {
    let cache = Cache::new();
    let base = tar(&[
        dir("./"),
        dir("etc/"),
        file("etc/kept", "kept\n"),
        file("etc/changed", "one\ntwo\n"),
        file("etc/gone", "12345"),
        Entry { mode: 0o4755, owner: (3, 4), ..file("tool", "#!x") },
        symlink("etc/link", "kept"),
    ]);
    let changes =
        tar(&[dir("etc/"), file("etc/changed", "one\n2\n"), file("etc/.wh.gone", ""), file("etc/also", "x")]);
    let top = tar(&[file("etc/also", "again"), dir("new/"), file("new/file", "new")]);
    let image = |names: &[&str], layers: &[&Vec<u8>]| super::archive::Image {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        layers: layers.iter().map(|layer| (*layer).clone()).collect(),
    };
    let images = [image(&["a:1"], &[&base, &changes, &top]), image(&["b:1"], &[&base])];
    write(cache.at("a.tar"), super::archive::old_docker_archive(&images));
    cache.load(&cache.at("a.tar"));
    cache
}

#[test]
fn cache_ls_cat_and_find_show_image_and_layers() {
    let cache = layered();
    assert_eq!(cache.ok(&["ls", "a:1:/etc"]), "also\nchanged\nkept\nlink\n");
    assert_eq!(cache.ok(&["ls", "a:1"]), "etc\nnew\ntool\n");
    assert_eq!(cache.ok(&["ls", "a:1@2:/etc"]), "also\nchanged\n.wh.gone\n", "by name");
    let long = cache.ok(&["ls", "-l", "a:1:/tool"]);
    assert!(long.starts_with("-rwsr-xr-x 1 3 4 3 Mar  4  2024 /tool\n"), "{long}");
    assert!(cache.ok(&["ls", "-l", "a:1:/etc"]).contains(" link -> kept\n"));
    assert_eq!(cache.ok(&["cat", "a:1:/etc/changed", "b:1:/etc/changed"]), "one\n2\none\ntwo\n");
    assert_eq!(cache.ok(&["cat", "a:1@1:/etc/gone"]), "12345");
    assert!(cache.refused(&["cat", "a:1:/etc/gone"]).contains("/etc/gone"));
    assert!(cache.refused(&["cat", "a:1:/etc"]).contains("directory"));
    assert!(cache.refused(&["ls", "a:1@4"]).contains('3'), "how many layers there are is said");
    assert_eq!(cache.ok(&["find", "a:1:/new"]), "/new\n/new/file\n");
    assert_eq!(cache.ok(&["find", "a:1", "-name", "c*", "-type", "f"]), "/etc/changed\n");
    assert_eq!(cache.ok(&["find", "a:1", "--type", "l", "-print0"]), "/etc/link\0");
}

#[test]
fn cache_cp_takes_files_out_and_tree_draws() {
    let cache = layered();
    let out = cache.dir("out");
    cache.ok(&["cp", "a:1:/etc", out.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(out.join("etc/changed")).unwrap(), "one\n2\n");
    assert_eq!(fs::read_link(out.join("etc/link")).unwrap(), Path::new("kept"));
    assert!(!place::exists(out.join("etc/gone")));
    let tool = out.join("renamed");
    cache.ok(&["cp", "a:1:/tool", tool.to_str().unwrap()]);
    assert_eq!(fs::read(&tool).unwrap(), b"#!x");
    let mut piped = Command::new("sh");
    piped.args(["-c", "\"$1\" cp a:1:/new - | tar -t", "sh"]).arg(layerctl_bin());
    let names = run(piped.env("LAYERFS_ROOT", cache.root()), LIMIT).stdout;
    assert_eq!(names, "new/\nnew/file\n");
    let drawn = cache.ok(&["tree", "a:1:/new"]);
    assert!(drawn.contains("└── file"), "{drawn}");
}

#[test]
fn cache_diff_says_what_changed_and_exits_like_diff() {
    let cache = layered();
    let outcome = cache.run(&["diff", "b:1", "a:1"]);
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    for start in ["A /etc/also", "C /etc/changed (content", "D /etc/gone", "A /new", "A /new/file"] {
        assert!(lines.iter().any(|line| line.starts_with(start)), "{start}: {lines:?}");
    }
    assert!(!outcome.stdout.contains("kept"), "{}", outcome.stdout);
    let content = cache.run(&["diff", "--content", "b:1", "a:1"]).stdout;
    assert!(content.contains("\n-two\n") && content.contains("\n+2\n"), "{content}");
    let same = cache.run(&["diff", "a:1", "a:1"]);
    assert_eq!((same.status.code(), same.stdout.as_str()), (Some(0), ""));
    assert_eq!(cache.run(&["diff", "a:1@1", "b:1@1"]).status.code(), Some(0));
    assert_eq!(cache.run(&["diff", "a:1", "nothing"]).status.code(), Some(2));
}

#[test]
fn cache_programs_are_told_in_json() {
    let cache = layered();
    let lines = |arguments: &[&str]| -> Vec<serde_json::Value> {
        cache.run(arguments).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let found = lines(&["find", "--json", "a:1", "--name", "changed"]);
    assert_eq!(found[0]["Path"], "/etc/changed");
    assert_eq!((found[0]["Size"].as_u64(), found[0]["Layer"].as_u64()), (Some(6), Some(2)));
    let listed = lines(&["ls", "--json", "a:1:/etc"]);
    let names: Vec<&str> = listed.iter().map(|entry| entry["Path"].as_str().unwrap()).collect();
    assert_eq!(names, ["/etc/also", "/etc/changed", "/etc/kept", "/etc/link"]);
    assert_eq!(listed[3]["Target"], "kept");
    let changes = lines(&["diff", "--json", "b:1", "a:1"]);
    let kind = |path: &str| changes.iter().find(|change| change["Path"] == path).unwrap()["Kind"].clone();
    assert_eq!((kind("/etc/changed"), kind("/etc/gone")), ("changed".into(), "deleted".into()));
    let blame: serde_json::Value =
        serde_json::from_str(&cache.ok(&["blame", "--json", "a:1", "/etc/gone"])).unwrap();
    assert_eq!(
        (blame["Layer"].clone(), blame["Layers"][0]["Layer"].as_u64()),
        (serde_json::Value::Null, Some(2))
    );
    let hidden = lines(&["blame", "--deleted", "--json", "a:1"]);
    assert!(hidden.iter().any(|one| one["Path"] == "/etc/gone" && one["Size"] == 5 && one["HiddenBy"] == 2));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&cache.ok(&["verify", "--json", "-q"])).unwrap(),
        serde_json::json!([])
    );
    let garbage: serde_json::Value = serde_json::from_str(&cache.ok(&["gc", "-n", "--json"])).unwrap();
    assert_eq!(garbage["Bytes"], 0);
}

#[test]
fn cache_blame_names_the_layers_of_a_path() {
    let cache = layered();
    let layers = cache.layers("a:1");
    let said = cache.ok(&["blame", "a:1", "/etc/changed"]);
    assert!(said.contains(&layers[1][7..19]) && said.contains("layer 1"), "{said}");
    assert!(said.contains(&layers[0][7..19]), "{said}");
    let said = cache.ok(&["blame", "a:1", "/etc/gone"]);
    assert!(said.contains("deleted"), "{said}");
    let hidden = cache.ok(&["blame", "--deleted", "a:1"]);
    let line = hidden.lines().find(|line| line.contains("/etc/gone")).unwrap_or_else(|| panic!("{hidden}"));
    assert!(line.contains('5'), "its size: {line}");
}

#[test]
fn cache_du_counts_what_is_hidden() {
    let cache = layered();
    let said = cache.ok(&["du", "--top", "1", "a:1"]);
    assert!(said.contains("/etc/changed"), "8 bytes are the most that is wasted: {said}");
    assert!(said.contains('%'), "{said}");
    let json: serde_json::Value = serde_json::from_str(&cache.ok(&["du", "--json", "a:1"])).unwrap();
    let layers = json["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    let hidden: Vec<u64> = layers.iter().map(|layer| layer["HiddenBytes"].as_u64().unwrap()).collect();
    assert_eq!(hidden, [8 + 5, 1, 0]);
}

#[test]
fn cache_unpack_is_what_umoci_unpacks_and_each_layer_mounts() {
    let cache = Cache::new();
    let layout = make(&cache);
    cache.load(&layout);
    let tree = unpacked(&cache, &layout, "gallery", "tree");
    let out = cache.at("out");
    cache.ok(&["unpack", "gallery", out.to_str().unwrap()]);
    assert_same_text(&dump(&tree), &dump(&out), "umoci's tree and the unpacked image");
    let mut lowers = Vec::new();
    for number in (1..=5).rev() {
        let layer = cache.at(&format!("layer{number}"));
        cache.ok(&["unpack", &format!("gallery@{number}"), layer.to_str().unwrap()]);
        lowers.push(layer.to_str().unwrap().to_owned());
    }
    let mnt = cache.dir("mnt");
    let options = format!("lowerdir={}", lowers.join(":"));
    sh("mount -t overlay overlay -o \"$1\" \"$2\"", &[Path::new(&options), &mnt]);
    let mounted = Mounted::take_over(mnt);
    let options = DumpOptions { nlink: false, ..DumpOptions::default() };
    let (expected, found) = (dump_with(&tree, &options), dump_with(mounted.path(), &options));
    assert_same_text(&expected, &found, "umoci's tree and the unpacked layers mounted by the kernel");
}

#[test]
fn cache_what_is_seen_without_a_mount_is_what_the_mount_shows() {
    let cache = Cache::new();
    cache.load(&make(&cache));
    let m = cache.mount("gallery", "mnt", &[]);
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.split('\0').map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let by_find = sh("cd \"$1\" && find . -print0 | sed -z 's,^\\.$,/,;s,^\\.,,'", &[m.path()]);
    assert_eq!(sorted(cache.ok(&["find", "gallery", "--print0"])), sorted(by_find));
    let long = |text: String| {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let ours = long(cache.ok(&["ls", "-lAn", "gallery:/usr/bin"]));
    let theirs = long(sh("LC_ALL=C TZ=UTC ls -lAn \"$1\"", &[&m.join("usr/bin")]));
    assert_eq!(ours, theirs);
    let out = cache.dir("out");
    for name in ["/usr/lib/big", "/etc/owned"] {
        cache.ok(&["cp", &format!("gallery:{name}"), out.to_str().unwrap()]);
        let file = name.rsplit('/').next().unwrap();
        assert!(fs::read(out.join(file)).unwrap() == fs::read(m.join(&name[1..])).unwrap(), "{name}");
    }
}
