"""Lives of keys: which keys a name of nodes has had, and when, by which old results stay verifiable. Pure functions.

They are kept beside the binding, which says whose the name is now: so they outlive it, and a program of an earlier
version, which writes bindings without what it does not know, leaves them alone. A life begins when an orchestrator
binds the name to the key, by its clock, and never earlier. One that has ended stays so: whoever joins again, with the
same key too, begins another.
"""

from msgspec.structs import replace

from orchestrator.rules.records import BindingRecord, KeyLife, NodeKeysRecord
from shared.ids import NodeId
from shared.protocol.rest_nodes import DELETED, KEY_REJECTED, REPLACED

MOST_LIVES = 32


def kept(node: NodeId, known: NodeKeysRecord | None, binding: BindingRecord | None, now: int) -> NodeKeysRecord | None:
    """What is to be known of the name's keys, where it is bound so, or is not; None where nothing is.

    `now`, in nanoseconds since 1970, is when it was found out, for what has no time of its own.
    """
    record = known or (NodeKeysRecord(node=node, lives=_earlier(binding)) if binding is not None else None)
    if record is None:
        return None
    last = record.last
    if binding is None:
        # One that had been rejected is forgiven: with a join token the key may begin another life.
        return _with_last(record, replace(last, until=last.until or now, ended=DELETED)) if last is not None else record
    if last is None or not _is_of(last, binding) or (last.ended and not binding.rejected):
        for each in _earlier(binding):  # one that does not know of records of keys has exchanged some since
            if last is not None and each.since > last.since:
                record = _followed(record, each)
        last = _begun(record.last, binding, now)
        record = _followed(record, last)
    if binding.rejected:
        ended = REPLACED if binding.rekey else KEY_REJECTED
        return _with_last(record, replace(last, until=last.until or binding.rejected, ended=ended))
    return record


def with_owner(record: NodeKeysRecord, owner: str, now: int) -> NodeKeysRecord:
    """The key goes on with another owner: what it signed before was another's."""
    last = record.last
    if last is None or last.ended or last.owner == owner:
        return record
    at = max(now, last.since)
    return _followed(record, replace(last, since=at, owner=owner), until=at)


def owned(binding: BindingRecord, record: NodeKeysRecord | None) -> BindingRecord:
    """The binding with its owner, which a program that knows of none may have dropped from it."""
    last = record.last if record is not None else None
    if last is None or not _is_of(last, binding) or last.owner == binding.owner:
        return binding
    return replace(binding, owner=last.owner)


def is_shut_out(record: NodeKeysRecord | None, public_key: str) -> bool:
    """Whether an operator has rejected this key, and nobody has approved or deleted it since."""
    lives = reversed(record.lives) if record is not None else iter(())
    return next((each.ended for each in lives if each.public_key == public_key), "") == KEY_REJECTED


def _is_of(life: KeyLife, binding: BindingRecord) -> bool:
    """Whether it is the life that the binding began: nobody has joined since, with the same key and token either."""
    is_same = (life.public_key, life.token) == (binding.public_key, binding.token)
    return is_same and life.ended != DELETED and binding.since <= life.since


def _begun(last: KeyLife | None, binding: BindingRecord, now: int) -> KeyLife:
    """After the last one, whatever the binding says, which may have been written by a program that knows no times."""
    since = binding.since
    if last is not None and since <= (last.until or last.since):
        since = max(since, binding.rejected or now)
    inherited = last.owner if last is not None and _is_of(last, binding) else ""
    return KeyLife(
        public_key=binding.public_key,
        since=since,
        token=binding.token,
        owner=binding.owner or inherited,
        namespaces=binding.namespaces,
    )


def _followed(record: NodeKeysRecord, life: KeyLife, *, until: int = 0) -> NodeKeysRecord:
    lives = record.lives
    if lives and not lives[-1].ended:
        lives = (*lives[:-1], replace(lives[-1], until=until or life.since, ended=REPLACED))
    lives = (*lives, life)
    forgotten = max([record.forgotten, *(each.until for each in lives[:-MOST_LIVES])])
    return replace(record, lives=lives[-MOST_LIVES:], forgotten=forgotten)


def _with_last(record: NodeKeysRecord, last: KeyLife) -> NodeKeysRecord:
    return replace(record, lives=(*record.lives[:-1], last))


def _earlier(binding: BindingRecord) -> tuple[KeyLife, ...]:
    """Of a binding that was written by a program that does not know of a record of lives."""
    return tuple(
        KeyLife(
            public_key=each.public_key,
            since=each.since,
            until=each.until,
            ended=REPLACED,
            namespaces=binding.namespaces,
        )
        for each in binding.earlier
    )
