# shellcheck shell=bash disable=SC2154,SC2034,SC2015
# What the scripts share: programs built or installed by cargo, mounts, a place to work in.
# Usage: source "$(dirname "$0")/lib-union.sh" after lib.sh

# Prints the path of layerfs: $LAYERFS, or else the release build, made anew.
layerfs_program() {
    if [ -z "${LAYERFS:-}" ]; then
        need_rust
        (cd "$repo" && cargo build --quiet --release --locked --bins >&2)
    fi
    realpath -e "${LAYERFS:-$target/release/layerfs}"
}

# Installs a program from crates.io once and prints its path. Usage: crate_program NAME VERSION
crate_program() {
    local root=$target/tools/$1-$2
    if [ ! -x "$root/bin/$1" ]; then
        need_rust
        echo "installing $1 $2 by cargo" >&2
        CARGO_TARGET_DIR=$target/tools/build cargo install --quiet --locked "$1@$2" --root "$root" >&2
        rm -rf "$target/tools/build"
    fi
    echo "$root/bin/$1"
}

# Sees to /dev/fuse, with the mode that udev gives it.
need_fuse() {
    [ -e /dev/fuse ] || modprobe fuse 2> /dev/null || true
    [ -e /dev/fuse ] || mknod /dev/fuse c 10 229
    [ -w /dev/fuse ] || chmod 666 /dev/fuse
    true 3<> /dev/fuse || die "/dev/fuse cannot be opened"
}

# Makes the directory $work, unmounted and removed when the script ends. Usage: workplace NAME
workplace() {
    work=$(mktemp -d "$scratch/layerfs-$1.XXXXXX")
    chmod 755 "$work"
    trap 'cd /; leave_mounts; rm -rf --one-file-system "$work"' EXIT
}

# Unmounts all below $work, the newest first, and waits until nobody serves it any more.
leave_mounts() {
    local point try
    for point in $(findmnt -rno TARGET | grep -F "$work/" | tac); do
        for try in {1..50}; do umount "$point" 2> /dev/null && break || sleep 0.1; done
        ! mountpoint -q "$point" || die "$point cannot be unmounted"
        for try in {1..50}; do pgrep -f -- "$point" > /dev/null && sleep 0.1 || break; done
    done
}
