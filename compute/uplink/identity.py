"""The identity of this node: its id, and the key that proves it."""

import os
import re
import socket
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import nkeys

from shared.errors import Damaged
from shared.ids import NodeId, is_safe_id, node_id
from shared.runtime import durable

NODE_FILE = "node.json"
SEED_FILE = "node.nkey"
MAX_HOST = 50
"""So much of a host's name is in the name of its node."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_NO_NAMES = frozenset({"", "localhost"})


@dataclass(frozen=True)
class Identity:
    node_id: NodeId
    nkey_seed: str = field(repr=False)

    @property
    def public_key(self) -> str:
        return str(nkeys.from_seed(bytearray(self.nkey_seed, "ascii")).public_key, "ascii")


class _StoredNode(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    schema: int = 1


def load_identity(folder: Path, name_provider: str) -> Identity:
    """The identity kept in `folder`, made at the first call. Blocks.

    Raises InvalidId if the name cannot be an id, Damaged if a file in `folder` cannot be read as what it should be.
    """
    durable.make_folder(folder)
    return Identity(node_id(_name(folder, name_provider)), _seed(folder / SEED_FILE))


def _name(folder: Path, name_provider: str) -> str:
    match name_provider.lower():
        case "host":
            return _kept_name(folder / NODE_FILE, _new_name(socket.gethostname()))
        case "puuid":
            return _kept_name(folder / NODE_FILE, f"n-{uuid.uuid4()}")
        case "uuid":
            return f"n-{uuid.uuid4()}"
        case "hostname":
            # A fully qualified name has dots, which would add tokens to a subject.
            return socket.gethostname().replace(".", "-")
        case _:
            return name_provider


def _new_name(host: str) -> str:
    """After the host, and still another one than that of any node on it, or on a host of the same name."""
    beginning = _UNSAFE.sub("-", host.partition(".")[0])[:MAX_HOST].strip("-")
    return f"n-{uuid.uuid4()}" if beginning in _NO_NAMES else f"{beginning}-{os.urandom(4).hex()}"


def _kept_name(path: Path, new: str) -> str:
    """The name that was given to this node first, whatever it would be called today; `new` if it has none."""
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_StoredNode)
    except FileNotFoundError:
        stored = _StoredNode(id=new)
        durable.write(path, msgspec.json.encode(stored))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(
            f"{path} does not hold a node's id: {error}.", hint="Remove the file to give the node a new id."
        ) from None
    if not is_safe_id(stored.id):
        raise Damaged(f"{path} does not hold a node's id.", hint="Remove the file to give the node a new id.")
    return stored.id


def _seed(path: Path) -> str:
    try:
        seed = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode("ascii")
        durable.write(path, f"{seed}\n".encode("ascii"))
    except UnicodeDecodeError:
        seed = ""
    if not _is_user_seed(seed):
        raise Damaged(
            f"{path} does not hold the node's key.",
            hint="Restore it from a backup, or remove it and give the node another name: its id belongs to that key.",
        )
    return seed


def _is_user_seed(seed: str) -> bool:
    try:
        prefix, _ = nkeys.decode_seed(seed.encode("ascii"))
    except (nkeys.NkeysError, ValueError):
        return False
    return bool(prefix == nkeys.PREFIX_BYTE_USER)
