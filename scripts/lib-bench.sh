# shellcheck shell=bash disable=SC2154
# What bench does for an ordinary user: all that he runs where he can reach it, and what only root may.
# Usage: source "$(dirname "$0")/lib-bench.sh" after lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib-podman.sh"

# Runs the benchmark as root of a namespace of $user, and saves as the host's root what it found.
# Usage: rootless_bench ARGUMENTS...
rootless_bench() {
    local home=$SCRATCH-rootless inner=() argument
    [[ " $* " != *" --compare "* ]] || die "--compare is not for --rootless: the user cannot read the file"
    need_packages uidmap
    podman_user
    mkdir -p "$home/bin"
    cp -r "$repo/scripts/bench.d" "$home/"
    [ -z "$LAYERFS" ] || cp "$LAYERFS" "$home/bin/layerfs"
    [ -z "$FO2" ] || cp "$FO2" "$home/bin/fuse-overlayfs"
    [ -e "$home/drop" ] || mkfifo "$home/drop" "$home/dropped"
    chown -R "$user:" "$home/bin" "$home/bench.d" "$home/drop" "$home/dropped" && chown "$user:" "$home"
    for argument in "$@"; do [ "$argument" = --save ] || inner+=("$argument"); done
    drop_caches "$home" &
    trap "kill $! 2> /dev/null || true" EXIT
    (cd "$home" && SCRATCH=$home LAYERFS=${LAYERFS:+$home/bin/layerfs} FO2=${FO2:+$home/bin/fuse-overlayfs} \
        setpriv "--reuid=$user" "--regid=$(id -g "$user")" --init-groups env "HOME=$home" \
        unshare -m --map-auto --map-root-user python3 bench.d/main.py "${inner[@]}" --raw "$home/raw.json")
    [ $# = ${#inner[@]} ] || python3 "$repo/scripts/bench.d/report.py" "$home/raw.json" scripts/bench "$@"
}

# Drops the kernel's caches when asked to. Usage: drop_caches DIRECTORY
drop_caches() {
    while read -r _ < "$1/drop"; do
        sync
        echo 3 > /proc/sys/vm/drop_caches
        echo done > "$1/dropped"
    done
}

# Prints the path of the server that does nothing, built.
floor_program() {
    (cd "$repo" && cargo build --quiet --release --locked --example floor >&2)
    echo "$repo/target/release/examples/floor"
}
