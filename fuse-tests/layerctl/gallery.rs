//! An image made by umoci whose layers have all that layers can have.

use super::Cache;
use super::tools::tool;
use crate::harness::sh;
use std::path::{Path, PathBuf};

/// The lowest layer: every kind of object, odd names, owners, modes, times and xattrs.
const BASE: &str = r#"
cd "$1"
umask 022
mkdir -p etc usr/bin usr/lib/deep/er var/lib/a var/lib/b var/tmp opt/replaced 'dir with blanks'
echo motd >etc/motd; ln etc/motd etc/motd-link; ln etc/motd usr/lib/motd-far
seq 1 50000 >usr/lib/big
: >etc/empty
echo lower >var/lib/b/hidden; echo a >var/lib/a/gone; echo x >opt/replaced/inner
echo deep >usr/lib/deep/er/file; echo twice >etc/twice
ln -s ../etc/motd usr/link; ln -s /no/such dangling
mknod -m 620 console c 5 1; mknod disk b 8 17; mkfifo -m 600 pipe
cp /bin/true usr/bin/suid; chown 12:34 usr/bin/suid; chmod 6755 usr/bin/suid
cp /bin/true usr/bin/both; chown 12:34 usr/bin/both; chmod 6755 usr/bin/both
cp /bin/true usr/bin/ping; setcap cap_net_raw+ep usr/bin/ping
chmod 1777 var/tmp; chmod 0 etc/twice
echo owned >etc/owned; chown 3000000:4000000 etc/owned
setfattr -n user.note -v 'a note' etc/owned; setfattr -n user.bytes -v 0x00ff0a00 usr/bin/suid
setfattr -n user.dir -v d var/lib/b
long=$(printf '%0255d' 7); echo long >"$long"; ln -s "$long$long" long-target
path=.; for i in $(seq 12); do path=$path/a-directory-of-a-long-path-$i; done
mkdir -p "$path"; echo end >"$path/end"; ln "$path/end" far-link
echo odd >"$(printf 'new\nline')"; echo accent >"$(printf 'caf\303\251')"; echo raw >"$(printf 'raw\377')"
truncate -s 1M usr/lib/sparse; printf x | dd of=usr/lib/sparse bs=1 seek=700000 conv=notrunc 2>/dev/null
touch -d 1960-05-06T07:08:09Z etc/old; touch -d 2200-01-02T03:04:05Z etc/future
touch -h -d 2001-02-03T04:05:06Z dangling
find . -depth -newermt 2015-01-01 ! -newermt 2100-01-01 ! -type l -exec touch -d 2024-03-04T05:06:07Z {} +
"#;

/// The second: removals, replacements by another kind, a renamed directory, changes of all attributes.
const CHANGES: &str = r#"
cd "$1"
umask 022
rm etc/motd
rm -r var/lib/a
rm -r opt/replaced; echo file >opt/replaced
rm etc/empty; mkdir etc/empty; echo x >etc/empty/inner
mv usr/lib/deep usr/lib/renamed
chmod 700 usr/bin/suid; chown 7:8 pipe; echo more >>usr/lib/big; ln usr/lib/big usr/lib/big-link
setfattr -x user.note etc/owned; setfattr -n user.new -v 1 etc/owned
rm usr/link; ln -s motd usr/link
rm etc/twice
"#;

/// The third: a name that the layer below it removed.
const AGAIN: &str = "cd \"$1\"; echo again >etc/twice; mkdir var/lib/a; echo new >var/lib/a/new";

/// Makes the image `gallery` in an OCI directory beside the cache, and gives the directory. Its layers
/// are gzipped: umoci has no other form.
pub fn make(cache: &Cache) -> PathBuf {
    let (home, layout) = (cache.dir("home"), cache.at("gallery"));
    let image = format!("{}:gallery", layout.display());
    let umoci = |arguments: &[&str]| tool(&home, "umoci", arguments);
    umoci(&["init", "--layout", layout.to_str().unwrap()]);
    umoci(&["new", "--image", &image]);
    for (number, script) in [BASE, CHANGES, AGAIN].into_iter().enumerate() {
        let bundle = cache.at(&format!("bundle{number}"));
        umoci(&["unpack", "--image", &image, bundle.to_str().unwrap()]);
        sh(script, &[&bundle.join("rootfs")]);
        let author = "--history.author=umoci";
        let by = format!("--history.created_by=script {number}");
        umoci(&["repack", author, &by, "--image", &image, bundle.to_str().unwrap()]);
    }
    let insert = cache.dir("insert");
    sh("umask 022; echo in >\"$1/shown\"; touch -d 2024-03-04T05:06:07Z \"$1/shown\" \"$1\"", &[&insert]);
    umoci(&["insert", "--image", &image, "--opaque", insert.to_str().unwrap(), "/var/lib/b"]);
    umoci(&["insert", "--image", &image, "--whiteout", "/usr/lib/renamed/er"]);
    umoci(&["config", "--image", &image, "--config.cmd", "/bin/sh", "--config.env", "A=1"]);
    layout
}

/// The tree of an image of an OCI directory as umoci unpacks it.
pub fn unpacked(cache: &Cache, layout: &Path, tag: &str, bundle: &str) -> PathBuf {
    super::tools::umoci_unpack(&cache.dir("home"), layout, tag, &cache.at(bundle))
}
