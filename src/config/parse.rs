//! The meaning of each option (docs/options.md).

use super::{ConfigError, Lower, Manner, MountFlags, Opt, RedirectDir, Settings, UpperDirs};
use crate::types::{IdRange, WhiteoutForm};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

/// Options that only fstab and mount(8) read.
const FOR_MOUNT: &[&str] = &[
    "_netdev", "auto", "noauto", "nofail", "user", "users", "nouser", "owner", "group", "defaults", "comment",
];
/// Options that ask for what is so anyway.
const ALWAYS_SO: &[&str] = &[
    "default_permissions",
    "rw",
    "suid",
    "dev",
    "exec",
    "async",
    "atime",
    "diratime",
    "relatime",
    "norelatime",
    "nolazytime",
    "nostrictatime",
    "big_writes",
    "auto_cache",
    "kernel_cache",
    "splice_read",
    "splice_write",
    "splice_move",
    "fast_ino",
    "fast_ino_check",
    "max_write",
    "max_read",
];
/// Options of fuse-overlayfs and libfuse that mean nothing here.
const MEANINGLESS: &[(&str, &str)] = &[
    ("threaded", "requests are always served in parallel"),
    ("max_idle_threads", "the number of threads is fixed: see threads="),
    ("max_threads", "the number of threads is fixed: see threads="),
    ("clone_fd", "each thread always has its own channel"),
    ("io_uring_q_depth", "each thread has one entry: see threads="),
    ("noxattrs", "xattrs are always offered"),
    ("static_nlink", "merged directories always show one link"),
    ("ino32_t", "inode numbers have 64 bits"),
    ("xino", "inode numbers are always unique and stable"),
    ("nfs_export", "file handles are not offered"),
    ("fsname", "the source is given as an operand"),
    ("subtype", "the type is always fuse.layerfs"),
    ("uuid", "the union has no UUID of its own"),
    ("auto_unmount", "SIGTERM unmounts"),
    ("entry_timeout", "see timeout="),
    ("attr_timeout", "see timeout="),
    ("negative_timeout", "see timeout="),
];
/// Options of fuse-overlayfs whose meaning is not offered: ignoring them would show wrong owners or data.
const UNSUPPORTED: &[&str] = &["datadir", "verity"];
/// The options by which the kernel labels a mount for SELinux; it reads them itself.
const LABELS: &[&str] = &["context", "fscontext", "defcontext", "rootcontext"];

const DIGEST_ALGORITHM: &[u8] = b"sha256";

impl Settings {
    /// Gives each option its meaning, in order; later ones win.
    pub fn parse(options: &[Opt]) -> Result<Self, ConfigError> {
        Self::parse_as(options, Manner::Layerfs)
    }

