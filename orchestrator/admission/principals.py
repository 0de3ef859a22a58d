"""Principals: who asks, what they may do, and in which namespaces. Nothing here asks anybody.

The words for what somebody may do are those of the reference.
"""

import msgspec

from orchestrator.audit.events import ActorKind
from shared.errors import Forbidden
from shared.jobs.namespaces import ALL_NAMESPACES, DEFAULT_NAMESPACE
from shared.protocol.capabilities import ANY_KEY, EVERYTHING, OPEN

ANYWHERE = frozenset({ALL_NAMESPACES})


class CapabilityMissing(Forbidden):
    """The message begins as that of the reference, for which programs look."""

    def __init__(self, name: str, capability: str) -> None:
        told = f"it takes {capability!r}, and {name!r} does not have that capability"
        super().__init__(
            f"Request Forbidden: {told}.",
            hint="`tarpon user create --capability ...` makes a key that has it, for who may make users.",
        )


class NamespaceForbidden(Forbidden):
    """It is said of a namespace whether there is anything in it or not."""

    def __init__(self, name: str, namespace: str) -> None:
        super().__init__(
            f"Request Forbidden: {name!r} may do nothing in the namespace {namespace[:80]!r}.",
            hint="Name a namespace for which the key was made.",
        )


class NotForAllNamespaces(Forbidden):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"Request Forbidden: it is about all namespaces, and {name!r} is limited to some.",
            hint="Use a key that was made without --namespace.",
        )


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """`key_id` names the key by which somebody was known; it is empty for whoever needs none.

    `name` is one's own for good, and `shown` what people call that one, if that is not the name itself.
    """

    name: str
    shown: str = ""
    capabilities: frozenset[str]
    kind: ActorKind = "key"
    """As the audit log tells it."""
    namespaces: frozenset[str] = ANYWHERE
    key_id: str = ""
    expires: int = 0
    """When the key ends, or what else somebody was known by, in nanoseconds since 1970; 0 is never."""

    @property
    def told(self) -> str:
        """For that one's own eyes."""
        return self.shown or self.name

    def may(self, action: str) -> bool:
        """Whether `action`, such as `read:job`, is among what it may do."""
        kind = action.partition(":")[0]
        return action in {OPEN, ANY_KEY} or not self.capabilities.isdisjoint((EVERYTHING, action, f"{kind}:*"))

    def sees(self, namespace: str) -> bool:
        return self.sees_all or namespace in self.namespaces

    @property
    def sees_all(self) -> bool:
        return ALL_NAMESPACES in self.namespaces

    def meant(self, namespace: str) -> str:
        """The namespace that is meant by one that is named, or by none: the only one that it sees, or the default."""
        if namespace:
            return namespace
        return next(iter(self.namespaces)) if len(self.namespaces) == 1 and not self.sees_all else DEFAULT_NAMESPACE

    def among(self, namespace: str) -> frozenset[str] | None:
        """Which namespaces are looked at where this one is asked for, or all by `*`; None is every one there is."""
        asked = self.meant(namespace)
        if asked == ALL_NAMESPACES:
            return None if self.sees_all else self.namespaces
        return frozenset({asked}) if self.sees(asked) else frozenset()

    def check(self, action: str, *, everywhere: bool = False) -> None:
        """Raise CapabilityMissing, or NotForAllNamespaces where it takes somebody who sees everything."""
        if not self.may(action):
            raise CapabilityMissing(self.told, action)
        if everywhere and not self.sees_all:
            raise NotForAllNamespaces(self.told)

    def check_namespace(self, namespace: str) -> None:
        if not self.sees(namespace):
            raise NamespaceForbidden(self.told, namespace)


ALL_CAPABILITIES = frozenset({EVERYTHING})
OPERATOR = Principal(name="operator", kind="operator", capabilities=ALL_CAPABILITIES)
"""Whoever comes over the Unix socket: the user that the orchestrator runs as, or root."""
ANONYMOUS = Principal(name="anonymous", kind="anonymous", capabilities=ALL_CAPABILITIES)
"""Whoever comes at all, where API.Auth.Anonymous lets in who shows no key."""
