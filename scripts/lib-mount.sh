# shellcheck shell=bash disable=SC2154
# What the scripts share: one way to mount a union, whoever serves it.
# Usage: source "$(dirname "$0")/lib-mount.sh" after lib-union.sh

# Runs a command while the kernel offers io_uring to FUSE servers, which Linux 6.14 and newer can.
# Usage: with_uring COMMAND [ARGUMENT...]
with_uring() {
    local offer=/sys/module/fuse/parameters/enable_uring before status=0
    before=$(cat "$offer") || die "this kernel has no io_uring for FUSE: it needs Linux 6.14"
    echo Y > "$offer"
    "$@" || status=$?
    echo "$before" > "$offer"
    return "$status"
}

# Sets $kind to what is to be under test and sees to all it needs. Usage: need_kind KIND
need_kind() {
    case $1 in overlay) kind=kernel ;; ext4) kind=plain ;; *) kind=$1 ;; esac
    case $kind in
        layerfs | io_uring) need_fuse && LAYERFS=$(layerfs_program) ;;
        fuse-overlayfs) need_fuse && need_packages fuse-overlayfs fuse3 ;;
        kernel) grep -qw overlay /proc/filesystems || modprobe overlay || die "no overlayfs here" ;;
        plain) ;;
        *) die "unknown target '$1': layerfs, io_uring, kernel, fuse-overlayfs or plain" ;;
    esac
}

# Mounts; `plain` copies the lower to MERGED, which is then an ordinary directory.
# Usage: mount_union KIND LOWER UPPER WORKDIR MERGED [MORE-OPTIONS]
mount_union() {
    local said options="lowerdir=$2,upperdir=$3,workdir=$4${6:+,$6}"
    mkdir -p "$3" "$4" "$5"
    case $1 in
        layerfs) timeout 30 "$LAYERFS" "$5" -o "$options" ;;
        io_uring)
            said=$(with_uring timeout 30 "$LAYERFS" "$5" -o "$options,io_uring" 2>&1) || die "$said"
            [[ $said != *io_uring:* ]] || die "$said"
            ;;
        fuse-overlayfs) timeout 30 fuse-overlayfs -o "$options" "$5" ;;
        kernel) mount -t overlay overlay -o "$options" "$5" ;;
        plain) cp -a "$2/." "$5" ;;
    esac
}