    /// The same with the defaults and the forbearance of the program that is stood in for.
    pub fn parse_as(options: &[Opt], manner: Manner) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(manner);
        let mut upper = None;
        let mut work = None;
        for option in options {
            match option.name.as_str() {
                "upperdir" => upper = Some(path(option, option.text())?),
                "workdir" => work = Some(path(option, option.text())?),
                _ => settings.apply(option)?,
            }
        }
        settings.upper = match (upper, work) {
            (Some(upper), Some(work)) => Some(UpperDirs { upper, work }),
            (Some(_), None) => {
                return Err(error("upperdir needs workdir=DIR, a directory on the same filesystem"));
            }
            (None, Some(_)) => return Err(error("workdir is given without upperdir=DIR")),
            (None, None) => None,
        };
        Ok(settings)
    }

    fn apply(&mut self, option: &Opt) -> Result<(), ConfigError> {
        let name = option.name.as_str();
        match name {
            "lowerdir" => self.lowers = lowers(option, option.list())?,
            "lowerdir+" => self.lowers.extend(lower(option, option.text())?),
            "root" => self.root = Some(path(option, option.text())?),
            "squash_to_root" => {
                self.users.squash = self.users.squash.or(Some(0));
                self.groups.squash = self.groups.squash.or(Some(0));
            }
            "squash_to_uid" => self.users.squash = Some(number(option)?),
            "squash_to_gid" => self.groups.squash = Some(number(option)?),
            "uidmapping" => self.users.ranges = id_ranges(option)?,
            "gidmapping" => self.groups.ranges = id_ranges(option)?,
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "redirect_dir" => self.redirect_dir = redirect_dir(option)?,
            "metacopy" => self.metacopy = on_off(option)?,
            "index" => self.index = on_off(option)?,
            "userxattr" => self.userxattr = true,
            "xattr_permissions" => match number(option)? {
                permissions @ 0..=2 => self.xattr_permissions = permissions,
                _ => return Err(bad_value(option, "0, 1 or 2")),
            },
            "whiteouts" => self.whiteouts = whiteouts(option)?,
            "volatile" => self.durable = false,
            "fsync" => self.durable = zero_one(option)?,
            // fuse-overlayfs has it as another name of fsync=; without a value it is mount(8)'s.
            "sync" if option.value.is_some() => self.durable = zero_one(option)?,
            "writeback" => self.writeback = zero_one(option)?,
            // libfuse has it without a value.
            "io_uring" if option.value.is_none() => self.io_uring = true,
            "io_uring" => self.io_uring = zero_one(option)?,
            "noacl" => self.acl = false,
            "acl" => self.acl = true,
            "timeout" => self.cache = Some(seconds(option)?),
            "threads" => self.threads = Some(number(option)?.clamp(1, 256) as usize),
            "debug" => self.debug = true,
            "allow_other" => self.allow_other = Some(true),
            "allow_root" => {
                return Err(error(
                    "allow_root is not supported, since the kernel's cache answers all: use allow_other",
                ));
            }
            "plugins" => {
                return Err(error(
                    "plugins is not supported: mount what the plugin would show, and name it in lowerdir",
                ));
            }
            _ if LABELS.contains(&name) => self.labels.push((name.to_owned(), label(option)?)),
            _ if set_flag(&mut self.flags, name) => {}
            _ if FOR_MOUNT.contains(&name) || ALWAYS_SO.contains(&name) => {}
            _ if name.starts_with("x-") || name.starts_with("X-") => {}
            _ => self.other(name)?,
        }
        Ok(())
    }

    fn other(&mut self, name: &str) -> Result<(), ConfigError> {
        let meaningless = MEANINGLESS.iter().find(|(known, _)| *known == name);
        match (meaningless, self.manner) {
            (Some(_), Manner::FuseOverlayfs) => {}
            (Some((_, why)), Manner::Layerfs) => {
                self.warnings.push(format!("option {name} is ignored: {why}"));
            }
            (None, _) if UNSUPPORTED.contains(&name) => {
                return Err(error(format!("option {name} is not supported")));
            }
            (None, Manner::FuseOverlayfs) => self.warnings.push(format!("unknown option {name} is ignored")),
            (None, Manner::Layerfs) => {
                return Err(error(format!("unknown option {name}: see layerfs --help")));
            }
        }
        Ok(())
    }
}

/// Reads the options that are flags of mount(2), as /proc/mounts lists them and mount(8) passes
/// them, over those that are set already.
pub(super) fn flags_of(options: &[Opt], flags: &mut MountFlags, read_only: &mut bool) {
    for option in options.iter().filter(|option| option.value.is_none()) {
        match option.name.as_str() {
            "ro" => *read_only = true,
            "rw" => *read_only = false,
            name => {
                set_flag(flags, name);
            }
        }
    }
}

/// A label as the kernel takes it: in quotes, since it may hold commas.
fn label(option: &Opt) -> Result<String, ConfigError> {
    let text = String::from_utf8(option.text()).map_err(|_| bad_value(option, "a label"))?;
    let bare = text.trim_matches('"');
    match bare.is_empty() || bare.contains('"') {
        true => Err(bad_value(option, "a label")),
        false => Ok(format!("\"{bare}\"")),
    }
}

fn set_flag(flags: &mut MountFlags, name: &str) -> bool {
    match name {
        "nosuid" => flags.nosuid = true,
        "suid" => flags.nosuid = false,
        "nodev" => flags.nodev = true,
        "dev" => flags.nodev = false,
        "noexec" => flags.noexec = true,
        "exec" => flags.noexec = false,
        "noatime" => flags.noatime = true,
        "atime" => flags.noatime = false,
        "nodiratime" => flags.nodiratime = true,
        "diratime" => flags.nodiratime = false,
        "strictatime" => flags.strictatime = true,
        "nostrictatime" => flags.strictatime = false,
        "lazytime" => flags.lazytime = true,
        "nolazytime" => flags.lazytime = false,
        "sync" => flags.sync = true,
        "async" => flags.sync = false,
        "dirsync" => flags.dirsync = true,
        _ => return false,
    }
    true
}

fn error(text: impl Into<String>) -> ConfigError {
    ConfigError(text.into())
}

fn path(option: &Opt, path: Vec<u8>) -> Result<PathBuf, ConfigError> {
    if path.is_empty() {
        return Err(error(format!("{} has an empty path", option.name)));
    }
    Ok(PathBuf::from(OsString::from_vec(path)))
}

/// The lowers of a list that was parted at colons: the digest of a cached layer has one of its own.
fn lowers(option: &Opt, parts: Vec<Vec<u8>>) -> Result<Vec<Lower>, ConfigError> {
    let mut lowers = Vec::with_capacity(parts.len());
    let mut parts = parts.into_iter().peekable();
    while let Some(part) = parts.next() {
        let cached = parts.next_if(|next| part == DIGEST_ALGORITHM && is_digest(next));
        lowers.push(match cached {
            Some(hex) => Lower::Cached(format!("sha256:{}", String::from_utf8_lossy(&hex))),
            None => Lower::Directory(path(option, part)?),
        });
    }
    Ok(lowers)
}

