"""Join tokens as operators handle them: made, listed, revoked. What they do at a join is in orchestrator/admission."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from orchestrator.rules.joining.join_tokens import is_expired, is_usable, is_used_up
from orchestrator.rules.records import TokenRecord
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import instant, now_ns
from shared.errors import Conflict, InvalidInput, NotFound
from shared.jobs.namespaces import ALL_NAMESPACES, checked_namespaces
from shared.protocol import rest_tokens
from shared.protocol.pasted import JoinToken, new_secret
from shared.protocol.rest_tokens import CreateTokenRequest, TokenView
from shared.runtime.automatic_labels import overridden

_log = logging.getLogger(__name__)

MOST_TOKENS = 10_000
MOST_NAMESPACES = 64
MOST_LABELS = 64
MAX_LABEL_CHARACTERS = 256
_OWNER = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_OWNER_TOLD = "at most 64 lower-case letters, digits and . _ @ -, and begins with a letter or digit"
KEPT_NS = 7 * 24 * 3600 * 10**9
"""So long it is told what became of a token that lets nobody in any more."""
REMOVED_AT_ONCE = 16


class JoinTokenInvalid(InvalidInput):
    """What a token should allow makes no sense."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            f"There can be no such join token: {'; '.join(problems)}.",
            hint="`tarpon node token create --help` tells what one can have.",
        )


class JoinTokenNotFound(NotFound):
    def __init__(self, token: str) -> None:
        super().__init__(f"There is no join token {token[:64]!r}.", hint="`tarpon node token list` shows them.")


class TooManyJoinTokens(Conflict):
    def __init__(self) -> None:
        super().__init__(
            f"There are {MOST_TOKENS:,} join tokens already.",
            hint="Revoke what is not needed any more: `tarpon node token list` and `tarpon node token revoke`. What has"
            " ended goes by itself after a week.",
        )


class JoinTokens:
    """`addresses` are those at which nodes find NATS, `authority` the certificates by which they know it."""

    def __init__(
        self, model: Model, store: Store, *, addresses: tuple[str, ...], authority: tuple[bytes, ...] = ()
    ) -> None:
        self._model = model
        self._store = store
        self._addresses = addresses
        self._authority = authority

    async def create(self, wanted: CreateTokenRequest, *, rekeys: str = "") -> tuple[TokenRecord, JoinToken]:
        """The record, and what is shown once.

        Raises JoinTokenInvalid, NamespaceInvalid, TooManyJoinTokens, MessagingUnavailable.
        """
        namespaces = tuple(each for each in checked_namespaces(wanted.namespaces) if each != ALL_NAMESPACES)
        if problems := list(_problems(wanted)):
            raise JoinTokenInvalid(problems)
        now = now_ns()
        await self._clear_away(now)
        if len(self._model.tokens) >= MOST_TOKENS:
            raise TooManyJoinTokens
        token, secret = new_secret()
        text = JoinToken(id=token, secret=secret, authority=self._authority, addresses=self._addresses)
        record = TokenRecord(
            id=token,
            digest=text.digest,
            create_time=now,
            expires=now + wanted.expires_seconds * 10**9 if wanted.expires_seconds else 0,
            uses=wanted.uses,
            labels=wanted.labels,
            namespaces=namespaces,
            approval=wanted.approval,
            node=rekeys,
            owner=wanted.owner,
        )
        await self._store.create(record.key, record)
        _log.info("Join token %s is made.", token)
        return record, text

    async def revoke(self, token: str) -> TokenRecord:
        """Let nobody in with it any more; who has joined stays. Raises JoinTokenNotFound, MessagingUnavailable."""

        async def attempt() -> TokenRecord:
            known = self._model.tokens.get(token)
            if known is None:
                raise JoinTokenNotFound(token)
            if known.revoked:
                return known
            after = replace(known, revoked=now_ns())
            await self._store.update(after.key, after)
            _log.info("Join token %s is revoked.", token)
            return after

        return await changes.insist(self._store, attempt)

    def is_usable(self, token: str) -> bool:
        """Whether it is known and lets somebody in."""
        known = self._model.tokens.get(token)
        return known is not None and is_usable(known, now_ns())

    def views(self) -> tuple[TokenView, ...]:
        """The newest first."""
        nodes: dict[str, list[str]] = {}
        for node, binding in self._model.bindings.items():
            if binding.token:
                nodes.setdefault(binding.token, []).append(node)
        tokens = sorted(self._model.tokens.values(), key=lambda each: each.create_time, reverse=True)
        now = now_ns()
        return tuple(view(each, nodes.get(each.id, ()), now) for each in tokens)

    async def _clear_away(self, now: int) -> None:
        """What ended a while ago, a little each time that one is made."""
        over = [
            each for each in self._model.tokens.values() if not is_usable(each, now) and _ended(each) + KEPT_NS < now
        ]
        for each in over[:REMOVED_AT_ONCE]:
            await changes.delete(self._store, each.key)

    def __repr__(self) -> str:
        return f"<JoinTokens, {len(self._model.tokens)} known>"


def view(token: TokenRecord, nodes: Sequence[str], now: int) -> TokenView:
    return TokenView(
        id=token.id,
        state=_state(token, now),
        uses=token.uses,
        used=token.used,
        create_time=instant(token.create_time),
        expires=instant(token.expires) if token.expires else None,
        revoked=instant(token.revoked) if token.revoked else None,
        labels=token.labels,
        namespaces=token.namespaces,
        approval=token.approval,
        owner=token.owner,
        rekeys=token.node,
        nodes=tuple(sorted(nodes)),
    )


def _state(token: TokenRecord, now: int) -> str:
    if token.revoked:
        return rest_tokens.REVOKED
    if is_used_up(token):
        return rest_tokens.USED_UP
    return rest_tokens.EXPIRED if is_expired(token, now) else rest_tokens.USABLE


def _ended(token: TokenRecord) -> int:
    """When that was, of one that lets nobody in any more; of one that was used up when it would have been at last."""
    return token.revoked or token.expires or token.create_time


def _problems(wanted: CreateTokenRequest) -> Iterator[str]:
    if len(wanted.namespaces) > MOST_NAMESPACES:
        yield f"it names {len(wanted.namespaces):,} namespaces, and {MOST_NAMESPACES} are possible"
    if problem := owner_problem(wanted.owner):
        yield problem
    yield from _label_problems(wanted.labels)


def owner_problem(owner: str) -> str:
    """Why there cannot be an owner of this name; empty where there can, or where it is nobody's."""
    can_be = not owner or _OWNER.fullmatch(owner)
    return "" if can_be else f"{owner[:80]!r} cannot be an owner, which has {_OWNER_TOLD}"


def _label_problems(labels: Mapping[str, str]) -> Iterator[str]:
    if len(labels) > MOST_LABELS:
        yield f"it has {len(labels):,} labels, and {MOST_LABELS} are possible"
    if "" in labels:
        yield "a label has no name"
    if any(len(each) > MAX_LABEL_CHARACTERS for pair in labels.items() for each in pair):
        yield f"names and values of labels have at most {MAX_LABEL_CHARACTERS} characters"
    if own := overridden(labels):
        yield f"every node has the label {own[0]} by itself"
