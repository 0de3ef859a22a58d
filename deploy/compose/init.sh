#!/bin/sh
# Makes ./secrets (or the folder that is named): all keys of the compose set, each for those alone that need it.
#
# It needs `tarpon` with the extra orchestrator. As root it gives the files to the images' user.
set -eu
folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir "$folder"
folder=$(cd "$folder" && pwd)
random() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

tarpon agent nats-config -c "DataDir=$folder/made" > "$folder/tarpon-accounts.conf"
mv "$folder"/made/orchestrator/secrets/* "$folder" && rm -r "$folder/made"
random 32 > "$folder/join.secret"

access=AK$(random 8) secret=$(random 20)
printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$access" "$secret" > "$folder/aws.credentials"
cat > "$folder/s3.json" << END
{"identities": [{"name": "orchestrator", "actions": ["Read:results", "Write:results"],
  "credentials": [{"accessKey": "$access", "secretKey": "$secret"}]}]}
END

random 24 > "$folder/operator.key"
random 24 > "$folder/prometheus.key"
cat > "$folder/users.yaml" << END
API:
  Auth:
    Users:
      - {Alias: operator, APIKey: $(cat "$folder/operator.key"), Capabilities: [{Actions: ["*"]}], Namespaces: ["*"]}
      - {Alias: prometheus, APIKey: $(cat "$folder/prometheus.key"), Capabilities: [{Actions: ["read:agent"]}]}
END
[ "$(id -u)" != 0 ] || chown -R 10001:10001 "$folder"
