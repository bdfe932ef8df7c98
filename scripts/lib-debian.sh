# shellcheck shell=bash disable=SC2154
# What test-real uses: a Debian tree as lower layer, and work done in a mount of it.
# Usage: source "$(dirname "$0")/lib-debian.sh" after lib.sh

# Prints the path of a minimal Debian of this machine's release, made once. The packages that
# change_debian installs are already downloaded in it, so that a run needs no network.
debian_tree() {
    local suite mirror tree=${XDG_CACHE_HOME:-$target}/layerfs-debian
    [ ! -d "$tree" ] || [ ! -e "$tree.complete" ] || { echo "$tree"; return; }
    echo "making a minimal Debian in $tree" >&2
    # shellcheck disable=SC1091
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $suite" | head -n 1)
    rm -rf --one-file-system "$tree"
    mkdir -p "$tree"
    debootstrap --variant=minbase "$suite" "$tree" "$mirror" > "$tree.log" 2>&1 ||
        die "debootstrap failed, see $tree.log"
    # apt inside reaches the mirror as this machine does.
    rm -rf "$tree/etc/apt"
    cp -a /etc/apt "$tree/etc/"
    cp -aLT /usr/share/keyrings "$tree/usr/share/keyrings"
    cp -L /etc/resolv.conf /etc/hosts "$tree/etc/"
    { chroot "$tree" apt-get update && chroot "$tree" apt-get -y --no-install-recommends \
        --download-only install ca-certificates gcc libc6-dev; } >> "$tree.log" 2>&1 ||
        die "apt-get failed in $tree, see $tree.log"
    touch "$tree.complete"
    echo "$tree"
}

# What a person would do in a container: installs, removes, compiles. Usage: change_debian ROOT
change_debian() {
    mount -t proc proc "$1/proc"
    timeout 1200 chroot "$1" /bin/bash -e > "$work/change.log" 2>&1 <<'END' ||
        export DEBIAN_FRONTEND=noninteractive LC_ALL=C
        apt-get -y --no-install-recommends install ca-certificates gcc libc6-dev
        apt-get -y purge tzdata
        mkdir /root/c
        echo 'int main(void) { return 42; }' > /root/c/answer.c
        gcc -O2 -o /root/c/answer /root/c/answer.c
        /root/c/answer || test $? = 42
        ln /root/c/answer /root/c/link
        mv /usr/share/doc /usr/share/documents
        chown -R 33:33 /usr/share/common-licenses
        rm -rf /usr/share/locale
END
        { tail "$work/change.log"; die "the work in $1 failed"; }
    umount "$1/proc"
}
