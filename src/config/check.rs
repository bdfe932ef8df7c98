//! Checks of the settings against the filesystem, before anything is changed: rule M6.

use super::{ConfigError, Lower, Settings, UpperDirs};
use std::path::{Path, PathBuf};

impl Settings {
    /// Makes all paths absolute, and refuses directories that are missing or lie inside each other.
    pub fn check(mut self) -> Result<Self, ConfigError> {
        for lower in &mut self.lowers {
            if let Lower::Directory(path) = lower {
                *path = directory("lowerdir", path)?;
            }
        }
        if let Some((name, _)) = self.labels.first()
            && !has_selinux()
        {
            return Err(ConfigError(format!(
                "{name} needs SELinux, which this kernel does not run: leave it out"
            )));
        }
        if let Some(UpperDirs { upper, work }) = &mut self.upper {
            *upper = directory("upperdir", upper)?;
            *work = directory("workdir", work)?;
            apart(upper, work, &self.lowers)?;
        }
        Ok(self)
    }
}

/// Whether the kernel reads labels from mount options: else it refuses the whole mount, without a word.
fn has_selinux() -> bool {
    std::fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("selinuxfs"))
}

/// The absolute path of a mount point, which must be a directory.
pub fn check_mount_point(path: &Path) -> Result<PathBuf, ConfigError> {
    directory("mount point", path)
}

fn directory(what: &str, path: &Path) -> Result<PathBuf, ConfigError> {
    let problem = |text: String| ConfigError(format!("{what} {}: {text}", path.display()));
    let full = path.canonicalize().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => problem("no such directory: create it first".into()),
        _ => problem(e.to_string()),
    })?;
    match full.metadata() {
        Ok(meta) if meta.is_dir() => Ok(full),
        Ok(_) => Err(problem("is not a directory".into())),
        Err(e) => Err(problem(e.to_string())),
    }
}

fn apart(upper: &Path, work: &Path, lowers: &[Lower]) -> Result<(), ConfigError> {
    let clash = |a: (&str, &Path), b: (&str, &Path)| {
        ConfigError(format!(
            "{} {} is inside {} {}: use directories apart",
            a.0,
            a.1.display(),
            b.0,
            b.1.display()
        ))
    };
    let (upper, work) = (("upperdir", upper), ("workdir", work));
    if upper.1 == work.1 {
        return Err(ConfigError(format!(
            "upperdir and workdir are both {}: use two directories",
            upper.1.display()
        )));
    }
    for (inner, outer) in [(upper, work), (work, upper)] {
        if inner.1.starts_with(outer.1) {
            return Err(clash(inner, outer));
        }
    }
    let directories = lowers.iter().filter_map(|lower| match lower {
        Lower::Directory(path) => Some(path),
        Lower::Cached(_) => None,
    });
    for lower in directories {
        let lower = ("lowerdir", &**lower);
        for ours in [upper, work] {
            if ours.1.starts_with(lower.1) {
                return Err(clash(ours, lower));
            }
            if lower.1.starts_with(ours.1) {
                return Err(clash(lower, ours));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::split;
    use super::*;

    #[test]
    fn m6_directories_must_exist_and_lie_apart() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().display().to_string();
        for dir in ["l", "u", "w", "u/in", "w/in", "l/in"] {
            std::fs::create_dir_all(base.path().join(dir)).unwrap();
        }
        std::fs::write(base.path().join("file"), "").unwrap();
        let check = |text: &str| {
            let settings = Settings::parse(&split(text.replace('@', &root).as_bytes())).unwrap();
            settings.check().map(drop).map_err(|e| e.0)
        };
        assert_eq!(check("lowerdir=@/l,upperdir=@/u,workdir=@/w"), Ok(()));
        for (text, names) in [
            ("lowerdir=@/none", "none"),
            ("lowerdir=@/file", "file"),
            ("lowerdir=@/l,upperdir=@/none,workdir=@/w", "none"),
            ("lowerdir=@/l,upperdir=@/u,workdir=@/none", "none"),
            ("lowerdir=@/l,upperdir=@/u,workdir=@/u", "both"),
            ("lowerdir=@/l,upperdir=@/u,workdir=@/u/in", "u/in"),
            ("lowerdir=@/l,upperdir=@/w/in,workdir=@/w", "w/in"),
            ("lowerdir=@/l,upperdir=@/l/in,workdir=@/w", "l/in"),
            ("lowerdir=@/l,upperdir=@/u,workdir=@/l/in", "l/in"),
            ("lowerdir=@/w/in,upperdir=@/u,workdir=@/w", "w/in"),
            ("lowerdir=@/u,upperdir=@/u,workdir=@/w", "/u"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(names) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
