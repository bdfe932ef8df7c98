# Mounts a union over an image and uses it as a root directory. Usage: sh rootfs.sh DIR IMAGE
set -e
work=$1 image=$2
mkdir -p "$work/up" "$work/wd" "$work/merged"
"$work/../bin/layerfs" "$work/merged" -o "lowerdir=$image,upperdir=$work/up,workdir=$work/wd"
trap 'cd /; umount "$work/merged"' EXIT
cat > "$work/merged/work.sh" <<'WORK'
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
dpkg --configure -a && apt-get -y --no-install-recommends install gcc libc6-dev
echo 'int main(void) { return 7; }' > /root/x.c && gcc -o /root/x /root/x.c; /root/x || test $? = 7
apt-get -y --no-install-recommends install python3-minimal && python3 -c 'import os; os.makedirs("/root/a/b")'
rm -r /root/a /usr/share/licenses && chown -R 33:33 /opt
WORK
bwrap --bind "$work/merged" / --dev /dev --proc /proc --tmpfs /tmp sh -ex /work.sh
unshare --root "$work/merged" sh -exc 'rm /root/x; apt-get -y purge gcc; test ! -e /usr/bin/gcc; echo unshared'
