# shellcheck shell=bash disable=SC2154
# What test-podman uses: podman and buildah in a store of their own, as root or as an ordinary user.
# Usage: source "$(dirname "$0")/lib-podman.sh" after lib-union.sh

# The ordinary user: $LAYERFS_TEST_USER, or one that is made, with ranges of ids for its namespaces.
podman_user() {
    user=${LAYERFS_TEST_USER:-layerfs-test}
    id "$user" > /dev/null 2>&1 || useradd --create-home --shell /bin/sh "$user"
    grep -q "^$user:" /etc/subuid || usermod --add-subuids 200000-265535 --add-subgids 200000-265535 "$user"
}

# Runs a command as $who, with a home of its own below $work.
as_who() {
    local home=$work/$who
    mkdir -p "$home/run" && chmod 700 "$home/run"
    [ "$who" = root ] || chown "$user:" "$home" "$home/run"
    local environment=("HOME=$home" "XDG_RUNTIME_DIR=$home/run" "PATH=$PATH") become=()
    [ "$who" = root ] || become=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --init-groups)
    (cd "$work/context" && timeout 1800 "${become[@]}" env "${environment[@]}" "$@")
}

# Runs podman or buildah on the store STORE of $who with the mount program of KIND.
# Usage: pod STORE KIND podman|buildah ARGUMENTS...
pod() {
    local store=$work/$who/$1 program=$3 mount=()
    case $2 in
        layerfs) mount=(--storage-opt "overlay.mount_program=$work/bin/layerfs") ;;
        drop-in) mount=(--storage-opt "overlay.mount_program=$work/bin/fuse-overlayfs") ;;
        fuse-overlayfs) mount=(--storage-opt overlay.mount_program=/usr/bin/fuse-overlayfs) ;;
        kernel) ;;
    esac
    shift 3
    [ "$program" = buildah ] || mount+=(--cgroup-manager=cgroupfs --events-backend=file)
    as_who "$program" --root "$store" --runroot "$work/$who/run-${store##*/}" --storage-driver overlay \
        "${mount[@]}" "$@"
}

# Imports the base and builds the image of a Containerfile, each step anew. Usage: build STORE KIND FILE TAG
build() {
    local started
    started=$(date +%s)
    pod "$1" "$2" podman image exists localhost/base ||
        pod "$1" "$2" podman import -q "$work/base.tar" localhost/base > /dev/null
    pod "$1" "$2" podman build -q --isolation=chroot --no-cache --layers -t "$4" -f "$3" . > "$work/build.log" 2>&1 ||
        { tail "$work/build.log"; die "$who: $2 cannot build $3"; }
    echo "$who: $2 built $4 in $(($(date +%s) - started)) s"
}