/// One lower whose text was not parted.
fn lower(option: &Opt, text: Vec<u8>) -> Result<Vec<Lower>, ConfigError> {
    let hex = text.strip_prefix(DIGEST_ALGORITHM).and_then(|rest| rest.strip_prefix(b":"));
    let parts = match hex {
        Some(hex) if is_digest(hex) => vec![DIGEST_ALGORITHM.to_vec(), hex.to_vec()],
        _ => vec![text],
    };
    lowers(option, parts)
}

fn is_digest(hex: &[u8]) -> bool {
    hex.len() == 64 && hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The ranges of a mapping: `STORED:SHOWN:COUNT`, any number of times.
fn id_ranges(option: &Opt) -> Result<Vec<IdRange>, ConfigError> {
    let expected = || bad_value(option, "STORED:SHOWN:COUNT[:STORED:SHOWN:COUNT…]");
    let numbers: Option<Vec<u32>> =
        option.list().iter().map(|part| std::str::from_utf8(part).ok()?.parse().ok()).collect();
    let numbers = numbers.filter(|n| !n.is_empty() && n.len() % 3 == 0).ok_or_else(expected)?;
    Ok(numbers.chunks_exact(3).map(|n| IdRange { stored: n[0], shown: n[1], count: n[2] }).collect())
}

fn bad_value(option: &Opt, expected: &str) -> ConfigError {
    error(format!("{}={}: expected {expected}", option.name, String::from_utf8_lossy(&option.text())))
}

fn on_off(option: &Opt) -> Result<bool, ConfigError> {
    match &*option.text() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(bad_value(option, "on or off")),
    }
}

fn zero_one(option: &Opt) -> Result<bool, ConfigError> {
    match &*option.text() {
        b"1" => Ok(true),
        b"0" => Ok(false),
        _ => Err(bad_value(option, "0 or 1")),
    }
}

fn whiteouts(option: &Opt) -> Result<Option<WhiteoutForm>, ConfigError> {
    match &*option.text() {
        b"auto" => Ok(None),
        b"device" => Ok(Some(WhiteoutForm::Device)),
        b"xattr" => Ok(Some(WhiteoutForm::Xattr)),
        b"file" => Ok(Some(WhiteoutForm::File)),
        _ => Err(bad_value(option, "auto, device, xattr or file")),
    }
}

fn redirect_dir(option: &Opt) -> Result<RedirectDir, ConfigError> {
    match &*option.text() {
        b"on" => Ok(RedirectDir::On),
        b"follow" | b"off" => Ok(RedirectDir::Follow),
        b"nofollow" => Ok(RedirectDir::NoFollow),
        _ => Err(bad_value(option, "on, follow, nofollow or off")),
    }
}

fn number(option: &Opt) -> Result<u32, ConfigError> {
    let text = option.text();
    std::str::from_utf8(&text).ok().and_then(|t| t.parse().ok()).ok_or_else(|| bad_value(option, "a number"))
}

