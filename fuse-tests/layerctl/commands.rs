//! The commands that docker has too: names, options, output, exit codes.

use super::archive::{Image, archive_of, old_docker_archive};
use super::tarball::{dir, file, tar};
use super::*;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

/// Two images that share their lowest layer: `debian:12` with `localhost/alias:1`, and `app:2`.
fn two_images() -> Cache {
    let cache = Cache::new();
    let base = tar(&[dir("./"), file("./etc/os", "debian")]);
    let top = tar(&[file("app", "app")]);
    let image = |names: &[&str], layers: &[&Vec<u8>]| Image {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        layers: layers.iter().map(|layer| (*layer).clone()).collect(),
    };
    let images = [
        image(&["docker.io/library/debian:12", "localhost/alias:1"], &[&base]),
        image(&["app:2"], &[&base, &top]),
    ];
    write(cache.at("images.tar"), old_docker_archive(&images));
    assert_eq!(cache.load(&cache.at("images.tar")), ["debian:12", "localhost/alias:1", "app:2"]);
    cache
}

#[test]
fn cache_images_looks_like_docker_s() {
    let cache = two_images();
    let text = cache.ok(&["images"]);
    let mut lines = text.lines();
    let heading = lines.next().unwrap();
    let words: Vec<&str> = heading.split_whitespace().collect();
    assert_eq!(words, ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
    let id = cache.id("debian:12");
    let line = text.lines().find(|line| line.starts_with("debian ")).unwrap();
    for (title, cell) in [("TAG", "12 "), ("IMAGE ID", &id[7..19]), ("CREATED", "")] {
        let at = heading.find(title).unwrap();
        assert!(line[at..].starts_with(cell), "{title} of {line}");
    }
    assert!(line.contains(" years ago ") || line.contains(" months ago "), "{line}");
    assert!(line.ends_with("kB"), "{line}");
    assert_eq!(text.lines().count(), 4);
}

#[test]
fn cache_images_takes_docker_s_options() {
    let cache = two_images();
    let ids = cache.ok(&["images", "-q", "--no-trunc"]);
    assert!(ids.lines().all(|id| id.len() == 71 && id.starts_with("sha256:")), "{ids}");
    let format = "{{.Repository}}:{{.Tag}}";
    let named = |arguments: &[&str]| {
        let mut all = vec!["images", "--format", format];
        all.extend(arguments);
        let mut names: Vec<String> = cache.ok(&all).lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(named(&["-a"]), ["app:2", "debian:12", "localhost/alias:1"]);
    assert_eq!(named(&["debian"]), ["debian:12"]);
    assert_eq!(named(&["debian:12"]), ["debian:12"]);
    assert_eq!(named(&["debian:13"]), [""; 0]);
    assert_eq!(named(&["--filter", "reference=*/*"]), ["localhost/alias:1"]);
    assert_eq!(named(&["-f", "dangling=true"]), [""; 0]);
    let json = cache.ok(&["images", "--format", "json", "app"]);
    let parsed: serde_json::Value = serde_json::from_str(json.trim_end()).unwrap();
    assert_eq!((parsed["Repository"].as_str(), parsed["Tag"].as_str()), (Some("app"), Some("2")));
    let digests = cache.ok(&["images", "--digests", "app"]);
    assert!(digests.lines().next().unwrap().contains("DIGEST") && digests.contains("sha256:"), "{digests}");
    let table = cache.ok(&["images", "--format", "table {{.ID}}\\t{{.Tag}}", "app"]);
    assert!(table.starts_with("IMAGE ID       TAG\n"), "{table}");
    let outcome = cache.run(&["images", "--filter", "label=x"]);
    assert_eq!(outcome.status.code(), Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("label=x"), "{outcome:?}");
}

#[test]
fn cache_history_and_inspect_look_like_docker_s() {
    let cache = two_images();
    let text = cache.ok(&["history", "app:2"]);
    let lines: Vec<&str> = text.lines().collect();
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(words, ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]);
    assert!(lines[1].starts_with(&cache.id("app:2")[7..19]), "{text}");
    assert!(lines[2].starts_with("<missing>  "), "{text}");
    assert!(lines[1].contains("layer 1") && lines[2].contains("layer 0"), "{text}");
    let exact = cache.ok(&["history", "--human=false", "--format", "{{.CreatedAt}} {{.Size}}", "app:2"]);
    assert_eq!(exact.lines().next(), Some("2024-03-04T05:06:07Z 2048"));
    let json = cache.ok(&["inspect", "app:2"]);
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    let image = &parsed[0];
    assert_eq!(image["RepoTags"], serde_json::json!(["app:2"]));
    assert_eq!(image["Config"]["Cmd"], serde_json::json!(["/bin/sh"]));
    assert_eq!((image["Os"].as_str(), image["Architecture"].as_str()), (Some("linux"), Some("amd64")));
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    let outcome = cache.run(&["inspect", "nothing", "debian:12"]);
    assert_eq!(outcome.status.code(), Some(1));
    assert!(outcome.stderr.contains("no such image: nothing"), "{outcome:?}");
    let found: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1, "what is there is shown all the same");
}

