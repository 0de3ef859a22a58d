"""Secrets of an orchestrator: one file each, for its own user's eyes alone.

What is not given is made once and kept in the directory of secrets. Orchestrators that work together share the files:
those of the first are given to the others by path.
"""

import base64
import contextlib
import hmac
import logging
import os
import re
import secrets
import shlex
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import nkeys

from orchestrator.admission.result_signing import ResultSigner
from orchestrator.admission.tls.authority import SECRET_BYTES, Authority, new_secret, read_secret
from shared.errors import InvalidInput
from shared.protocol.subjects import api_request, integration_inbox
from shared.runtime import durable
from shared.runtime.tls.trust import authorities_as_pem, authorities_as_text
from shared.settings.secret import Secret

_log = logging.getLogger(__name__)

RANDOM_BYTES = 32
MAX_SECRET_BYTES = 4096
_VISIBLE = re.compile(r"[\x21-\x7e]+\Z")


class SecretInvalid(InvalidInput):
    """A secret that cannot be used: its file is absent, open to others, or holds something else."""


class SecretSources(msgspec.Struct, frozen=True, kw_only=True):
    """Where the secrets come from. A file that is named must exist; one that is not is in `directory`."""

    directory: Path
    issuer_seed_file: Path | None = None
    orchestrator_seed_file: Path | None = None
    integration_secret_file: Path | None = None
    join_secret_file: Path | None = None
    task_secrets_key_file: Path | None = None
    authority_file: Path | None = None
    join_secret: Secret = Secret()


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """The issuer signs who may do what on NATS; the two public keys are in the configuration of its servers.

    `task_secrets_key` is what secrets of tasks are stored under. There is a `join_secret`, which lets any node in for
    ever, only where it is set, or is left of an earlier version.
    """

    issuer_seed: Secret
    orchestrator_seed: Secret
    join_secret: Secret
    integration_secret: Secret
    task_secrets_key: Secret
    authority_secret: Secret = Secret()

    @property
    def authority(self) -> Authority:
        """That of certificates. Raises AuthorityInvalid."""
        return read_secret(self.authority_secret)

    @property
    def system_seed(self) -> Secret:
        """Of the user that looks for connections and ends them: computed, so that nothing more has to be kept.

        It gives nothing that the issuer's seed does not give, whose owner can let anybody in anywhere.
        """
        made = hmac.digest(self.issuer_seed.reveal().encode(), b"tarpon system user", "sha256")
        return Secret(str(nkeys.encode_seed(made, nkeys.PREFIX_BYTE_USER), "ascii"))

    @property
    def result_signer(self) -> ResultSigner:
        """Of the records of results, by a key that is computed as that is."""
        made = hmac.digest(self.issuer_seed.reveal().encode(), b"tarpon result records", "sha256")
        return ResultSigner(Secret(str(nkeys.encode_seed(made, nkeys.PREFIX_BYTE_USER), "ascii")))

    @property
    def session_key(self) -> Secret:
        """Of the sessions of the page, computed as those are: any orchestrator of a set knows them."""
        return Secret(hmac.digest(self.issuer_seed.reveal().encode(), b"tarpon sessions", "sha256").hex())

    @property
    def system_public_key(self) -> str:
        return _public_key(self.system_seed)

    @property
    def issuer_public_key(self) -> str:
        return _public_key(self.issuer_seed)

    @property
    def orchestrator_public_key(self) -> str:
        return _public_key(self.orchestrator_seed)


def load_secrets(sources: SecretSources) -> Secrets:
    """Read what there is and make what is missing. Raises SecretInvalid, which never shows a secret."""
    durable.make_folder(sources.directory)
    return Secrets(
        issuer_seed=_seed(sources, sources.issuer_seed_file, "issuer.nkey", nkeys.PREFIX_BYTE_ACCOUNT),
        orchestrator_seed=_seed(sources, sources.orchestrator_seed_file, "orchestrator.nkey", nkeys.PREFIX_BYTE_USER),
        join_secret=_join_secret(sources),
        integration_secret=_load(sources, sources.integration_secret_file, "integration.secret", _new_secret),
        task_secrets_key=_load(sources, sources.task_secrets_key_file, "task-secrets.key", _new_secret),
        authority_secret=_load(sources, sources.authority_file, "authority.secret", _new_authority),
    )


def integration_password(secret: Secret, principal: str) -> Secret:
    """The password of one integration: it follows from the secret, so that none has to be stored."""
    digest = hmac.digest(secret.reveal().encode(), b"integration\0" + principal.encode(), "sha256")
    return Secret(base64.urlsafe_b64encode(digest).decode().rstrip("="))


