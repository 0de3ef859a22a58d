#!/bin/sh
# Runs a job on the orchestrator that the environment names, fetches its result from S3 and shows it. On a terminal it
# prints where all that is seen in a browser; with KEEP=1 it goes on until Ctrl-C.
set -eu

here=$(dirname "$0")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

page() {
    echo
    echo "The page in a browser (whoever opens this first is signed in; it is good once, for two minutes):"
    echo "  $(tarpon job open "$@" --print 2> /dev/null)"
}

[ ! -t 1 ] || page

job=$(tarpon job run -v --id-only "$here/examples/hello-process.yaml")
tarpon job get "$job" --output-dir "$folder"

echo
echo "What the task wrote to stdout:"
sed 's/^/  /' "$folder/stdout"
echo "What it wrote to /outputs/made-by.txt:"
sed 's/^/  /' "$folder/outputs/made-by.txt"
echo "The compute node put it, without any S3 credentials, into this object of the bucket, from where it was fetched:"
tarpon job describe "$job" | sed -n 's/.*\(s3:.*\)/  \1/p'

if [ -n "${KEEP:-}" ]; then
    [ ! -t 1 ] || page "$job"
    echo
    echo "All goes on until Ctrl-C. Enter makes another address of the page."
    while read -r _; do page "$job"; done
    sleep infinity
elif [ -t 1 ]; then
    echo
    echo "With \`make demo KEEP=1\` all goes on until Ctrl-C, and the page in a browser shows it."
fi
