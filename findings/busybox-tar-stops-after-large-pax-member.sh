#!/usr/bin/env bash
# BusyBox tar leaves out all that follows a member of 8 GiB, and ends with 0, where the size is in a pax record alone.
#
# Guess beforehand: BusyBox reads pax headers (it knows "path" and "linkpath"), so it takes "size" from there too.
# Seen (BusyBox 1.35.0 of Debian 12, archive by Python's tarfile in its default format): the large member is listed with
#   size 0, nothing after it is listed, the exit code is 0, nothing is written to stderr. The same members in GNU
#   format, where the header has the size in base 256, are all listed. GNU tar 1.34 reads both.
# Why it matters: a result with one large file, fetched by hand on a small system, loses the rest and nobody is told.
#   A writer that puts the size into both places is read by all.
# Source: POSIX.1-2017 pax, "size"; Python's tarfile.DEFAULT_FORMAT is PAX_FORMAT and leaves zeros in the header's field;
#   BusyBox archival/libarchive/get_header_tar.c.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(cd "$folder" && apt-get download -qq busybox-static=1:1.35.0-4+deb12u1+b1 && dpkg-deb -x busybox-static_*.deb .)
cat > "$folder/members.py" <<'PYTHON'
import sys, tarfile

def add(name, size, content=None):
    member = tarfile.TarInfo(name)
    member.size = size
    sys.stdout.buffer.write(member.tobuf(getattr(tarfile, sys.argv[1])))
    if content is not None:
        sys.stdout.buffer.write(content.ljust(512, b"\0"))
        return
    for _ in range(size >> 20):
        sys.stdout.buffer.write(bytes(1 << 20))

add("first", 2, b"1\n")
add("large", 8 << 30)
add("last", 2, b"2\n")
sys.stdout.buffer.write(bytes(1024))
PYTHON
listed() {
    timeout 120 python3 "$folder/members.py" "$1" | timeout 120 "${@:2}" tf - | xargs
}
busybox="$folder/bin/busybox"
"$busybox" | head -n 1
pax=$(listed PAX_FORMAT "$busybox" tar)
gnu=$(listed GNU_FORMAT "$busybox" tar)
other=$(listed PAX_FORMAT tar)
printf '%s\n' "BusyBox, pax: $pax" "BusyBox, gnu: $gnu" "tar, pax:     $other"
[ "$pax" = "first large" ] && [ "$gnu" = "first large last" ] && [ "$other" = "first large last" ] || {
    echo "CHANGED: this is not what was seen with 1.35.0"
    exit 1
}
echo "as written above"
