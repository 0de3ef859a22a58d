"""The rotation of S3 credentials: which there are now, and until when.

Signing uses the snapshot that is at hand and waits for nothing, unless that snapshot is (nearly) dead. Renewal loads
the whole chain again in a thread.

Keys without an expiry, as in a credentials file, are read again only after `invalidate()`: whoever sees S3 refuse the
keys calls it, so that rotated keys are picked up at the latest after one refusal.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from orchestrator.s3.credentials.chain import Snapshot, load_snapshot
from shared.errors import CredentialsExpiring, CredentialsMissing, StorageUnavailable

logger = logging.getLogger(__name__)

SPACING_SECONDS = 1.0
"""The least time between two loads, so that a token service is never hammered."""
REFRESH_WINDOW_SECONDS = 900.0
"""Keys are renewed when this much life is left, or half of their life where that is less."""
SLOWEST_SECONDS = 60.0
"""The longest pause between two attempts inside the window."""
MISSING_SECONDS = 30.0
"""How often the chain is tried while it gives nothing."""


def refresh_due_seconds(snapshot: Snapshot | None, *, now: datetime, since_attempt: float) -> float | None:
    """In how many seconds the chain is to be asked again; None if only after `invalidate()`."""
    if snapshot is None:
        return max(0.0, MISSING_SECONDS - since_attempt)
    if snapshot.expires_at is None:
        return None
    remaining = snapshot.remaining_seconds(now)
    life = (snapshot.expires_at - snapshot.loaded_at).total_seconds()
    until_window = remaining - min(REFRESH_WINDOW_SECONDS, life / 2)
    pause = min(max(remaining / 10, SPACING_SECONDS), SLOWEST_SECONDS) if remaining > 0 else SLOWEST_SECONDS / 10
    return max(0.0, until_window, pause - since_attempt)


class CredentialSource:
    """The current snapshot, kept fresh by `run()`. At most one load at a time, and none within a second of the last."""

    def __init__(self, load: Callable[[], Snapshot] = load_snapshot) -> None:
        self._load = load
        self._snapshot: Snapshot | None = None
        self._is_stale = False
        self._problem: StorageUnavailable | None = None
        self._attempts = 0
        self._attempted_at = -math.inf
        self._loading: asyncio.Future[Snapshot] | None = None
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<CredentialSource {self._snapshot or 'empty'}>"

    @property
    def snapshot(self) -> Snapshot | None:
        return self._snapshot

    def invalidate(self) -> None:
        """S3 refused the keys: ask the chain again, before the next signature if a second has passed since the last."""
        self._is_stale = True
        self._changed.set()

    async def usable(self, *, least_seconds: float) -> Snapshot:
        """Keys that live for `least_seconds` more. Does not suspend where the present ones do.

        Raises CredentialsMissing, CredentialsExpiring or StorageUnavailable, after the chain was asked. When the caller
        is cancelled meanwhile, the load goes on to its end in its thread and serves the next caller.
        """
        if self._is_stale or not self._lives(least_seconds):
            try:
                await self._refresh(least_seconds)
            except StorageUnavailable:
                if not self._lives(least_seconds):
                    raise
        if self._snapshot is None:
            raise self._problem or CredentialsMissing("none were found.")
        if not self._lives(least_seconds):
            raise CredentialsExpiring(self._snapshot.remaining_seconds(datetime.now(UTC)))
        return self._snapshot

    async def run(self) -> None:
        """Renew in the background, for ever."""
        while True:
            self._changed.clear()
            due = self._due_seconds()
            if due == 0:
                with contextlib.suppress(StorageUnavailable):
                    await self._load_once()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due):
                    await self._changed.wait()

    def _due_seconds(self) -> float | None:
        since_attempt = time.monotonic() - self._attempted_at
        if self._is_stale:
            return max(0.0, (SPACING_SECONDS if self._problem is None else MISSING_SECONDS) - since_attempt)
        return refresh_due_seconds(self._snapshot, now=datetime.now(UTC), since_attempt=since_attempt)

    def _lives(self, least_seconds: float) -> bool:
        return self._snapshot is not None and self._snapshot.remaining_seconds(datetime.now(UTC)) >= least_seconds

    async def _refresh(self, least_seconds: float) -> None:
        seen = self._attempts
        pause = self._attempted_at + SPACING_SECONDS - time.monotonic()
        if self._loading is None and pause > 0:
            if self._lives(least_seconds):
                return
            await asyncio.sleep(pause)
        if self._loading is not None or self._attempts == seen:
            await self._load_once()

    async def _load_once(self) -> None:
        if self._loading is None:
            self._attempts += 1
            self._loading = asyncio.get_running_loop().run_in_executor(None, self._load)
            self._loading.add_done_callback(self._on_loaded)
        loading = self._loading
        if loading.done():
            self._on_loaded(loading)  # whoever comes now would go on before its callback
        await asyncio.shield(loading)

    def _on_loaded(self, loading: "asyncio.Future[Snapshot]") -> None:
        if self._loading is not loading:
            return
        self._loading = None
        self._attempted_at = time.monotonic()
        self._changed.set()
        error = loading.exception()
        if error is None:
            self._note(None)
            self._is_stale = False
            self._snapshot = loading.result()
        elif isinstance(error, StorageUnavailable):
            self._note(error)

    def _note(self, problem: StorageUnavailable | None) -> None:
        if problem is not None and self._problem is None:
            logger.warning("S3 credentials could not be loaded: %s", problem.message)
        elif problem is None and self._problem is not None:
            logger.info("S3 credentials are there again.")
        self._problem = problem