def integration_lines(secret: Secret, principal: str, servers: Sequence[str], authorities: Sequence[bytes] = ()) -> str:
    """What connects a program as this integration, as shell variables that its environment can take.

    `authorities` are the certificates, as DER, of those who vouch for the servers, where that is nobody public.
    """
    values = {
        "NATS_URL": ",".join(servers),
        "NATS_USER": principal,
        "NATS_PASSWORD": integration_password(secret, principal).reveal(),
        "NATS_INBOX_PREFIX": integration_inbox(principal),
        "TARPON_API_SUBJECT": api_request(principal, ""),
    }
    if authorities:
        values["TARPON_AUTHORITY"] = authorities_as_pem(authorities).rstrip()
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())


def join_line(join_secret: Secret, servers: Sequence[str], authorities: Sequence[bytes] = ()) -> str:
    """The line that starts a node, without a secret one that has joined before.

    The secret is in the environment, since every user sees command lines.
    """
    addresses = f"Compute.Orchestrators={','.join(servers)}"
    trusts = f" -c Compute.TLS.Authority={authorities_as_text(authorities)}" if authorities else ""
    variable = f"TARPON_COMPUTE_AUTH_TOKEN={shlex.quote(join_secret.reveal())} " if join_secret else ""
    return f"{variable}tarpon serve --compute -c {shlex.quote(addresses)}{trusts}"


def left_join_secret(sources: SecretSources) -> Path | None:
    """The file of a join secret that an earlier version has made, where no setting gives one."""
    path = sources.directory / "join.secret"
    is_set = bool(sources.join_secret) or sources.join_secret_file is not None
    return path if not is_set and path.exists() else None


def _join_secret(sources: SecretSources) -> Secret:
    """None is made: nodes join with tokens."""
    if not sources.join_secret:
        file = sources.join_secret_file or left_join_secret(sources)
        return Secret(read_secret_file(file)) if file else Secret()
    if sources.join_secret_file is not None:
        raise SecretInvalid(
            "The join secret is given twice, as a text and as a file.",
            hint="Set one of Orchestrator.Auth.Token and Orchestrator.Auth.TokenFile.",
        )
    _check_visible(sources.join_secret.reveal(), "Orchestrator.Auth.Token")
    return sources.join_secret


def _seed(sources: SecretSources, given: Path | None, name: str, kind: int) -> Secret:
    def make() -> str:
        return str(nkeys.encode_seed(os.urandom(RANDOM_BYTES), kind), "ascii")

    seed = _load(sources, given, name, make)
    if not _is_seed(seed.reveal(), kind):
        raise SecretInvalid(
            f"{given or sources.directory / name} does not hold an nkey seed of the kind that is needed.",
            hint="An account's seed begins with SA, a user's with SU. Without the setting, Tarpon makes one.",
        )
    return seed


def _is_seed(text: str, kind: int) -> bool:
    try:
        found, raw = nkeys.decode_seed(bytearray(text, "ascii"))
        return bool(found == kind and nkeys.encode_seed(bytes(raw), kind) == text.encode())
    except (nkeys.NkeysError, ValueError):
        return False


def _new_secret() -> str:
    return secrets.token_urlsafe(RANDOM_BYTES)


def _new_authority() -> str:
    return new_secret(os.urandom(SECRET_BYTES), now=time.time())


def _load(sources: SecretSources, given: Path | None, name: str, make: Callable[[], str]) -> Secret:
    if given is not None:
        return Secret(read_secret_file(given))
    path = sources.directory / name
    if not path.exists():
        create_secret(path, make())
    return Secret(read_secret_file(path))


def create_secret(path: Path, text: str) -> None:
    """Make the file whole or not at all, and for good; where another process was first, its file stays."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
            _log.info("Made %s.", path)
    finally:
        draft.unlink()
    durable.sync_folder(path.parent)


def read_secret_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(MAX_SECRET_BYTES)
    except OSError as error:
        raise SecretInvalid(
            f"The secret in {path} cannot be read: {error.strerror}.",
            hint="A file that a setting names must exist; without the setting, Tarpon makes one.",
        ) from error
    if _is_open(status):
        raise SecretInvalid(
            f"The secret in {path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}).",
            hint=f"chmod 600 {shlex.quote(str(path))}",
        )
    text = content.decode("latin-1").strip()
    _check_visible(text, str(path))
    return text


def _is_open(status: os.stat_result) -> bool:
    """Whether others may use it. A file of root's, lent to our group alone, is how systemd and Kubernetes give it."""
    is_lent = status.st_uid == 0 != os.geteuid()
    return bool(status.st_mode & (0o037 if is_lent else 0o077))


def _check_visible(text: str, where: str) -> None:
    if not _VISIBLE.match(text):
        raise SecretInvalid(
            f"{where} is not a secret: it is empty, or has other characters than visible ASCII ones.",
            hint="Without the setting, Tarpon makes a good one.",
        )


def _public_key(seed: Secret) -> str:
    return str(nkeys.from_seed(bytearray(seed.reveal(), "ascii")).public_key, "ascii")
