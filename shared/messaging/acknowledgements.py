"""Acknowledgements of JetStream: what it answers to a message that is to be stored, and what refusals mean."""

import msgspec

from shared.errors import MessagingFull, MessagingUnavailable, RevisionConflict


class _Refusal(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Acknowledgement(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    error: _Refusal | None = None


_acknowledgements = msgspec.json.Decoder(_Acknowledgement)
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_CONFLICTS = frozenset({10071, 10164})
"""JetStream's error codes for a message whose expectation does not hold: a replicated stream has the second one too."""


_NO_ROOM = frozenset({10002, 10023, 10027, 10028, 10047, 10122})
"""JetStream's error codes for limits of the account, of the server, of streams, memory, storage, and of one stream."""


def refusal(what: str, code: int | None, description: str | None) -> MessagingUnavailable:
    """What it means that JetStream would not do something. `what` goes on from "NATS would not"."""
    why = f"NATS would not {what}: {description or 'it does not say why'} (JetStream error {code or 0})."
    return MessagingFull(f"NATS has no room. {why}") if code in _NO_ROOM else MessagingUnavailable(why)


def number_in_stream(subject: str, answer: bytes) -> int:
    """Of the message that was stored on `subject`. Raises RevisionConflict, MessagingUnavailable, MessagingFull."""
    try:
        acknowledgement = _acknowledgements.decode(answer)
    except msgspec.DecodeError:
        raise MessagingUnavailable(f"What answered on {subject} is not a stream.") from None
    refused = acknowledgement.error
    if refused is not None and refused.err_code in _CONFLICTS:
        raise RevisionConflict(subject)
    if refused is not None:
        raise refusal(f"store a message on {subject}", refused.err_code, refused.description)
    if not acknowledgement.stream:
        raise MessagingUnavailable(f"What answered on {subject} is not a stream.")
    return acknowledgement.seq
