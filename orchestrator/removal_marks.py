"""How the removal of a record is told through the stream of records: by a mark in its place, which goes by itself.

Who follows the stream sees the mark. Who was away for longer than marks are sure to be there reads everything again and
forgets what is not stored any more; so marks need not be kept, and do not pile up.
"""

import json
import logging
from collections.abc import Mapping

import nats.errors
from nats.aio.client import Client

from shared.aio import heeding

_log = logging.getLogger(__name__)

MARK_SECONDS = 900
AWAY_SECONDS = 300.0
"""How old what was heard last may be for the stream to be followed from there on."""

REMOVED = {"KV-Operation": "DEL", "Nats-TTL": f"{MARK_SECONDS}s"}
"""The headers of a mark: those of a deletion in a key-value bucket (ADR-8 of NATS), and its life (ADR-43)."""
_OPERATION, _REASON = "KV-Operation", "Nats-Marker-Reason"
_REMOVALS = frozenset({"DEL", "PURGE"})


def is_removal(headers: Mapping[str, str] | None) -> bool:
    """Whether a message with these headers says that what was on its subject is gone, whoever removed it."""
    return headers is not None and (headers.get(_OPERATION) in _REMOVALS or _REASON in headers)


async def let_marks_expire(client: Client, stream: str, *, timeout: float) -> None:
    """See to it that the stream takes messages that go by themselves, also one that an earlier version has made.

    All else of its configuration, which may be its operator's, stays as it is.
    """
    try:
        answer = json.loads((await heeding(client.request(f"$JS.API.STREAM.INFO.{stream}", timeout=timeout))).data)
        config = answer["config"]
        if config.get("allow_msg_ttl"):
            return
        changed = json.dumps(config | {"allow_msg_ttl": True}).encode()
        subject = f"$JS.API.STREAM.UPDATE.{stream}"
        answer = json.loads((await heeding(client.request(subject, changed, timeout=timeout))).data)
    except (ValueError, KeyError) as error:
        raise nats.errors.Error(f"the configuration of {stream} cannot be read: {error!r}") from None
    if "error" in answer:
        told = "Ended jobs cannot be removed: %s takes no messages that expire, for which NATS 2.11 is needed: %s"
        _log.error(told, stream, answer["error"].get("description", ""))
