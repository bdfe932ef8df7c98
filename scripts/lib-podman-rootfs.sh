# shellcheck shell=bash disable=SC2154
# What test-podman does with an image's tree as a root directory, and how it ends.
# Usage: source "$(dirname "$0")/lib-podman-rootfs.sh" after lib-podman.sh

# The image mounted, and a union over it used as a root directory by programs of the image.
use_rootfs() {
    as_rootfs "$@" > "$work/rootfs.log" 2>&1 || { tail -n 20 "$work/rootfs.log"; die "$who: a root directory on layerfs"; }
    echo "$who: $2: bwrap and unshare --root run apt, gcc and python in the image"
}

# Mounts the image, and runs rootfs.sh on it, in the user's namespace.
as_rootfs() {
    local image
    if [ "$who" = root ]; then
        image=$(pod "$1" "$2" podman image mount localhost/built)
        as_who unshare -m sh rootfs.sh "$work/$who" "$image"
        pod "$1" "$2" podman image umount localhost/built > /dev/null
    else
        pod "$1" "$2" podman unshare bash -ec 'sh "$1" "$2" "$("${@:3}")"' bash rootfs.sh "$work/$who" \
            podman --root "$work/$who/$1" --runroot "$work/$who/run-$1" --storage-driver overlay \
            --storage-opt "overlay.mount_program=$work/bin/layerfs" image mount localhost/built
    fi
}

# Ends what holds the user's namespace, and unmounts what the stores left.
remove_stores() {
    local point pause=$work/user/run/libpod/tmp/pause.pid
    [ ! -e "$pause" ] || kill "$(cat "$pause")" || true
    for point in $(findmnt -rno TARGET | grep -F "$work/" | tac); do umount -l "$point" || true; done
}
