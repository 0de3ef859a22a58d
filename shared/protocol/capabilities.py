"""Capabilities: what somebody may do at the API, in the words of the reference."""

from collections.abc import Iterable

from shared.data.decoding import advised
from shared.errors import InvalidInput

READ_JOB, WRITE_JOB = "read:job", "write:job"
READ_NODE, WRITE_NODE = "read:node", "write:node"
READ_AGENT, WRITE_AGENT = "read:agent", "write:agent"
READ_DATA, WRITE_DATA = "read:data", "write:data"
EVERYTHING = "*"
OPEN = ""
"""What takes no capability, and no key either."""
ANY_KEY = "any"
"""What takes a key, whatever that may do."""

CAPABILITIES = (
    *(READ_JOB, WRITE_JOB, READ_NODE, WRITE_NODE, READ_AGENT, WRITE_AGENT),
    *(READ_DATA, WRITE_DATA),
    *("read:*", "write:*", EVERYTHING),
)


class CapabilityUnknown(InvalidInput):
    def __init__(self, word: str) -> None:
        known = ", ".join(CAPABILITIES)
        super().__init__(
            f"{word[:80]!r} is not a capability.",
            hint=f"{advised(word, CAPABILITIES, 'Capabilities are these:')} {known}.",
        )


def checked_capabilities(words: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order of the list. Raises CapabilityUnknown, and InvalidInput where there is none."""
    given = {word.strip().lower() for word in words}
    if unknown := given - set(CAPABILITIES):
        raise CapabilityUnknown(min(unknown))
    if not given:
        raise InvalidInput("No capability is given.", hint=f"Name what the user may do: {', '.join(CAPABILITIES)}.")
    return tuple(word for word in CAPABILITIES if word in given)
