# shellcheck shell=bash disable=SC2154
# What test-real uses: trees as text, one object a line, compared by diff.
# Usage: source "$(dirname "$0")/lib-tree.sh"

# Prints path, type, mode, owner, mtime, link target or device, then for all but directories size
# and number of names, for regular files a digest, and all xattrs. Usage: describe DIR
describe() {
    (cd "$1" && {
        find . -xdev -printf '%p\t%y %M %U:%G %T@ %l' \( -type d -printf '\n' \
            -o -printf ' %s %n\n' \)
        find . -xdev \( -type b -o -type c \) -exec stat -c $'%n\tdevice %t:%T' {} +
        find . -xdev -type f -exec sha256sum {} + | sed -E 's/^([0-9a-f]+)  (.*)/\2\tsha256 \1/'
        getfattr -Rhd -m - -e hex . 2> /dev/null |
            awk '/^# file: /{ f = substr($0, 9); next } NF { print (f == "." ? f : "./" f) "\t" $0 }'
    } | LC_ALL=C sort)
}

# Drops from a description what two runs of the same work cannot have in common: times after the
# start, and the exceptions. Usage: settled START < DESCRIPTION
settled() {
    grep -vE "^\./($(sed '/^#/d; s/ .*//' "$repo/scripts/test-real.except" | paste -sd '|'))	" |
        awk -v start="$1" -F '\t' -v OFS='\t' '{
            n = split($2, field, " ")
            if (n > 3 && field[4] + 0 >= start) sub(field[4], "after-the-start", $2)
            print }'
}

# Fails with the diff unless two descriptions are equal. Usage: same FILE FILE WHAT
same() {
    diff -u "$1" "$2" > "$work/diff" || { head -n 60 "$work/diff"; die "differ: $3"; }
    echo "the same: $3"
}
