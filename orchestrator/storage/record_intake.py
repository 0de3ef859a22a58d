"""The intake of records into the model, one at a time: one that cannot be taken in harms no other.

A record that is no such thing, or of a kind that this program does not know, is left alone. One that can be read and
fails all the same is a fault of this program: it is told in the log, in a metric and in `/readyz`, until a later
revision of it is taken in.
"""

import logging

import msgspec

from orchestrator.rules.records import NEWEST_SCHEMA, Record, decode_record
from orchestrator.state.model import Model
from shared.errors import Unavailable

_log = logging.getLogger(__name__)

SHOWN = 3
MOST_FAILED = 4096


class RecordsNotTaken(Unavailable):
    def __init__(self, count: int, keys: list[str]) -> None:
        super().__init__(
            f"{count} stored records could not be taken in, so what they tell of is missing here: {', '.join(keys)}.",
            hint="This is a fault of Tarpon; the orchestrator's log tells how. All else goes on.",
        )


class RecordIntake:
    """`failures` counts what failed; `newer_key` is of a record that a newer program has written, if there is one."""

    def __init__(self, model: Model) -> None:
        self.failures = 0
        self.newer_key = ""
        self.writing: dict[str, tuple[bytes, Record]] = {}
        """What is on its way, by key: the feed often tells of it before the answer comes, and it need not be read."""
        self._model = model
        self._unread: set[str] = set()
        self._failed: dict[str, None] = {}

    def take(self, key: str, payload: bytes | None, revision: int) -> None:
        """`payload` is None where the record is gone."""
        try:
            if payload is None:
                self._model.forget(key, revision)
                self._settle(key)
            elif self._model.is_news(key, revision):  # what this orchestrator has written itself is known already
                self._learn(key, payload, revision)
        except Exception:  # noqa: BLE001  # one record must not keep the others from being known
            self.failures += 1
            self._leave_unread(key)
            if len(self._failed) < MOST_FAILED:
                self._failed[key] = None
            _log.exception("The stored record %s could not be taken in; what it tells of is missing here.", key)

    def _learn(self, key: str, payload: bytes, revision: int) -> None:
        written, own = self.writing.get(key, (b"", None))
        record = own if own is not None and payload == written else self._read(key, payload)
        if record is None:
            self._leave_unread(key)
            return
        self._take_in(key, record, revision)

    def _leave_unread(self, key: str) -> None:
        self._unread.add(key)
        self._model.distrust()

    @staticmethod
    def _read(key: str, payload: bytes) -> Record | None:
        try:
            return decode_record(key, payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            _log.error("The stored record %s cannot be read and is left alone: %s", key, error)
            return None

    def apply(self, key: str, record: Record, revision: int) -> None:
        if self._model.is_news(key, revision):
            self._take_in(key, record, revision)

    def _take_in(self, key: str, record: Record, revision: int) -> None:
        if record.schema > NEWEST_SCHEMA:
            self._heed_schema(key)
        self._model.take_in(key, record, revision)
        self._settle(key)

    def _settle(self, key: str) -> None:
        self._unread.discard(key)
        self._failed.pop(key, None)

    def _heed_schema(self, key: str) -> None:
        if not self.newer_key:
            self.newer_key = key
            self._model.distrust()
            _log.error("A newer version of Tarpon has written %s. This one answers, but decides nothing any more.", key)

    def is_unread(self, key: str) -> bool:
        """Whether something is stored under this key that is not in the model, and is left alone."""
        return key in self._unread

    @property
    def newer_schema(self) -> bool:
        """Whether a newer program has written something."""
        return bool(self.newer_key)

    def check(self) -> None:
        """Raise RecordsNotTaken while something that could be read is missing."""
        if self._failed:
            raise RecordsNotTaken(len(self._failed), list(self._failed)[:SHOWN])

    def __repr__(self) -> str:
        return f"<RecordIntake, {self.failures} failures>"
