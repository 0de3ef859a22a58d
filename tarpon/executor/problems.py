"""Why a call has no value."""

import builtins
import contextlib
from typing import Any

from shared.data.plain_text import one_line, printable
from shared.errors import Damaged, InvalidInput, NotFound, TarponError
from tarpon.executor.told import RaisedThere


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
            f"The calls were packed by Python {here}, and the node has Python {one_line(there)}: none was run.",
            hint="Choose `python=` or `image=` with the same minor version.",
        )


class ValueNotData(InvalidInput):
    """What a call returned cannot travel as data."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"What the call returned is no data: {one_line(why[:300])}.",
            hint="Return numbers, texts, bytes, lists, dicts, arrays, tables; write a file; or set trust_nodes=True.",
        )


class ValueInvalid(Damaged):
    """What a node sent as a value is none."""

    def __init__(self, job: str, why: str) -> None:
        super().__init__(
            f"The result of job {job} has no valid value for this call: {one_line(why)}",
            hint="Its node may not be what it should be: `tarpon job describe` names it.",
        )


class RemoteTraceback(Exception):
    """The traceback there, as the cause of what is raised here. It steers no terminal."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))
        self.text = printable(text)

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


_NEVER_RAISED = (StopIteration, StopAsyncIteration)
"""They would end whatever waits for them, and are nothing that awaited code may raise."""


def raised_there(told: RaisedThere, arguments: list[Any] | None) -> BaseException:
    """The same exception where it is one of Python's own, else CallFailed. Its cause is the traceback there.

    Python writes tracebacks to terminals by itself, so nothing in its texts steers one.
    """
    name, module, text = one_line(told.type[:200]), one_line(told.module[:200]), printable(told.text)
    kind = getattr(builtins, name, None) if module == "builtins" else None
    made: BaseException = CallFailed(name if module == "builtins" else f"{module}.{name}", text)
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, _NEVER_RAISED):
        with contextlib.suppress(Exception):  # a node may have told arguments that it does not take
            if arguments is not None:
                made = kind(*(printable(each) if isinstance(each, str) else each for each in arguments))
    made.__cause__ = RemoteTraceback(told.traceback)
    return made
