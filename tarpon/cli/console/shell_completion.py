"""Completion in bash and zsh, with answers in which a name stays one word, whatever is in it.

The scripts of earlier versions of Tarpon ask as click does, and are answered so.
"""

import os
import sys
from typing import NamedTuple

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from shared.data.plain_text import one_line
from tarpon.cli.console.completed_names import BEGINNING

_BASH = r"""
%(complete_func)s() {
    local IFS=$'\n'
    local -a lines
    COMPREPLY=()
    mapfile -t lines < <(%(complete_var)s=bash_complete _TARPON_LINE="${COMP_LINE:0:COMP_POINT}" \
        _TARPON_BREAKS="$COMP_WORDBREAKS" "${1/#\~/$HOME}" 2>/dev/null </dev/null)
    case "${lines[0]}" in
        file) compopt -o default ;;
        dir) compopt -o dirnames ;;
        beginning) compopt -o nospace ;;
    esac
    COMPREPLY=("${lines[@]:1}")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = r"""#compdef %(prog_name)s
%(complete_func)s() {
    local -a lines values shown beginnings begun
    local line rest
    lines=("${(@f)$(%(complete_var)s=zsh_complete _TARPON_WORDS=1 ${(Q)~words[1]} "${(@Q)words[2,CURRENT-1]}" \
        "${(Q)PREFIX}" 2>/dev/null </dev/null)}")
    case "${lines[1]}" in
        file) _files; return ;;
        dir) _files -/; return ;;
    esac
    for line in "${(@)lines[2,-1]}"; do
        rest="${line#*$'\t'}"
        if [[ "${line%%%%$'\t'*}" == beginning ]]; then
            beginnings+=("${rest%%%%$'\t'*}") begun+=("${rest#*$'\t'}")
        else
            values+=("${rest%%%%$'\t'*}") shown+=("${rest#*$'\t'}")
        fi
    done
    local -a how=(-l -V tarpon -M 'm:{a-zA-Z}={A-Za-z}')  # keys of settings have any case
    (( $#values )) && compadd $how -d shown -a values
    (( $#beginnings )) && compadd $how -S '' -d begun -a beginnings
    (( $#values || $#beginnings ))
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef %(complete_func)s %(prog_name)s
fi
"""

_QUOTED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,")
"""What bash takes for itself without a backslash; so it does with what is not ASCII."""
_FILES = ("file", "dir")


class Typed(NamedTuple):
    """What was typed up to the cursor: whole words, and the `last` one, in the open `quote` if there is one.

    The shell replaces only what comes after the first `kept` characters of the last word.
    """

    words: list[str]
    last: str
    quote: str
    kept: int


def typed(line: str, breaks: str) -> Typed:
    """`breaks` are the characters at which bash parts words for completion alone."""
    words: list[str] = []
    last, quote, kept, begun_at, is_word = "", "", 0, 0, False
    rest = iter(line)
    for char in rest:
        if quote:
            if char == quote:
                quote = ""
            elif char == "\\" and quote == '"':
                following = next(rest, "")
                last += following if following in '$`"\\' else char + following
            else:
                last += char
        elif char.isspace():
            if is_word:
                words.append(last)
            last, kept, is_word = "", 0, False
            continue
        elif char in "'\"":
            quote = char
            begun_at = len(last)
        else:
            last += next(rest, "") if char == "\\" else char
            kept = len(last) if char in breaks else kept
        is_word = True
    return Typed(words, last, quote, begun_at if quote else kept)


def bash_word(value: str, quote: str) -> str:
    """As bash is to insert it; empty where it cannot be written."""
    if quote == "'":
        return "" if "'" in value else value
    if quote and "!" in value:
        return ""  # history expansion, which no backslash hides there without staying in the word
    if quote:
        return "".join(f"\\{char}" if char in '$`"\\' else char for char in value)
    return "".join(char if char in _QUOTED or ord(char) > 127 else f"\\{char}" for char in value)


class _AsClick(ShellComplete):
    """Of types of items only click's are known to its scripts."""

    def format_completion(self, item: "CompletionItem[str]") -> str:
        known = CompletionItem(item.value, help=item.help) if item.type == BEGINNING else item
        return str(super().format_completion(known))

    def get_completions(self, args: list[str], incomplete: str) -> "list[CompletionItem[str]]":
        """None that has a line break or a control character, whoever offers it."""
        found = super().get_completions(args, incomplete)
        return [each for each in found if each.type in _FILES or each.value.isprintable()]


class Fish(_AsClick, FishComplete):
    pass


class Bash(_AsClick, BashComplete):
    source_template = _BASH

    def source(self) -> str:
        return self.source_template % self.source_vars()

    def complete(self) -> str:
        line = os.environ.get("_TARPON_LINE")
        if line is None:
            return self._as_click()
        so_far = typed(line, os.environ.get("_TARPON_BREAKS", ""))
        while so_far.words and "=" in so_far.words[0]:
            del so_far.words[0]  # a variable of this one command
        found = _completions(self, so_far.words[1:], so_far.last)
        kind = _kind(found)
        words = [bash_word(each.value[so_far.kept :], so_far.quote) for each in found if kind not in _FILES]
        return "\n".join([kind, *filter(None, words)])

    def _as_click(self) -> str:
        """Click's script inserts words as they are: only those are told that bash takes for nothing else."""
        found = self.get_completions(*self.get_completion_args())
        plain = [each for each in found if each.type in _FILES or bash_word(each.value, "") == each.value]
        return "\n".join(self.format_completion(each) for each in plain)


class Zsh(_AsClick, ZshComplete):
    source_template = _ZSH

    def complete(self) -> str:
        if "_TARPON_WORDS" not in os.environ:
            return str(super().complete())
        *words, last = sys.argv[1:] or [""]
        found = _completions(self, words, last)
        width = max((len(each.value) for each in found), default=0)
        return "\n".join([_kind(found), *(_zsh_line(each, width) for each in found)])


def _zsh_line(item: "CompletionItem[str]", width: int) -> str:
    """Its type, itself, and how it is shown."""
    shown = f"{item.value:<{width}}  -- {one_line(item.help)}" if item.help else item.value
    return f"{item.type}\t{item.value}\t{shown}"


def _completions(shell: BashComplete | ZshComplete, words: list[str], last: str) -> "list[CompletionItem[str]]":
    """Whole words, also where only the value of `--option=value` was completed."""
    found = shell.get_completions(words, last)
    name, equals, _ = last.partition("=")
    joined = f"{name}=" if equals and name.startswith("-") else ""
    for each in found:
        if each.type not in _FILES and not each.value.startswith(joined):
            each.value = joined + each.value
    return found


def _kind(found: "list[CompletionItem[str]]") -> str:
    """What the shell is to do besides offering the values: complete files itself, or add no space."""
    kinds = {each.type for each in found}
    return next((kind for kind in (*_FILES, BEGINNING) if kind in kinds), "plain")


def register() -> None:
    """Make click answer the shells so."""
    add_completion_class(Bash, "bash")
    add_completion_class(Zsh, "zsh")
    add_completion_class(Fish, "fish")
