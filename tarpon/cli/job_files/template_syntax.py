"""The syntax of Go's templates, as far as job files use it: a text with its actions becomes a tree.

Nothing is evaluated here. Every action keeps its line and its text, for what is to be told about it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tarpon.cli.job_files.template_literals import WronglyWritten, number, unescaped

Value = str | int | float | bool | None | Mapping[str, str]
"""What the parts of an action can be: a text, a number, a truth, nothing, and all variables together (`.` and `$`)."""

MAX_DEPTH = 50
"""How deeply blocks and brackets may be nested."""
MAX_SHOWN = 60
MAX_SOURCE = 1000
"""So much of an action is looked at when it is shown."""

_SPACE = " \t\r\n"
_BLOCKS = frozenset({"if", "with", "range"})
_LACKING = frozenset({"define", "template", "block"})
_KEYWORDS = _BLOCKS | _LACKING | {"else", "end", "break", "continue"}
_TOKEN = re.compile(
    rf"""(?P<space>[{_SPACE}]+)
    | (?P<end>(?:(?<=[{_SPACE}])-)?\}}\}})
    | (?P<text>"(?:[^"\\\n]|\\.)*")
    | (?P<raw>`[^`]*`)
    | (?P<number>[+-]?(?:[0-9][\w.]*|\.[0-9]\w*))
    | (?P<field>\.[^\W\d]\w*)
    | (?P<variable>\$\w*)
    | (?P<word>[^\W\d]\w*)
    | (?P<mark>:=|[().|,=])""",
    re.VERBOSE,
)


class TemplateProblem(Exception):
    """What is wrong with an action, in a person's words."""


class Token(NamedTuple):
    """`is_glued` is that no blank is before it."""

    kind: str
    text: str
    is_glued: bool = False


class Action(NamedTuple):
    line: int
    source: str
    tokens: tuple[Token, ...]


class Literal(NamedTuple):
    value: Value


class Fields(NamedTuple):
    """`names` of what is to the left of them."""

    of: "Operand"
    names: tuple[str, ...]


class Dot(NamedTuple):
    """What the action is about: all variables, or what a block around it says."""


class Variable(NamedTuple):
    """By its name with the $, which alone means all variables."""

    name: str


class Call(NamedTuple):
    function: str
    arguments: "tuple[Operand, ...]"


class Pipe(NamedTuple):
    """Each of the `steps` after the first is a call that gets what came before as its last argument.

    What comes of it goes to the variables `names`, which are made here if `is_new`.
    """

    steps: "tuple[Operand, ...]"
    names: tuple[str, ...] = ()
    is_new: bool = False


Operand = Literal | Fields | Dot | Variable | Call | Pipe


class Text(NamedTuple):
    text: str


class Output(NamedTuple):
    action: Action
    pipe: Pipe


class ControlBlock(NamedTuple):
    """If, with or range."""

    kind: str
    action: Action
    pipe: Pipe
    body: "tuple[Node, ...]"
    otherwise: "tuple[Node, ...]"


class Jump(NamedTuple):
    """Break or continue."""

    kind: str


Node = Text | Output | ControlBlock | Jump


def parsed(text: str) -> tuple[Node, ...]:
    """Raise TemplateProblem, which names the line."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TemplateProblem("it is not UTF-8 text") from None
    return _Parser(text).whole()


def pieces(text: str) -> Iterator[str | Action]:
    """Raise TemplateProblem. Blanks around `{{-` and `-}}` are gone, and comments too."""
    at, line, trims = 0, 1, False
    while True:
        begin = text.find("{{", at)
        plain = text[at:] if begin < 0 else text[at:begin]
        line += plain.count("\n")
        left = plain.lstrip(_SPACE) if trims else plain
        if begin < 0:
            yield left
            return
        inner = begin + 2
        if text[inner : inner + 1] == "-" and text[inner + 1 : inner + 2] in set(_SPACE):
            inner, left = inner + 2, left.rstrip(_SPACE)
        yield left
        if text.startswith("/*", inner):
            at, trims = _after_comment(text, begin, inner, line)
        else:
            tokens, at, trims = _tokens(text, begin, inner, line)
            yield Action(line, text[begin:at], tokens)
        line += text.count("\n", begin, at)


_AFTER_COMMENT = re.compile(rf"([{_SPACE}]-)?\}}\}}")


def _after_comment(text: str, begin: int, at: int, line: int) -> tuple[int, bool]:
    """Where the text goes on, and whether its blanks go there. Nothing but the comment stands in its braces."""
    ends = text.find("*/", at + 2)
    if ends < 0:
        raise TemplateProblem(f"line {line}: {_beginning(text, begin, len(text))}: the comment is not closed by */")
    match = _AFTER_COMMENT.match(text, ends + 2)
    if match is None:
        shown = _beginning(text, begin, ends + 2)
        raise TemplateProblem(f"line {line}: {shown}: right after */ comes }}}}, or one blank and -}}}}")
    return match.end(), match[1] is not None


def _beginning(text: str, begin: int, end: int) -> str:
    return text[begin : min(end, begin + MAX_SHOWN)].partition("\n")[0]


def _tokens(text: str, begin: int, at: int, line: int) -> tuple[tuple[Token, ...], int, bool]:
    """Up to the `}}`: the tokens, where the text goes on, and whether its blanks go there."""
    found: list[Token] = []
    is_glued = False
    while (match := _TOKEN.match(text, at)) is not None:
        kind, at = str(match.lastgroup), match.end()
        if kind == "end":
            return tuple(found), at, len(match[0]) > 2
        if kind != "space":
            found.append(Token(kind, match[0], is_glued))
        is_glued = kind != "space"
    shown = _beginning(text, begin, at + 1)
    if at >= len(text) or text[at] == "\n":
        raise TemplateProblem(f"line {line}: {shown} is not closed by }}}}")
    advice = '; a name with a dash is written (index . "a-name")' if text[at] == "-" and found else ""
    raise TemplateProblem(f"line {line}: {shown}: {text[at]!r} cannot stand here{advice}")


class _Parser:
    def __init__(self, text: str) -> None:
        self._pieces = pieces(text)

    def whole(self) -> tuple[Node, ...]:
        nodes, ended_by = self._nodes(0, in_range=False)
        if ended_by is not None:
            raise _problem(ended_by, f"there is no block that {ended_by.tokens[0].text} could belong to")
        return nodes

    def _nodes(self, depth: int, *, in_range: bool) -> tuple[tuple[Node, ...], Action | None]:
        """Up to an `else` or `end`, or to the end of the text."""
        found: list[Node] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                found.append(Text(piece))
                continue
            word = piece.tokens[0].text if piece.tokens and piece.tokens[0].kind == "word" else ""
            if word in {"else", "end"}:
                return tuple(found), piece
            if word in _LACKING:
                raise _problem(piece, f"{word} is not supported")
            if word in {"break", "continue"}:
                if not in_range or len(piece.tokens) > 1:
                    raise _problem(piece, f"{word} stands alone, in a range")
                found.append(Jump(word))
            elif word in _BLOCKS:
                found.append(self._block(piece, 0, depth + 1, in_range=in_range))
            else:
                found.append(Output(piece, _Reader(piece).whole()))
        return tuple(found), None

    def _block(self, action: Action, skip: int, depth: int, *, in_range: bool) -> ControlBlock:
        """`skip` is how many words come before the kind of block: the else of `else if`."""
        if depth > MAX_DEPTH:
            raise _problem(action, f"it is nested more than {MAX_DEPTH} deep")
        kind = action.tokens[skip].text
        pipe = _Reader(action, skip + 1).whole(is_range=kind == "range")
        body, ended_by = self._nodes(depth, in_range=in_range or kind == "range")
        otherwise: tuple[Node, ...] = ()
        if ended_by is not None and ended_by.tokens[0].text == "else":
            if len(ended_by.tokens) > 1:
                if ended_by.tokens[1].text != kind or kind == "range":
                    raise _problem(ended_by, "what is after else does not belong to the block")
                return ControlBlock(kind, action, pipe, body, (self._block(ended_by, 1, depth + 1, in_range=in_range),))
            otherwise, ended_by = self._nodes(depth, in_range=in_range)
        if ended_by is None:
            raise _problem(action, "it has no {{end}}")
        if ended_by.tokens[0].text != "end" or len(ended_by.tokens) > 1:
            raise _problem(ended_by, f"the block of line {action.line} is to be ended by {{{{end}}}} here")
        return ControlBlock(kind, action, pipe, body, otherwise)


class _Reader:
    """Of the pipe in one action."""

    def __init__(self, action: Action, at: int = 0) -> None:
        self._action = action
        self._tokens = action.tokens
        self._at = at

    def whole(self, *, is_range: bool = False) -> Pipe:
        pipe = self._pipe(0, most_names=2 if is_range else 1)
        if self._at < len(self._tokens):
            raise self._unexpected()
        return pipe

    def _pipe(self, depth: int, *, most_names: int = 0) -> Pipe:
        if depth > MAX_DEPTH:
            raise _problem(self._action, f"it is nested more than {MAX_DEPTH} deep")
        names, is_new = self._declaration(most_names)
        steps = [self._step(depth, is_first=True)]
        while self._take("mark", "|"):
            steps.append(self._step(depth, is_first=False))
        return Pipe(tuple(steps), names, is_new)

    def _declaration(self, most: int) -> tuple[tuple[str, ...], bool]:
        """`$a :=`, `$a =`, and of a range `$a, $b :=`."""
        begin, names = self._at, list[str]()
        while (token := self._take("variable")) is not None:
            names.append(token.text)
            if not self._take("mark", ","):
                break
        mark = self._take("mark", ":=") or self._take("mark", "=")
        if mark is None:
            self._at = begin
            return (), False
        if not 1 <= len(names) <= most or "$" in names:
            raise _problem(self._action, f"{mark.text} is not possible here")
        return tuple(names), mark.text == ":="

    def _step(self, depth: int, *, is_first: bool) -> Operand:
        """A call with its arguments, or one operand."""
        token = self._take("word")
        if token is not None and token.text not in _CONSTANTS:
            if token.text in _KEYWORDS:
                raise _problem(self._action, f"{token.text} cannot stand here")
            return Call(token.text, tuple(self._operands(depth)))
        if token is not None:
            self._at -= 1
        first = self._operand(depth)
        if first is None:
            raise self._unexpected()
        if first == Literal(None):
            raise _problem(self._action, "nil is no value")
        if not is_first or self._next() not in {None, "|", ")"}:
            raise _problem(self._action, "only a function can take arguments")
        return first

    def _operands(self, depth: int) -> Iterator[Operand]:
        while (found := self._operand(depth)) is not None:
            yield found

    def _operand(self, depth: int) -> Operand | None:
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if token is None or token.text in {"|", ")", ",", "=", ":="}:
            return None
        self._at += 1
        match token.kind:
            case "text" | "raw" | "number":
                return Literal(_literal(token, self._action))
            case "field":
                self._at -= 1
                return self._fields(Dot(), is_first=True)
            case "variable":
                return self._fields(Variable(token.text))
            case "word" if token.text in _CONSTANTS:
                return Literal(_CONSTANTS[token.text])
            case "word" if token.text not in _KEYWORDS:
                return Call(token.text, ())
            case _ if token.text == ".":
                return Dot()
            case _ if token.text == "(":
                inner = self._pipe(depth + 1)
                if not self._take("mark", ")"):
                    raise _problem(self._action, "a bracket is not closed")
                return self._fields(inner)
        raise _problem(self._action, f"{token.text} cannot stand here")

    def _fields(self, of: Operand, *, is_first: bool = False) -> Operand:
        names: list[str] = []
        while (token := self._peek()) is not None and token.kind == "field" and (token.is_glued or is_first):
            names.append(token.text[1:])
            self._at, is_first = self._at + 1, False
        return Fields(of, tuple(names)) if names else of

    def _take(self, kind: str, text: str = "") -> Token | None:
        token = self._peek()
        if token is None or token.kind != kind or text not in {"", token.text}:
            return None
        self._at += 1
        return token

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> str | None:
        token = self._peek()
        return None if token is None else token.text

    def _unexpected(self) -> TemplateProblem:
        token = self._next()
        return _problem(self._action, f"{token[:MAX_SHOWN]} cannot stand here" if token else "a value is missing")


_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "nil": None}


def _literal(token: Token, action: Action) -> Value:
    try:
        match token.kind:
            case "raw":
                return token.text[1:-1].replace("\r", "")
            case "text":
                return unescaped(token.text[1:-1])
            case _:
                return number(token.text)
    except WronglyWritten as problem:
        raise _problem(action, str(problem)) from None


def _problem(action: Action, text: str) -> TemplateProblem:
    return TemplateProblem(f"line {action.line}: {shown(action)}: {text}")


def shown(action: Action) -> str:
    """The action as its author wrote it, in one line of bounded length."""
    text = " ".join(action.source[:MAX_SOURCE].split())
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
