"""Why a call has no value."""

import builtins
from typing import Any

from shared.errors import Damaged, InvalidInput, NotFound, TarponError


class CallFailed(TarponError):
    """A call raised what is no exception of Python's own; `type_name` is that of its class there."""

    def __init__(self, type_name: str, text: str) -> None:
        super().__init__(
            f"{type_name}: {text}" if text else type_name, hint="The traceback there is its cause (`__cause__`)."
        )
        self.type_name = type_name


class CallLost(NotFound):
    """The job of a call ended without what came of it."""

    def __init__(self, job: str, why: str) -> None:
        super().__init__(
            f"Job {job} ended without the value of this call: {why or 'its result has no line for it.'}",
            hint=f"`tarpon job describe {job}` shows what happened.",
        )


class OtherPython(InvalidInput):
    """Calls are run by the Python that has packed them alone: others give other values, or none, without a word."""

    def __init__(self, here: str, there: str) -> None:
        super().__init__(
            f"The calls were packed by Python {here}, and the node has Python {there}: none was run.",
            hint="Choose `python=` or `image=` with the same minor version.",
        )


class ValueNotData(InvalidInput):
    """What a call returned cannot travel as data."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"What the call returned is no data: {why}.",
            hint="Return numbers, texts, bytes, lists, dicts, arrays, tables; write a file; or set trust_nodes=True.",
        )


class ValueInvalid(Damaged):
    """What a node sent as a value is none."""

    def __init__(self, job: str, why: str) -> None:
        super().__init__(
            f"The result of job {job} has no valid value for this call: {why}",
            hint="Its node may not be what it should be: `tarpon job describe` names it.",
        )


class RemoteTraceback(Exception):
    """The traceback there, as the cause of what is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def raised_there(told: Any, arguments: list[Any] | None) -> BaseException:
    """The same exception where it is one of Python's own, else CallFailed. Its cause is the traceback there."""
    name, module, text = str(told["type"])[:200], str(told["module"])[:200], str(told["text"])
    kind = getattr(builtins, name, None) if module == "builtins" else None
    made: BaseException = CallFailed(name if module == "builtins" else f"{module}.{name}", text)
    if isinstance(kind, type) and issubclass(kind, Exception) and arguments is not None:
        try:
            made = kind(*arguments)
        except Exception:  # noqa: BLE001  # a node may have told arguments that it does not take
            made = CallFailed(name, text)
    made.__cause__ = RemoteTraceback(str(told["traceback"]))
    return made
