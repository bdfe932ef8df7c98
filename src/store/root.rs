//! Where the cache is, and where in it everything is.

use super::digest::{BlobDigest, DiffId};
use super::error::{Result, StoreError};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The place of the cache: as given, else by `$LAYERFS_ROOT`, else the user's own.
pub fn default_root(given: Option<&Path>) -> Result<PathBuf> {
    let privileged = rustix::process::geteuid().is_root();
    choose_root(given, privileged, |name| std::env::var_os(name))
}

fn choose_root(
    given: Option<&Path>,
    privileged: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    if let Some(root) = set("LAYERFS_ROOT") {
        return Ok(root);
    }
    if privileged {
        return Ok("/var/lib/layerfs".into());
    }
    // The base directory specification has relative paths ignored.
    let data = set("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let data = data.or_else(|| set("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("layerfs")).ok_or(StoreError::NoRoot)
}

/// The paths inside a root.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(super) fn new(root: &Path) -> Paths {
        Paths { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn layout_file(&self) -> PathBuf {
        self.root.join("oci-layout")
    }

    pub(super) fn index_file(&self) -> PathBuf {
        self.root.join("index.json")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(super) fn blob(&self, digest: BlobDigest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// The blob of a layer: stored uncompressed, so its digest is the diff id.
    pub(super) fn layer(&self, diff_id: DiffId) -> PathBuf {
        self.blobs().join(diff_id.hex())
    }

    pub(super) fn indexes(&self) -> PathBuf {
        self.root.join("layerfs/index")
    }

    pub(super) fn index(&self, diff_id: DiffId) -> PathBuf {
        self.indexes().join(diff_id.hex())
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("layerfs/tmp")
    }

    pub(super) fn mounts(&self) -> PathBuf {
        self.root.join("layerfs/mounts")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("layerfs/lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(given: Option<&str>, privileged: bool, env: &[(&str, &str)]) -> Option<String> {
        let variable =
            |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        let root = choose_root(given.map(Path::new), privileged, variable).ok()?;
        Some(root.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_root_is_found_in_the_order_of_the_manual() {
        let all = [("LAYERFS_ROOT", "/e"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(choose(Some("/g"), false, &all).as_deref(), Some("/g"));
        assert_eq!(choose(None, true, &all).as_deref(), Some("/e"));
        assert_eq!(choose(None, true, &all[1..]).as_deref(), Some("/var/lib/layerfs"));
        assert_eq!(choose(None, false, &all[1..]).as_deref(), Some("/x/layerfs"));
        assert_eq!(choose(None, false, &all[2..]).as_deref(), Some("/h/.local/share/layerfs"));
        let relative = [("LAYERFS_ROOT", ""), ("XDG_DATA_HOME", "x"), ("HOME", "/h")];
        assert_eq!(choose(None, false, &relative).as_deref(), Some("/h/.local/share/layerfs"));
        assert_eq!(choose(None, false, &[]), None);
    }
}
