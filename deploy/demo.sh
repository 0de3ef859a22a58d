#!/bin/sh
# Runs a job on the orchestrator that the environment names, fetches its result from S3 and shows it.
set -eu

here=$(dirname "$0")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

job=$(tarpon job run -v --id-only "$here/examples/hello-process.yaml")
tarpon job get "$job" --output-dir "$folder"

echo
echo "What the task wrote to stdout:"
sed 's/^/  /' "$folder/stdout"
echo "What it wrote to /outputs/made-by.txt:"
sed 's/^/  /' "$folder/outputs/made-by.txt"
echo "The compute node put it, without any S3 credentials, into this object of the bucket, from where it was fetched:"
tarpon job describe "$job" | sed -n 's/.*\(s3:.*\)/  \1/p'
