"""What may be wrong with an engine from outside, in words for the operator of its node."""

from shared.errors import Conflict, Missing, TarponError

_MAX_WORDS = 300
_TURN_OFF = "Its package's log and documents may tell more. Engines.Disabled turns the engine off."


class EngineNotLoaded(Missing):
    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"The engine {name[:80]!r} from outside cannot be used: {why[:_MAX_WORDS].rstrip('.')}.", hint=_TURN_OFF
        )


class EngineProtocolUnknown(Missing):
    def __init__(self, name: str, theirs: object, ours: int) -> None:
        super().__init__(
            f"The engine {name[:80]!r} from outside is written for version {str(theirs)[:20]} of the protocol of"
            f" engines, and this node knows version {ours}.",
            hint="Install a release of its package that fits this release of Tarpon.",
        )


class EngineNameTaken(Conflict):
    def __init__(self, name: str, by: str) -> None:
        super().__init__(
            f"The engine {name[:80]!r} from outside cannot be used: {by}.",
            hint="Remove its package, or one of the two, from the node's Python environment.",
        )


class EngineMisbehaved(TarponError):
    """What an engine from outside did is nothing that an engine may do."""

    def __init__(self, what: str) -> None:
        super().__init__(f"An engine from outside misbehaved: {what[:_MAX_WORDS]}", hint=_TURN_OFF)


def told(error: TarponError) -> str:
    return f"{error.message} {error.hint} [{error.code}]"


def in_words(error: BaseException) -> str:
    """One that foreign code has raised."""
    if isinstance(error, TimeoutError) and not str(error):
        return "it took too long"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
