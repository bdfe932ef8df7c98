# shellcheck shell=bash disable=SC2154
# What test-podman checks, each as $who.
# Usage: source "$(dirname "$0")/lib-podman-checks.sh" after lib-podman.sh

# Writes the entries of an image's layers, or of its whole tree, without what two builds cannot have in
# common. Usage: entries STORE KIND TAG > FILE
entries() {
    local archive=$work/$who/image.oci
    rm -f "$archive"
    pod "$1" "$2" podman save -q --format oci-archive -o "$archive" "$3"
    "$repo/scripts/image-layers" "${@:4}" "$archive" | grep -vE \
        "^[0-9]* ?($(sed '/^#/d; s/ .*//' "$repo"/scripts/test-{real,podman}.except | paste -sd '|')) "
}

# The layers of two stores' images are the same. Usage: same_layers STORE KIND STORE KIND TAG
same_layers() {
    entries "$1" "$2" "$5" > "$work/one"
    entries "$3" "$4" "$5" > "$work/two"
    diff "$work/one" "$work/two" > "$work/diff" || { head -n 40 "$work/diff"; die "$who: $2 and $4: layers of $5"; }
    echo "$who: $2 and $4 made the same layers of $5, $(wc -l < "$work/one") entries"
}

# The trees of two stores' images are the same. Usage: same_tree STORE KIND STORE KIND TAG
same_tree() {
    entries "$1" "$2" "$5" --tree > "$work/one"
    entries "$3" "$4" "$5" --tree > "$work/two"
    diff "$work/one" "$work/two" > "$work/diff" || { head -n 40 "$work/diff"; die "$who: $2 and $4: tree of $5"; }
    echo "$who: $2 and $4 made the same tree of $5, $(wc -l < "$work/one") objects"
}
