"""Sign-ins that are kept: tokens in one file of this user's, each for the addresses and the authority it was made for.

A token is shown to nobody else: neither at another address, nor to who has that address and another certificate.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from shared.errors import Refused
from shared.runtime import durable
from shared.runtime.tls.trust import authorities_in
from tarpon.http.trust import ClientTrust

FILE = "sign-ins.json"
MOST_KEPT = 100
MOST_BYTES = 4 << 20
_OTHERS = 0o077


class SignInsOpenToOthers(Refused):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} holds tokens, and others can read or write it.",
            hint="Whoever has read it can be you: sign out at the issuer, remove the file, and sign in again.",
        )


class SignInsUnreadable(Refused):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"What is kept of sign-ins in {path} cannot be used: {why}.",
            hint="Name a DataDir of your own (TARPON_DIR), or remove the file, and sign in again.",
        )


class KeptSignIn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`expires` is in seconds since 1970, by this machine's clock. What refreshes goes to `token_endpoint` alone."""

    addresses: tuple[str, ...]
    authority: str
    issuer: str
    client_id: str
    audience: str
    token_endpoint: str
    token: str
    expires: float
    refresh_token: str = ""
    provider: str = ""
    ca_file: str = ""

    def is_for(self, urls: Sequence[str], authority: str) -> bool:
        return set(map(str.lower, urls)) <= set(self.addresses) and self.authority == authority

    def is_like(self, other: "KeptSignIn") -> bool:
        """Whether its token may be shown, and refreshed, wherever that of the other one may."""
        return (self.addresses, self.authority, self.issuer, self.client_id) == (
            other.addresses,
            other.authority,
            other.issuer,
            other.client_id,
        )

    def __repr__(self) -> str:
        return f"<KeptSignIn at {self.issuer}>"


class _File(msgspec.Struct, frozen=True, kw_only=True):
    sign_ins: tuple[KeptSignIn, ...] = ()
    schema: int = 1


def authority_of(trust: ClientTrust) -> str:
    """What stands for those whose certificates are taken; empty is whom this machine trusts. Blocks.

    Raises AuthorityUnreadable.
    """
    known = trust.authority or (authorities_in(trust.ca_file) if trust.ca_file else ())
    return hashlib.sha256(b"".join(sorted(known))).hexdigest() if known else ""


class KeptSignIns:
    """All methods block."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FILE

    def __repr__(self) -> str:
        return f"<KeptSignIns in {self.path}>"

    def find(self, urls: Sequence[str], authority: Callable[[], str]) -> KeptSignIn | None:
        """The one for all of these; `authority` is asked where there is any.

        Raises SignInsOpenToOthers, SignInsUnreadable.
        """
        kept = self._read()
        known = authority() if kept else ""
        return next((each for each in kept if each.is_for(urls, known)), None)

    def put(self, made: KeptSignIn) -> None:
        """In the place of those for any of its addresses, with the oldest ones gone where there are too many."""
        with self._alone():
            others = [each for each in self._read() if not set(each.addresses) & set(made.addresses)]
            self._write((made, *others[: MOST_KEPT - 1]))

    def replace(self, before: KeptSignIn, refresh: Callable[[], KeptSignIn]) -> KeptSignIn:
        """What `refresh` gives, or what somebody else has stored meanwhile: a refresh token counts once."""
        with self._alone():
            kept = self._read()
            now = next((each for each in kept if each.is_like(before)), None)
            if now is not None and now.token != before.token:
                return now
            made = refresh()
            self._write(tuple(made if each is now else each for each in kept))
            return made

    def drop(self, urls: Sequence[str]) -> KeptSignIn | None:
        """The one that was for any of these, and is forgotten."""
        with self._alone():
            kept = self._read()
            gone = next((each for each in kept if set(map(str.lower, urls)) & set(each.addresses)), None)
            if gone is not None:
                self._write(tuple(each for each in kept if each is not gone))
            return gone

    def _read(self) -> tuple[KeptSignIn, ...]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (
            FileNotFoundError,
            NotADirectoryError,
            PermissionError,
        ):  # who may not look in there has put nothing there
            return ()
        except OSError as error:
            raise SignInsUnreadable(self.path, str(error.strerror)) from None
        with os.fdopen(descriptor, "rb") as file:
            if os.fstat(descriptor).st_mode & _OTHERS:
                raise SignInsOpenToOthers(self.path)
            content = file.read(MOST_BYTES)
        try:
            return msgspec.json.decode(content, type=_File).sign_ins
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise SignInsUnreadable(self.path, "it is damaged, or of another version") from None

    def _write(self, kept: tuple[KeptSignIn, ...]) -> None:
        try:
            durable.write(self.path, msgspec.json.encode(_File(sign_ins=kept)))
        except OSError as error:
            raise SignInsUnreadable(self.path, str(error.strerror)) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process changes the file."""
        try:
            durable.make_folder(self.path.parent)
            lock = self.path.with_suffix(".lock").open("w")
        except OSError as error:
            raise SignInsUnreadable(self.path, str(error.strerror)) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
