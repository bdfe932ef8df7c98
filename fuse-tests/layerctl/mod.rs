//! The cache and `layerctl`, end to end: images that other programs made, their trees as the mount
//! shows them, and what other programs make of what we write.
//!
//! Needs `umoci skopeo buildah podman` beside what the rest of the suite needs.

mod archive;
mod commands;
mod committing;
mod gallery;
mod hostile;
mod inside;
mod interrupted;
mod roundtrip;
mod shown;
mod speed;
mod tarball;
mod tools;
mod users;

use crate::harness::*;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A directory with a cache in it and room for files.
pub struct Cache {
    base: tempfile::TempDir,
}

/// podman leaves the directory of its store mounted, and images.
impl Drop for Cache {
    fn drop(&mut self) {
        unmount_below(self.base.path());
    }
}

impl Cache {
    /// An empty cache.
    pub fn new() -> Cache {
        prerequisites();
        let base = tempfile::Builder::new().prefix("layerfs-test-").tempdir_in(test_dir()).unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Cache { base }
    }

    /// The root of the cache.
    pub fn root(&self) -> PathBuf {
        self.at("cache")
    }

    /// A path beside the cache.
    pub fn at(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// A directory beside the cache, made if it is missing.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// A command of layerctl on this cache.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(layerctl_bin());
        command.args(arguments).env("LAYERFS_ROOT", self.root()).env_remove("SOURCE_DATE_EPOCH");
        command
    }

    /// What a command did and said.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Outcome {
        run(&mut self.command(arguments), LIMIT)
    }

    /// What a command that must succeed wrote to its standard output.
    pub fn ok<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        let outcome = self.run(arguments);
        let words: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
        assert!(outcome.success(), "layerctl {words:?}: {outcome:?}");
        outcome.stdout
    }

    /// The one line by which a command that must fail refuses.
    pub fn refused<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        let outcome = self.run(arguments);
        let words: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
        assert_eq!(outcome.status.code(), Some(1), "layerctl {words:?}: {outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "layerctl {words:?}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "layerctl {words:?}");
        outcome.stderr.trim_end().to_owned()
    }

    /// Loads an archive or directory quietly; gives the names that were printed.
    pub fn load(&self, file: &Path) -> Vec<String> {
        let said = self.ok(&[OsStr::new("load"), OsStr::new("-q"), OsStr::new("-i"), file.as_os_str()]);
        let names = said.lines().map(|line| match line.split_once(": ") {
            Some(("Loaded image" | "Loaded image ID", name)) => name.to_owned(),
            _ => panic!("load said: {said}"),
        });
        names.collect()
    }

    /// The id of an image.
    pub fn id(&self, image: &str) -> String {
        self.ok(&["inspect", "--format", "{{.Id}}", image]).trim_end().to_owned()
    }

    /// The digests of the layers of an image, the lowest first.
    pub fn layers(&self, image: &str) -> Vec<String> {
        let lines = self.ok(&["inspect", "--format", "{{range .RootFS.Layers}}{{println .}}{{end}}", image]);
        lines.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// The bytes of a blob.
    pub fn blob(&self, digest: &str) -> Vec<u8> {
        let path = self.root().join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// All names below the root, to see whether something was stored.
    pub fn stored(&self) -> Vec<String> {
        let names = sh("cd \"$1\" && find . -type f | sort", &[&self.root()]);
        names.lines().map(str::to_owned).collect()
    }

    /// Mounts an image at the directory `name`.
    pub fn mount(&self, image: &str, name: &str, further: &[&str]) -> Mounted {
        let path = self.dir(name);
        let mut command = self.command(&["mount", image]);
        let outcome = run(command.arg(&path).args(further), LIMIT);
        assert!(outcome.success(), "mounting {image}: {outcome:?}");
        assert_eq!(outcome.stderr, "", "mounting {image}");
        Mounted::take_over(path)
    }
}

/// A mounted image; unmounted on drop.
pub struct Mounted {
    path: PathBuf,
    live: bool,
}

impl Mounted {
    /// Takes care of what is mounted there.
    pub fn take_over(path: PathBuf) -> Mounted {
        watch(&path);
        Mounted { path, live: true }
    }

    /// Takes note that the test has ended the mount itself.
    pub fn ended(mut self) {
        assert!(!is_mounted(&self.path), "still mounted: {}", self.path.display());
        unwatch(&self.path);
        self.live = false;
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Unmounts, and waits until the driver has ended.
    pub fn umount(mut self) {
        self.take_down();
    }

    fn take_down(&mut self) {
        if !std::mem::take(&mut self.live) {
            return;
        }
        let pid = daemon_pid(&self.path);
        let mut last = String::new();
        // Busy is tried again: a child of another test may hold our descriptors for a moment.
        let done = wait_until(Duration::from_secs(5), || {
            let outcome = run(Command::new("umount").arg(&self.path), LIMIT);
            last = outcome.stderr;
            outcome.status.success()
        });
        unwatch(&self.path);
        if !done {
            abort_connection(&self.path);
            run(Command::new("umount").arg("-l").arg(&self.path), LIMIT);
        }
        let gone = wait_until(Duration::from_secs(10), || pid.is_none_or(|pid| !process_alive(pid)));
        assert!(std::thread::panicking() || (done && gone), "umount {}: {last}", self.path.display());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.take_down();
    }
}
