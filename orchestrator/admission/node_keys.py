"""Keys of nodes: an id belongs to whoever joined under it first, until somebody deletes the node.

A node that is bound comes back by its key alone, whatever became of the token with which it joined. The key of a node
that was rejected and then deleted stays shut out, also once another key has had the name, which is free for that.
"""

import asyncio
from weakref import WeakValueDictionary

from msgspec.structs import replace

from orchestrator.admission.claims import Claim, Right
from orchestrator.admission.key_records import keep_lives
from orchestrator.rules.joining import join_tokens
from orchestrator.rules.joining.join_tokens import JoinTokenUnknown, KeyShutOut, NodeNameTaken
from orchestrator.rules.joining.key_lives import is_shut_out
from orchestrator.rules.records import BindingRecord, TokenRecord
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.ids import NodeId
from shared.protocol import subjects
from shared.protocol.pasted import Credential


class StoredNodeKeys:
    """Bindings as create-only records, so that of two that join at once under one id one alone gets it.

    Uses of a token are counted by writes that name the revision that was read, so that none is used twice either.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._taking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def knows(self, node: NodeId, public_key: str, credential: Credential | None) -> bool:
        """Whether the id is this key's already, so that nothing else counts.

        A token that was made to exchange the node's key is used all the same, also where it brings the same key.
        """
        known = self._store.model.bindings.get(node)
        if known is None or known.public_key != public_key:
            return False
        return credential is None or known.rekey != credential.id

    def is_rejected(self, node: NodeId) -> bool:
        """Whether an operator has rejected the key to which the id is bound."""
        return node in self._store.model.rejected

    async def bind(self, claim: Claim) -> None:
        """Bind the id to the key, if it is free. Raises JoinRefused, MessagingUnavailable."""
        node, credential = claim.node, claim.credential
        if self.knows(node, claim.public_key, credential):
            return
        if claim.by is Right.KNOWN_KEY:  # the node was deleted a moment ago
            raise NodeNameTaken(node)
        if credential is None:
            await self._bind(node, BindingRecord(public_key=claim.public_key), rekey="")
            return
        self._token(credential)  # so that who shows one that nobody knows costs no look at what is stored
        if node not in self._store.model.bindings:  # another orchestrator may have bound it a moment ago
            await self._store.read(subjects.binding_record(node))
            if self.knows(node, claim.public_key, credential):
                return
        async with self._taking.setdefault(credential.id, asyncio.Lock()):
            token = await changes.insist(self._store, lambda: self._take(node, claim.public_key, credential))
        await self._bind(node, join_tokens.binding_by(token, claim.public_key), rekey=credential.id)

    def check(self, node: NodeId, public_key: str, credential: Credential) -> None:
        """Raise JoinRefused where `bind` would, as far as is known here, and JoinTokenUnknown for any other token."""
        token = self._token(credential)
        if not self.knows(node, public_key, credential):
            self._check_free(node, public_key, rekey=credential.id)
            join_tokens.check(token, node, public_key, now_ns())

    async def _take(self, node: NodeId, public_key: str, credential: Credential) -> TokenRecord:
        """Count a use of the token. Raises RevisionConflict where somebody else was quicker."""
        self.check(node, public_key, credential)
        token = self._token(credential)
        after = join_tokens.used(token, node, public_key, self._store.model.bindings)
        if after != token:
            await self._store.update(after.key, after)
        return after

    def _token(self, credential: Credential) -> TokenRecord:
        token = self._store.model.tokens.get(credential.id)
        if token is None or token.digest != credential.digest:
            raise JoinTokenUnknown(credential.id)
        return token

    def _check_free(self, node: NodeId, public_key: str, *, rekey: str) -> None:
        known = self._store.model.bindings.get(node)
        if known is not None and known.public_key == public_key:
            return
        if known is not None and not self._may_replace(node, known, rekey):
            raise NodeNameTaken(node)
        if is_shut_out(self._store.model.keys.get(node), public_key):
            raise KeyShutOut(node)

    def _may_replace(self, node: NodeId, known: BindingRecord, rekey: str) -> bool:
        """Whether another key may take the id: by the token that was made for that, or as nobody has it any more."""
        if known.rekey:
            return known.rekey == rekey
        return self.is_rejected(node) and node not in self._store.model.nodes

    async def _bind(self, node: NodeId, record: BindingRecord, *, rekey: str) -> None:
        if node in self._store.model.bindings:
            await keep_lives(self._store, node)  # of the key that goes, as nobody knows them afterwards
        self._check_free(node, record.public_key, rekey=rekey)
        key, known = subjects.binding_record(node), self._store.model.bindings.get(node)
        record = replace(record, since=now_ns())
        if known is None:
            is_new = await changes.once(self._store, key, self._store.create(key, record))
            if not is_new and node not in self._store.model.bindings:  # a node of that name was deleted
                await changes.once(self._store, key, self._store.create_again(key, record))
        elif self._may_replace(node, known, rekey):
            await changes.once(self._store, key, self._store.update(key, record))
        self._check_free(node, record.public_key, rekey="")
        await keep_lives(self._store, node)

    def __repr__(self) -> str:
        return f"<StoredNodeKeys of {len(self._store.model.bindings)} nodes>"
