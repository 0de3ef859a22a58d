"""The client of nats-py as it is used here: mended where it would hang, and with a word about what it takes in."""

from collections.abc import Callable

from nats.aio.client import Client

Admits = Callable[[bytes, int], bool]
"""Whether a message on this subject, of so many bytes, is to be looked at; asked before it takes any place."""


class MendedClient(Client):
    """nats-py's client, mended: its closing gives up half-way where what is pending cannot be written any more.

    That is a RuntimeError of uvloop, or an OSError of a connection that was reset. What was pending then has nowhere
    to go; without this, neither would the news that the connection is closed.
    """

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """As nats-py's, at a fraction of its cost: every record that is followed has some."""
        if not raw.isascii():
            return Client._parse_header_lines(raw)  # noqa: SLF001  # it is ours where this class is used
        found: dict[str, str] = {}
        for line in raw.decode().split("\r\n"):
            name, colon, value = line.partition(":")
            name = name.strip()
            if colon and len(name.split()) <= 1:  # nothing blank within it
                found[name] = value.strip()
        return found

    async def _close(self, status: int, do_cbs: bool = True) -> None:  # noqa: FBT001, FBT002  # the library's own
        try:
            await super()._close(status, do_cbs)
        except (RuntimeError, OSError):
            self._pending: list[bytes] = []
            self._pending_data_size = 0
            self._status = Client.DISCONNECTED
            await super()._close(status, do_cbs)


class ChoosyClient(MendedClient):
    """What `admits` turns away is dropped before nats-py queues it.

    Its queue is one for all who send on a subscription, so that what came too fast from one of them would push out what
    comes from the others.
    """

    def __init__(self, admits: Admits) -> None:
        super().__init__()
        self._admits = admits

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if self._admits(subject, len(data)):
            await super()._process_msg(sid, subject, reply, data, headers)
