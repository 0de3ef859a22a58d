"""Evaluation of a template: the text with its actions carried out, within bounds of work and size."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import assert_never

from shared.data.decoding import close_match
from tarpon.cli.job_files.template_functions import FUNCTIONS, is_true, kind_of, text_of, weight
from tarpon.cli.job_files.template_syntax import (
    Action,
    Call,
    ControlBlock,
    Dot,
    Fields,
    Jump,
    Literal,
    Node,
    Operand,
    Output,
    Pipe,
    TemplateProblem,
    Text,
    Value,
    Variable,
    shown,
)

MAX_CHARACTERS = 10 << 20
"""Of what comes of a template: no job file is larger."""
STEP_COST = 100
MAX_WORK = 4 * MAX_CHARACTERS
"""Each character that a function takes or makes counts as one, and each step as STEP_COST: about a second in all."""

MAX_PROBLEMS = 50
"""How many are told."""
MAX_NAME = 200
"""Of a name, in what is told about it."""

_LAZY = {"and": 1, "default": 2, "or": 1}
"""Functions that look at their arguments one by one, with the number that they take at least."""


class MissingValue(TemplateProblem):
    """A variable that nobody gave a value."""

    def __init__(self, name: str) -> None:
        name = name[:MAX_NAME]
        super().__init__(f"{{{{.{name}}}}} has no value; give it with -V {name}=...")


class TooMuch(Exception):
    """A template that would go on for too long, or become too large."""


class _Jumped(Exception):
    """Out of one turn of a range, or out of all."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Evaluation:
    """Of one template. `problems` are all that were found; what has one is left out."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.problems: dict[str, None] = {}
        self._root = dict(sorted(values.items()))
        self._scopes: list[dict[str, Value]] = [{"$": self._root}]
        self._written: list[str] = []
        self._work = 0

    def text(self, nodes: Iterable[Node]) -> str:
        """Raises TooMuch."""
        self._carry_out(nodes, self._root)
        return "".join(self._written)

    # ---- nodes ------------------------------------------------------------------------------------------------------

    def _carry_out(self, nodes: Iterable[Node], dot: Value) -> None:
        for node in nodes:
            match node:
                case Text(text):
                    self._write(text)
                case Output(action, pipe):
                    with self._noting(action):
                        found = self._pipe(pipe, dot)
                        if not pipe.names:
                            self._write(text_of(found))
                case ControlBlock():
                    self._block(node, dot)
                case Jump(kind):
                    raise _Jumped(kind)
                case _:
                    assert_never(node)

    def _block(self, block: ControlBlock, dot: Value) -> None:
        with self._scope(), self._noting(block.action):
            found = self._pipe(block.pipe, dot)
            if block.kind == "range":
                self._range(block, _turns(found), dot)
            elif is_true(found):
                self._carry_out(block.body, found if block.kind == "with" else dot)
            else:
                self._carry_out(block.otherwise, dot)

    def _range(self, block: ControlBlock, turns: Iterable[tuple[Value, Value]], dot: Value) -> None:
        names, is_empty = block.pipe.names, True
        for key, value in turns:
            is_empty = False
            told = (key, value) if len(names) == 2 else (value,)
            with self._scope():
                for name, each in zip(names, told, strict=False):
                    self._assign(name, each, is_new=block.pipe.is_new)
                self._spend(STEP_COST)
                try:
                    self._carry_out(block.body, value)
                except _Jumped as jump:
                    if jump.kind == "break":
                        break
        if is_empty:
            self._carry_out(block.otherwise, dot)

    @contextmanager
    def _scope(self) -> Iterator[None]:
        self._scopes.append({})
        try:
            yield
        finally:
            self._scopes.pop()

    @contextmanager
    def _noting(self, action: Action) -> Iterator[None]:
        """Go on after a problem, so that all are told at once. A variable that is missing is told where it is first."""
        try:
            yield
        except MissingValue as problem:
            self._spend(len(action.source))
            if not any(each.endswith(str(problem)) for each in self.problems):
                self._note(f"line {action.line}: {problem}")
        except TemplateProblem as problem:
            self._spend(len(action.source))
            self._note(f"line {action.line}: {shown(action)}: {problem}")

    def _note(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems[problem] = None

    # ---- values -----------------------------------------------------------------------------------------------------

    def _pipe(self, pipe: Pipe, dot: Value) -> Value:
        found: Value = None
        missing: MissingValue | None = None
        for number, step in enumerate(pipe.steps):
            if missing is not None and not (isinstance(step, Call) and step.function == "default"):
                raise missing
            before = () if number == 0 else (Literal(found),)
            missing = None
            try:
                found = self._step(step, dot, before)
            except MissingValue as problem:
                missing, found = problem, ""
        if missing is not None:
            raise missing
        if len(pipe.names) == 1:
            self._assign(pipe.names[0], found, is_new=pipe.is_new)
        return found

    def _step(self, step: Operand, dot: Value, before: tuple[Operand, ...] = ()) -> Value:
        self._spend(STEP_COST)
        match step:
            case Literal(value):
                return value
            case Dot():
                return dot
            case Variable(name):
                return self._variable(name)
            case Fields(of, names):
                found = self._step(of, dot)
                for name in names:
                    found = self._field(found, name)
                return found
            case Call(function, arguments):
                return self._call(function, (*arguments, *before), dot)
            case Pipe():
                return self._pipe(step, dot)
            case _:
                assert_never(step)

    def _field(self, of: Value, name: str) -> str:
        if not isinstance(of, Mapping):
            raise TemplateProblem(f".{name} is a part of {kind_of(of)} here; {{{{$.{name}}}}} is the variable")
        if name not in of:
            raise MissingValue(name)
        return of[name]

    def _call(self, function: str, arguments: tuple[Operand, ...], dot: Value) -> Value:
        if function in _LAZY:
            _check_count(function, len(arguments), _LAZY[function], 2 if function == "default" else None)
            return self._by_and_by(function, arguments, dot)
        if function not in FUNCTIONS:
            known = sorted([*FUNCTIONS, *_LAZY])
            meant = close_match(function[:40], known)
            advice = f"did you mean {meant}?" if meant else f"there are {', '.join(known)}"
            if not arguments:
                advice = f"the variable is {{{{.{function[:40]}}}}}"
            raise TemplateProblem(f"there is no function {function[:40]}; {advice}")
        act, least, most = FUNCTIONS[function]
        _check_count(function, len(arguments), least, most)
        values = [self._step(each, dot) for each in arguments]
        self._spend(weight(function, values))
        found = act(*values)
        if isinstance(found, str):
            self._spend(len(found))
        return found

    def _by_and_by(self, function: str, arguments: tuple[Operand, ...], dot: Value) -> Value:
        if function == "default":
            try:
                found = self._step(arguments[1], dot)
            except MissingValue:
                found = ""
            return found if is_true(found) else self._step(arguments[0], dot)
        found = None
        for each in arguments:
            found = self._step(each, dot)
            if is_true(found) == (function == "or"):
                break
        return found

    # ---- variables and bounds ---------------------------------------------------------------------------------------

    def _variable(self, name: str) -> Value:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        raise TemplateProblem(f"{name} is not set before")

    def _assign(self, name: str, value: Value, *, is_new: bool) -> None:
        if is_new:
            self._scopes[-1][name] = value
            return
        for scope in reversed(self._scopes):
            if name in scope:
                scope[name] = value
                return
        raise TemplateProblem(f"{name} is not set before; {name} := sets it")

    def _write(self, text: str) -> None:
        self._spend(len(text))
        self._written.append(text)

    def _spend(self, amount: int) -> None:
        self._work += amount
        if self._work > MAX_WORK:
            raise TooMuch


def _turns(of: Value) -> Iterator[tuple[Value, Value]]:
    """The keys and values of a range: of all variables, in the order of their names, or of so many numbers."""
    if isinstance(of, Mapping):
        yield from of.items()
    elif isinstance(of, int) and not isinstance(of, bool):
        yield from ((number, number) for number in range(of))
    else:
        raise TemplateProblem(f"range goes over all variables (.) or a whole number, and this is {kind_of(of)}")


def _check_count(function: str, count: int, least: int, most: int | None) -> None:
    if count < least or (most is not None and count > most):
        takes = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
        raise TemplateProblem(f"{function}: it takes {takes} arguments, and here are {count}")
