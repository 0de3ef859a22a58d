#!/usr/bin/env bash
# Ceph's gateway deletes an empty bucket that is asked to delete its encryption.
#
# Guess beforehand: DELETE /bucket?encryption is refused, as this gateway has no encryption by default.
# Seen (Ceph 16.2.15 of Debian 12, botocore 1.40.61): it deletes the bucket where that is empty (204, and the bucket is
#   gone), and says BucketNotEmpty where it is not.
# Why it matters: `aws s3api delete-bucket-encryption` on a bucket that is not used yet removes it, and jobs find no bucket.
# Source: Amazon S3 API reference, DeleteBucketEncryption. Bucket encryption is in Ceph from 17 on.
#
# Needs root and the packages of Debian: apt-get install --no-install-recommends radosgw ceph-mon ceph-mgr ceph-osd
set -euo pipefail
for program in radosgw radosgw-admin ceph ceph-mon ceph-mgr ceph-osd monmaptool; do
    command -v "$program" > /dev/null || { echo "$program is not here; see the packages above"; exit 2; }
done
folder=$(mktemp -d)
started=()
end() { exec 2> /dev/null; kill -9 "${started[@]}" || true; wait || true; rm -rf "$folder"; }
trap end EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check boto3==1.40.61
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
monitor=$(free) gateway=$(free) fsid=7c0ed47c-8c0f-4c5e-9c3e-2f4d0e8c6b11
cat > "$folder/ceph.conf" <<CONF
[global]
fsid = $fsid
mon_host = [v2:127.0.0.1:$monitor]
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
mon_max_pg_per_osd = 1000
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 1073741824
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
run_dir = $folder
log_file = $folder/\$name.log
admin_socket = $folder/\$name.asok
pid_file = $folder/\$name.pid
crash_dir = $folder
mon_data = $folder/mon
mgr_data = $folder/mgr
osd_data = $folder/osd
rgw_data = $folder/rgw
mgr_initial_modules =
[client.rgw]
ms_mon_client_mode = crc
rgw_frontends = beast endpoint=127.0.0.1:$gateway
CONF
export CEPH_CONF="$folder/ceph.conf"
mkdir "$folder/mon" "$folder/osd"
touch "$folder/keyring"
run() { "$@" -f > /dev/null 2>&1 & started+=("$!"); }
monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$monitor]" "$folder/monmap" > /dev/null
ceph-mon --mkfs -i a --monmap "$folder/monmap" --keyring "$folder/keyring"
run ceph-mon -i a
timeout 30 ceph status > /dev/null
run ceph-mgr -i x
osd=$(cat /proc/sys/kernel/random/uuid)
timeout 30 ceph osd new "$osd" > /dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$osd" > /dev/null 2>&1
run ceph-osd -i 0
until timeout 30 ceph osd stat | grep -q "1 up"; do sleep 0.5; done
run radosgw -n client.rgw
timeout 60 radosgw-admin user create --uid=try --display-name=try --access-key=AKTRY --secret-key=secret --key-type=s3 > /dev/null
cat > "$folder/try.py" <<'PYTHON'
import sys, time
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", region_name="us-east-1",
                  aws_access_key_id="AKTRY", aws_secret_access_key="secret",
                  config=Config(signature_version="s3v4", retries={"max_attempts": 1},
                                request_checksum_calculation="when_required"))

def tried(call, **arguments):
    try:
        return getattr(s3, call)(**arguments)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        return error.response["Error"]["Code"]

for _ in range(150):
    try:
        s3.create_bucket(Bucket="ready")
        break
    except Exception:
        time.sleep(0.2)
found = {}
s3.create_bucket(Bucket="full")
s3.put_object(Bucket="full", Key="k", Body=b"x")
s3.create_bucket(Bucket="empty")
found["delete-bucket-encryption, of an empty one"] = tried("delete_bucket_encryption", Bucket="empty")
found["the bucket afterwards"] = "there" if "empty" in [b["Name"] for b in s3.list_buckets()["Buckets"]] else "gone"
found["delete-bucket-encryption, of another"] = tried("delete_bucket_encryption", Bucket="full")
for name, seen in found.items():
    print(f"{name}: {seen}")
if list(found.values()) != [204, "gone", "BucketNotEmpty"]:
    raise SystemExit("CHANGED: this is not what was seen with 16.2.15")
PYTHON
timeout 90 "$folder/venv/bin/python" "$folder/try.py" "$gateway"
echo "as written above"