#[test]
fn l1_cache_images_are_found_by_name_digest_and_id() {
    let cache = two_images();
    let id = cache.id("debian:12");
    let digest = cache.ok(&["inspect", "--format", "{{.Layerfs.Digest}}", "debian:12"]);
    let by_digest = format!("debian@{}", digest.trim_end());
    for name in ["debian:12", "docker.io/library/debian:12", &id, &id[7..], &id[7..19], &by_digest] {
        assert_eq!(cache.id(name), id, "{name}");
    }
    assert!(cache.run(&["inspect", "debian"]).stderr.contains("no such image: debian"));
}

#[test]
fn cache_tag_and_rmi_say_what_docker_says() {
    let cache = two_images();
    cache.ok(&["tag", "app:2", "localhost/new:3"]);
    assert_eq!(cache.id("localhost/new:3"), cache.id("app:2"));
    let (id, layers) = (cache.id("app:2"), cache.layers("app:2"));
    assert_eq!(cache.ok(&["rmi", "localhost/new:3"]), "Untagged: localhost/new:3\n");
    let said = cache.ok(&["rmi", "app:2"]);
    let expected =
        ["Untagged: app:2".to_owned(), format!("Deleted: {id}"), format!("Deleted: {}", layers[1])];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "the shared layer stays");
    assert!(cache.root().join("blobs/sha256").join(&layers[0][7..]).exists());
    assert!(!cache.root().join("blobs/sha256").join(&layers[1][7..]).exists());
    // By an id with two names the tag is asked for.
    let id = cache.id("debian:12");
    let line = cache.refused(&["rmi", &id[7..19]]);
    assert!(line.contains("several names"), "{line}");
    let said = cache.ok(&["rmi", "-f", &id[7..19]]);
    for line in ["Untagged: debian:12", "Untagged: localhost/alias:1", &format!("Deleted: {id}")] {
        assert!(said.lines().any(|own| own == line), "{line}: {said}");
    }
    assert_eq!(cache.ok(&["images", "-q"]), "");
    let left = sh("ls \"$1\"/blobs/sha256 \"$1\"/layerfs/index | grep -c . || true", &[&cache.root()]);
    assert_eq!(left.trim(), "2", "the two headings of ls only");
    assert!(cache.refused(&["rmi", "nothing"]).contains("nothing"));
}

#[test]
fn cache_gc_and_verify_say_what_is_wrong_in_words() {
    let cache = two_images();
    let said = cache.ok(&["verify"]);
    assert!(!said.contains("damaged"), "{said}");
    let stray = cache.root().join("blobs/sha256").join("0".repeat(64));
    write(&stray, "stray");
    let planned = cache.ok(&["gc", "--dry-run"]);
    assert!(planned.contains(&"0".repeat(64)) && stray.exists(), "{planned}");
    cache.ok(&["gc"]);
    assert!(!stray.exists());
    assert_eq!(cache.ok(&["gc", "--dry-run"]), "Reclaimable space: 0B\n");
    let layer = cache.layers("app:2")[1].clone();
    let blob = cache.root().join("blobs/sha256").join(&layer[7..]);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[600] ^= 1;
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&blob, bytes).unwrap();
    let outcome = cache.run(&["verify", "app:2"]);
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert!(format!("{}{}", outcome.stdout, outcome.stderr).contains(&layer), "{outcome:?}");
    assert!(cache.run(&["verify", "debian:12"]).success(), "the other image is whole");
}

