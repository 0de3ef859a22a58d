#!/bin/sh
# Makes a base for the images without a registry, as root: base.sh FILE.tar [SUITE]. Then: docker import FILE.tar tarpon-base
#
# SUITE is a Debian release whose Python has the version for which the wheels were built; by default that of this machine.
set -eu
suite=${2:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
without() { for folder in "$@"; do printf -- '--dpkgopt=path-exclude=%s/*\n' "$folder"; done; }
# shellcheck disable=SC2046  # one word for each folder
mmdebstrap --quiet --variant=minbase --include=python3,ca-certificates,bubblewrap \
    $(without /usr/share/doc /usr/share/info /usr/share/locale /usr/share/man) \
    --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*' \
    "$suite" "$1"
