# shellcheck shell=bash disable=SC2154
# What test-podman does with podman and buildah besides building, each as $who.
# Usage: source "$(dirname "$0")/lib-podman-use.sh" after lib-podman-checks.sh

# buildah makes a container, changes and commits it; podman shows what it changed, saves and loads it.
use_buildah() {
    local container shown
    container=$(pod "$1" "$2" buildah from localhost/built)
    pod "$1" "$2" buildah run --isolation=chroot "$container" sh -ec 'rm /opt/link; echo x > /opt/made; mv /etc/apt /etc/a'
    pod "$1" "$2" buildah copy -q "$container" hello /opt/copied > /dev/null
    pod "$1" "$2" buildah commit -q "$container" localhost/changed > /dev/null
    shown=$(pod "$1" "$2" podman diff localhost/changed | grep -E '^. /(opt/(link|made|copied)|etc/(a|apt))$' | LC_ALL=C sort)
    [ "$shown" = "$(printf 'A /etc/a\nA /opt/copied\nA /opt/made\nD /etc/apt\nD /opt/link')" ] || die "$who: podman diff: $shown"
    pod "$1" "$2" buildah rm "$container" > /dev/null
    pod "$1" "$2" podman save -q -o "$work/$who/changed.tar" localhost/changed
    entries "$1" "$2" localhost/changed > "$work/before"
    pod "$1" "$2" podman rmi localhost/changed > /dev/null
    pod "$1" "$2" podman load -q -i "$work/$who/changed.tar" > /dev/null
    entries "$1" "$2" localhost/changed | diff "$work/before" - || die "$who: saved and loaded is another image"
    rm "$work/$who/changed.tar"
    echo "$who: $2: buildah from, run, copy, commit; podman diff, save, load"
}

# A container runs, changes its tree, and podman shows what it changed. By runc, since crun wants cgroups
# that not every machine has; with limits that need no privilege.
use_run() {
    local limits=(--network=host --ulimit nofile=1024:1024 --ulimit nproc=1000:1000) shown
    pod "$1" "$2" podman --runtime runc run --name run "${limits[@]}" localhost/built \
        sh -ec 'test -x /opt/answer; rm -r /opt/moved; echo > /opt/new' 2> "$work/log" || die "$who: run: $(tail -n 3 "$work/log")"
    shown=$(pod "$1" "$2" podman diff run | grep -E '^. /opt' | LC_ALL=C sort)
    [ "$shown" = "$(printf 'A /opt/new\nC /opt\nD /opt/moved')" ] || die "$who: podman diff: $shown"
    pod "$1" "$2" podman rm run > /dev/null
    echo "$who: $2: podman run"
}