#[test]
fn cache_a_damaged_or_missing_index_is_built_again() {
    let cache = two_images();
    let layer = cache.layers("app:2")[1].clone();
    let index = cache.root().join("layerfs/index").join(&layer[7..]);
    let whole = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    assert_eq!(cache.ok(&["cat", "app:2:/app"]), "app");
    assert!(fs::read(&index).unwrap() == whole, "the same index again");
    for at in [0, 20, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        fs::remove_file(&index).unwrap();
        fs::write(&index, bytes).unwrap();
        assert_eq!(cache.ok(&["cat", "app:2:/app"]), "app", "byte {at} of the index");
    }
}

#[test]
fn cache_mistakes_are_one_line_and_exit_with_2() {
    let cache = Cache::new();
    for arguments in [
        &["frobnicate"][..],
        &["images", "--nope"],
        &["tag", "one"],
        &["cat", "image-without-path"],
        &["commit"],
    ] {
        let outcome = cache.run(arguments);
        assert_eq!(outcome.status.code(), Some(2), "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{arguments:?}: {outcome:?}");
        assert!(outcome.stderr.starts_with("layerctl: "), "{outcome:?}");
    }
    assert!(cache.ok(&["--help"]).contains("blame"));
    assert!(cache.ok(&["--version"]).starts_with("layerctl "));
    for shell in ["bash", "zsh", "fish"] {
        assert!(cache.ok(&["completions", shell]).contains("layerctl"), "{shell}");
    }
}