fn seconds(option: &Opt) -> Result<Duration, ConfigError> {
    let text = option.text();
    let parsed = std::str::from_utf8(&text).ok().and_then(|t| t.parse::<f64>().ok());
    parsed
        .and_then(|s| Duration::try_from_secs_f64(s).ok())
        .ok_or_else(|| bad_value(option, "a number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::super::split;
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(&split(text.as_bytes())).map_err(|e| e.0)
    }

    #[test]
    fn m3_lowers_stack_in_the_order_given() {
        let settings = parse("lowerdir=/a:/b,lowerdir+=/c:d").unwrap();
        let directories = ["/a", "/b", "/c:d"].map(|path| Lower::Directory(path.into()));
        assert_eq!(settings.lowers, directories);
    }

    #[test]
    fn m3_digests_stand_among_directories() {
        let hex = "0123456789abcdef".repeat(4);
        let cached = Lower::Cached(format!("sha256:{hex}"));
        let directory = |path: &str| Lower::Directory(path.into());
        let settings = parse(&format!("lowerdir=/a:sha256:{hex}:sha256:b,lowerdir+=sha256:{hex}")).unwrap();
        assert_eq!(
            settings.lowers,
            [directory("/a"), cached.clone(), directory("sha256"), directory("b"), cached]
        );
    }

    #[test]
    fn m11_owners_are_squashed_or_mapped() {
        let settings = parse("lowerdir=/a,squash_to_root,squash_to_uid=7").unwrap();
        assert_eq!((settings.users.squash, settings.groups.squash), (Some(7), Some(0)));
        let settings = parse("lowerdir=/a,uidmapping=0:10:100:100:10000:2000,gidmapping=5:6:1").unwrap();
        let ranges = [
            IdRange { stored: 0, shown: 10, count: 100 },
            IdRange { stored: 100, shown: 10_000, count: 2000 },
        ];
        assert_eq!(settings.users.ranges, ranges);
        assert_eq!(settings.groups.ranges, [IdRange { stored: 5, shown: 6, count: 1 }]);
    }

    #[test]
    fn m6_refusals_name_the_option() {
        for (text, names) in [
            ("lowerdir=", "lowerdir"),
            ("lowerdir=/a::/b", "lowerdir"),
            ("lowerdir=/a,upperdir=/u", "workdir"),
            ("lowerdir=/a,workdir=/w", "upperdir"),
            ("lowerdir=/a,metacopy=maybe", "metacopy=maybe"),
            ("lowerdir=/a,frobnicate", "frobnicate"),
            ("lowerdir=/a,uidmapping=0:1", "uidmapping=0:1"),
            ("lowerdir=/a,timeout=soon", "timeout=soon"),
            ("lowerdir=/a,fsync=2", "fsync=2"),
            ("lowerdir=/a,whiteouts=none", "whiteouts=none"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(names), "{text}: {error}");
        }
    }

    #[test]
    fn m10_options_of_mount_are_honoured_or_accepted() {
        let settings =
            parse("lowerdir=/a,rw,nosuid,nodev,noexec,noatime,_netdev,noauto,x-systemd.automount,defaults")
                .unwrap();
        assert!(
            settings.flags.nosuid && settings.flags.nodev && settings.flags.noexec && settings.flags.noatime
        );
        assert!(!settings.read_only && settings.warnings.is_empty());
        assert!(parse("lowerdir=/a,ro,nosuid,suid").is_ok_and(|s| s.read_only && !s.flags.nosuid));
    }

    #[test]
    fn m22_io_uring_is_off_unless_asked_for() {
        let asked = |text: &str| parse(text).map(|settings| settings.io_uring);
        assert_eq!(asked("lowerdir=/a"), Ok(false));
        assert_eq!(asked("lowerdir=/a,io_uring"), Ok(true));
        assert_eq!(asked("lowerdir=/a,io_uring=1,io_uring=0"), Ok(false));
        assert!(asked("lowerdir=/a,io_uring=yes").unwrap_err().to_string().contains("io_uring"));
        assert_eq!(parse("lowerdir=/a,io_uring_q_depth=16").unwrap().warnings.len(), 1);
    }

    #[test]
    fn options_without_meaning_are_accepted_with_a_warning() {
        let settings = parse("lowerdir=/a,threaded=1,xino=auto").unwrap();
        assert_eq!(settings.warnings.len(), 2);
        assert!(settings.warnings[0].contains("threaded"));
    }

    #[test]
    fn m12_as_fuse_overlayfs_what_it_ignores_is_ignored() {
        let parse = |text: &str| Settings::parse_as(&split(text.as_bytes()), Manner::FuseOverlayfs);
        let settings = parse("lowerdir=/a,threaded=1,xino=auto,frobnicate").unwrap();
        assert_eq!(settings.warnings, ["unknown option frobnicate is ignored"]);
        assert_eq!((settings.redirect_dir, settings.metacopy), (RedirectDir::Follow, false));
        assert!(settings.flags.noatime);
        assert!(parse("lowerdir=/a,plugins=x").is_err_and(|e| e.0.contains("plugins")));
    }

    #[test]
    fn m14_labels_are_passed_on_in_quotes() {
        for text in [r#"context="u:r:t:s0:c1,c2""#, "context=u:r:t:s0:c1\\,c2"] {
            let settings = parse(&format!("lowerdir=/a,{text}")).unwrap();
            assert_eq!(settings.labels, [("context".to_owned(), r#""u:r:t:s0:c1,c2""#.to_owned())], "{text}");
        }
    }

    #[test]
    fn m13_a_remount_changes_the_flags_it_names() {
        let (flags, read_only) =
            MountFlags::after_remount(b"rw,nosuid,noatime,user_id=0", &split(b"remount,ro,suid"));
        assert_eq!(flags, MountFlags { noatime: true, ..MountFlags::default() });
        assert!(read_only);
    }

    #[test]
    fn f4_volatile_and_fsync_0_turn_durability_off() {
        assert!(parse("lowerdir=/a").unwrap().durable);
        assert!(!parse("lowerdir=/a,volatile").unwrap().durable);
        assert!(!parse("lowerdir=/a,fsync=0").unwrap().durable);
        assert!(!parse("lowerdir=/a,sync=0").unwrap().durable);
    }
}
