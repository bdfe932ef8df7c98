# shellcheck shell=bash disable=SC2034
# What the scripts share: root, Debian packages, the Rust toolchain, tools from crates.io.
# Usage: source "$(dirname "$0")/lib.sh"
set -euo pipefail
shopt -s inherit_errexit
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$repo/target}
scratch=${LAYERFS_TEST_DIR:-/var/tmp}
export PATH=$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin

die() { echo "${0##*/}: $*" >&2; exit 1; }

# Starts the script again by sudo when the caller is not root. Usage: become_root "$@"
become_root() {
    [ "$(id -u)" != 0 ] || return 0
    command -v sudo > /dev/null || die "run this as root (there is no sudo here)"
    exec sudo --preserve-env=LAYERFS,LAYERFS_TEST_DIR,CARGO_TARGET_DIR,CI,PREFIX,DESTDIR,XDG_CACHE_HOME \
        env "PATH=$PATH" "HOME=$HOME" "$0" "$@"
}

# Installs those of the named Debian packages that are missing.
need_packages() {
    local missing=() package
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing ${missing[*]}" >&2
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y --no-install-recommends install "${missing[@]}"; } > /dev/null 2>&1 ||
        die "apt-get cannot install: ${missing[*]}"
}

# Succeeds when the cargo on PATH is as new as Cargo.toml asks for.
cargo_is_new_enough() {
    local want have
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$repo/Cargo.toml")
    have=$(cargo --version 2> /dev/null | cut -d' ' -f2) || return 1
    [ "$(printf '%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ]
}

# Sees to a C linker and a Rust toolchain; Debian has rustup since release 13.
need_rust() {
    need_packages gcc libc6-dev
    if ! cargo_is_new_enough && [ -n "$(apt-cache madison rustup 2> /dev/null)" ]; then
        need_packages rustup && rustup default stable > /dev/null
    fi
    cargo_is_new_enough || die "install Rust with rustup: Debian's own cargo is too old"
}