#[test]
fn cache_a_closed_pipe_is_silent() {
    let cache = two_images();
    for arguments in [&["find", "app:2"][..], &["save", "-q", "app:2"], &["inspect", "app:2"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = cache.command(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.signal(), None);
        assert_eq!(output.status.code(), Some(141), "{arguments:?}");
    }
}

#[test]
fn l5_cache_a_mounted_image_is_not_removed_and_mounts_tells_it() {
    let cache = two_images();
    let m = cache.mount("app:2", "mnt", &[]);
    assert_eq!(fs::read_to_string(m.join("app")).unwrap(), "app");
    assert_eq!(mount_line(m.path()).unwrap()[0], "app:2");
    let at = &m.path().to_str().unwrap().to_owned();
    let line = cache.refused(&["rmi", "app:2"]);
    assert!(line.contains(at) && line.contains("app:2"), "{line}");
    let line = cache.refused(&["rmi", "-f", &cache.id("app:2")]);
    assert!(line.contains(at), "{line}");
    let text = cache.ok(&["mounts"]);
    let words: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    let pid = daemon_pid(m.path()).unwrap().to_string();
    assert_eq!(words, ["app:2", &cache.id("app:2")[7..19], at, &pid]);
    let json: serde_json::Value = serde_json::from_str(&cache.ok(&["mounts", "--json"])).unwrap();
    assert_eq!(json[0]["MountPoint"].as_str(), Some(at.as_str()));
    let pid: i32 = pid.parse().unwrap();
    cache.ok(&["umount", at]);
    m.ended();
    assert!(wait_until(LIMIT, || !process_alive(pid)));
    assert_eq!(cache.ok(&["mounts"]).lines().count(), 1);
    assert!(cache.refused(&["umount", at]).contains("nothing is mounted"));
    cache.ok(&["rmi", "app:2"]);
}

#[test]
fn l5_cache_a_killed_mount_holds_no_image() {
    let cache = two_images();
    let m = cache.mount("app:2", "mnt", &[]);
    let pid = rustix::process::Pid::from_raw(daemon_pid(m.path()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert!(wait_until(LIMIT, || !process_alive(pid.as_raw_nonzero().get())));
    sh("umount -l \"$1\"", &[m.path()]);
    m.ended();
    // Its last thread may hold the lock for a moment longer.
    assert!(wait_until(LIMIT, || cache.ok(&["mounts"]).lines().count() == 1), "still listed");
    cache.ok(&["rmi", "app:2"]);
}

#[test]
fn cache_mount_refuses_what_is_not_there() {
    let cache = two_images();
    let at = cache.dir("mnt");
    let rw = cache.at("rw");
    let line = cache.refused(&["mount", "nothing", at.to_str().unwrap(), "--rw", rw.to_str().unwrap()]);
    assert!(line.contains("no such image: nothing"), "{line}");
    assert!(!rw.exists(), "no directories are made for nothing");
    let line = cache.refused(&["mount", "app:2", "/no/such/place"]);
    assert!(line.contains("/no/such/place"), "{line}");
    let line = cache.refused(&["mount", "app:2", at.to_str().unwrap(), "-o", "frobnicate"]);
    assert!(line.contains("frobnicate"), "{line}");
}

#[test]
fn l1_cache_mount_8_mounts_an_image() {
    need_program("mount.fuse3", "fuse3");
    let cache = two_images();
    let (bin, at) = (cache.dir("bin"), cache.dir("mnt"));
    sh("cp \"$1\" \"$2\"/layerfs", &[&layerfs_bin(), &bin]);
    // mount(8) passes no PATH to its helpers, so that the program must be in a usual directory.
    let line = "mount --bind \"$1\" /usr/local/bin\n\
                mount -t fuse.layerfs app:2 \"$2\" -o \"$3\"\n\
                grep \" $2 \" /proc/self/mounts; cat \"$2\"/app \"$2\"/etc/os\n\
                umount \"$2\"";
    let options = format!("ro,root={}", cache.root().display());
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", line, "sh"]).arg(bin).arg(&at).arg(options);
    let outcome = run(&mut command, LIMIT);
    assert!(outcome.success(), "{outcome:?}");
    assert!(outcome.stdout.starts_with(&format!("app:2 {} fuse.layerfs ro,", at.display())), "{outcome:?}");
    assert!(outcome.stdout.ends_with("appdebian"), "{outcome:?}");
    assert!(wait_until(LIMIT, || daemon_pid(&at).is_none()), "the process is still there");
}

#[test]
fn cache_a_mount_takes_changes_and_keeps_them() {
    let cache = two_images();
    let rw = cache.at("rw");
    let further = ["--rw", rw.to_str().unwrap()];
    let m = cache.mount("app:2", "mnt", &further);
    fs::write(m.join("app"), "changed").unwrap();
    fs::remove_file(m.join("etc/os")).unwrap();
    fs::write(m.join("new"), "new").unwrap();
    m.umount();
    assert!(rw.join("upper/new").exists() && place::is_whiteout(rw.join("upper/etc/os")));
    let m = cache.mount("app:2", "mnt", &further);
    assert_eq!(fs::read_to_string(m.join("app")).unwrap(), "changed");
    assert!(!m.join("etc/os").exists());
    m.umount();
    let m = cache.mount("app:2", "mnt", &[]);
    assert_eq!(fs::read_to_string(m.join("app")).unwrap(), "app");
    assert_errno!(fs::write(m.join("app"), "x"), Errno::ROFS);
}

#[test]
fn cache_an_archive_of_no_name_is_loaded_by_its_id() {
    let cache = Cache::new();
    let archive = old_docker_archive(&[Image { names: Vec::new(), layers: vec![tar(&[file("a", "a")])] }]);
    write(cache.at("nameless.tar"), archive);
    let said = cache.ok(&["load", "-q", "-i", cache.at("nameless.tar").to_str().unwrap()]);
    let id = said.trim_end().strip_prefix("Loaded image ID: ").unwrap_or_else(|| panic!("{said}")).to_owned();
    assert_eq!(cache.id(&id), id);
    assert!(cache.ok(&["images"]).lines().nth(1).unwrap().starts_with("<none> "));
    assert_eq!(cache.ok(&["images", "-q", "-f", "dangling=true"]).trim_end(), &id[7..19]);
    assert_eq!(cache.ok(&["cat", &format!("{id}:/a")]), "a");
    write(cache.at("again.tar"), archive_of("named:1", &[&tar(&[file("a", "a")])]));
    cache.load(&cache.at("again.tar"));
    assert_eq!(
        cache.ok(&["images", "-q"]).lines().count(),
        1,
        "the name is given to the image that is there"
    );
}
