//! All of it as an ordinary user, without any privilege but fusermount3.

use super::gallery::make;
use super::*;

/// nobody: fusermount3 wants a user with a name.
const USER: &str = "--reuid=65534";

/// Programs where this user may reach them, and a home directory that is theirs.
struct Home {
    cache: Cache,
}

impl Home {
    fn new() -> Home {
        need_program("fusermount3", "fuse3");
        let cache = Cache::new();
        let bin = cache.dir("bin");
        sh("cp \"$1\" \"$2\"/layerctl", &[&layerctl_bin(), &bin]);
        sh("cp \"$1\" \"$2\"/layerfs; chmod -R a+rX \"$2\"", &[&layerfs_bin(), &bin]);
        sh("mkdir \"$1\" && chown 65534:65534 \"$1\"", &[&cache.at("user")]);
        Home { cache }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.cache.at("user").join(name)
    }

    /// A shell line of the user, who has `layerctl` on the PATH; `$1` and so on are the arguments.
    fn run(&self, line: &str, arguments: &[&Path]) -> Outcome {
        let mut command = Command::new("setpriv");
        command.args([USER, "--regid=65534", "--clear-groups", "sh", "-c", line, "sh"]).args(arguments);
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.cache.at("bin").display());
        command.env_clear().env("PATH", path).env("HOME", self.at("")).current_dir(self.at(""));
        run(&mut command, LIMIT)
    }

    fn ok(&self, line: &str, arguments: &[&Path]) -> String {
        let outcome = self.run(line, arguments);
        assert!(outcome.success(), "{line}: {outcome:?}");
        outcome.stdout
    }
}

/// Unmounts also when the test fails.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        unwatch(&self.0);
        if is_mounted(&self.0) {
            abort_connection(&self.0);
            run(Command::new("umount").arg("-l").arg(&self.0), LIMIT);
        }
    }
}

#[test]
fn l3_cache_an_ordinary_user_loads_mounts_looks_and_unmounts() {
    let home = Home::new();
    let layout = make(&home.cache);
    sh("chmod -R a+rX \"$1\"", &[&layout]);
    assert_eq!(home.ok("layerctl load -q -i \"$1\"", &[&layout]), "Loaded image: gallery:latest\n");
    assert!(home.at(".local/share/layerfs/index.json").exists(), "the user's own cache");
    assert!(home.ok("layerctl images", &[]).contains("gallery"));
    super::gallery::unpacked(&home.cache, &layout, "gallery", "tree");
    let mnt = home.at("mnt");
    let _unmount = Unmount(mnt.clone());
    home.ok("mkdir mnt && layerctl mount gallery mnt", &[]);
    watch(&mnt);
    // Owners, devices and set-id bits are rows of the index: they show without any privilege.
    let line = "cd \"$1\" && find . ! -type d -printf '%p %y %m %U:%G %s %T@ %n %l\\n' -o \
                -printf '%p %y %m %U:%G %T@\\n' | LC_ALL=C sort";
    let by_root = sh(line, &[&home.cache.at("tree").join("rootfs")]);
    assert_same_text(&by_root, &home.ok(line, &[&mnt]), "umoci's tree and the mount of a user");
    assert!(home.ok("layerctl mounts", &[]).contains(mnt.to_str().unwrap()));
    home.ok("layerctl ls -l gallery:/etc && layerctl verify && layerctl umount mnt", &[]);
    assert!(!is_mounted(&mnt));
}

#[test]
fn cache_an_ordinary_user_changes_commits_and_saves() {
    let home = Home::new();
    let layout = make(&home.cache);
    sh("chmod -R a+rX \"$1\"", &[&layout]);
    home.ok("layerctl load -q -i \"$1\" && mkdir mnt", &[&layout]);
    let mnt = home.at("mnt");
    let _unmount = Unmount(mnt.clone());
    home.ok("layerctl mount gallery mnt --rw rw", &[]);
    watch(&mnt);
    home.ok("echo new >mnt/etc/new && rm mnt/usr/lib/big && mv mnt/opt mnt/moved", &[]);
    home.ok("layerctl umount mnt && layerctl commit rw/upper gallery mine:1", &[]);
    home.ok("layerctl save -o mine.tar mine:1 && layerctl rmi mine:1 && layerctl load -q -i mine.tar", &[]);
    assert_eq!(home.ok("layerctl cat mine:1:/etc/new", &[]), "new\n");
    assert_eq!(home.ok("layerctl cat mine:1:/moved/replaced", &[]), "file\n");
    let long = home.ok("layerctl ls -ln mine:1:/etc/new", &[]);
    assert!(long.starts_with("-rw-r--r-- 1 0 0 4 "), "the user's files are root's in an image: {long}");
    let gone = home.run("layerctl cat mine:1:/usr/lib/big", &[]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    assert_eq!(home.run("layerctl diff gallery mine:1", &[]).status.code(), Some(1));
}

#[test]
fn cache_an_ordinary_user_unpacks_with_a_line_on_what_could_not_be_kept() {
    let home = Home::new();
    let layout = make(&home.cache);
    sh("chmod -R a+rX \"$1\"", &[&layout]);
    let outcome = home.run("layerctl load -q -i \"$1\" && layerctl unpack -q gallery out", &[&layout]);
    assert!(outcome.success(), "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    assert!(outcome.stderr.contains("own"), "owners are what a user cannot set: {outcome:?}");
    let big = fs::read_to_string(home.at("out/usr/lib/big")).unwrap();
    assert!(big.ends_with("50000\nmore\n"));
}

#[test]
fn cache_a_user_reads_a_cache_of_root_and_is_refused_to_change_it() {
    let home = Home::new();
    home.cache.load(&make(&home.cache));
    let root = home.cache.root();
    assert!(home.ok("layerctl --root \"$1\" images", &[&root]).contains("gallery"));
    assert_eq!(home.ok("layerctl --root \"$1\" cat gallery:/etc/owned", &[&root]), "owned\n");
    let outcome = home.run("layerctl --root \"$1\" rmi gallery", &[&root]);
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    assert!(outcome.stderr.contains(root.to_str().unwrap()), "{outcome:?}");
}
