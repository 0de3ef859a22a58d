"""How the braces of a job file are filled in: as text/template of Go 1.26 does it, with missingkey=error."""

import os
import tracemalloc
from contextlib import suppress

import click
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import InvalidDocument
from tarpon.cli.job_files import template_evaluation
from tarpon.cli.job_files.template import Template, filled, template_options

VALUES = {"A": "x", "B": "", "N": "3", "query": "SELECT 1", "start-time": "now", "U": 'ü\n"q"'}


_PIECES = """
    {{ }} {{- -}} {{/* */}} ( ) | = := , . $ $x .A .B .M true nil else end if with range break continue and or default
    eq ne lt index len not print printf println slice 0 -1 1.5 1e400 0x1F "%d-%s" `%v` "%1000d" %.3f %q "a" "\\777"
    "\\ud800" "\\xff" "\\u00e9" "\0" \\ " ` -
"""
PIECES = _PIECES.split()
"""Of what templates are made, right or wrong."""

LONG = '{{$a := "xxxxxxxxxx"}}{{range 11}}{{$a = print $a $a}}{{end}}'
REPEATED = [
    f"{{{{range 20}}}}{{{{if {each}}}}}{{{{end}}}}{{{{end}}}}" for each in ("len $a", "eq $a $a", "not (eq $a $.A)")
]


def most_memory(text: str) -> int:
    """That the template takes until it is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDocument, match="goes on for too long"):
            fill(text)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def fill(text: str) -> str:
    return filled(text, VALUES, what="The job")


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        fill(text)
    first, *told = caught.value.message.split("\n  - ")
    assert first == "The job is a template that cannot be filled in:"
    assert "--no-template" in caught.value.hint
    return told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.A}}-{{ .query }}", "x-SELECT 1"),
        ('Filter: {{or (index . "AccessLogPattern") ".*"}}', "Filter: .*"),
        ('{{or (index . "start-time") ""}}', "now"),
        ("""'--dir={{or (index . "dir") "/app"}}'""", "'--dir=/app'"),
        ('{{index . "nope"}}|{{$.A}}|{{(index . "A")}}', "|x|x"),
        ('{{eq .A "y" "x"}} {{eq .N "3"}} {{ne .A "y"}} {{not (eq .A "x")}}', "true true true false"),
        ('{{lt .A "y"}} {{gt 3 2}} {{le 2 2}} {{ge "b" "a"}}', "true true true true"),
        ('{{and .A "q"}} {{and .B "q"}}|{{or .B .A}} {{not .B}}', "q |x true"),
        ('{{printf "%05d|%s|%q|%v|%-5s|%5s" 42 .A .A 1.5 "a" "b"}}', '00042|x|"x"|1.5|a    |    b'),
        ('{{printf "%x %X %o %e %g %6.2f%%" 255 255 8 1.5 2.5 3.14159}}', "ff FF 10 1.500000e+00 2.5   3.14%"),
        ('{{printf "%q" .U}} {{printf "%t %v" true false}}', '"ü\\n\\"q\\"" true false'),
        ('{{"a" | printf "%s-%s" "b"}} {{ .A | len | printf "%d" }}', "b-a 1"),
        ('{{print 1 2 "a" 3}} {{print 1 2 3}} {{println "a" 1}}', "1 2a3 1 2 3 a 1\n"),
        ('{{len .A}} {{len .U}} {{len .}} {{slice "hello" 1 3}}', "1 6 6 el"),
        ('{{if .B}}b{{else if eq .A "x"}}ax{{else}}n{{end}}', "ax"),
        ("{{if and .A (not .B)}}y{{end}}{{if 0}}a{{else}}b{{end}}", "yb"),
        ("{{with .A}}[{{.}}]{{end}}{{with .B}}[{{.}}]{{else}}no {{.A}}{{end}}", "[x]no x"),
        ('{{range $k, $v := .}}{{if eq $k "U"}}{{break}}{{end}}{{$k}}={{$v}};{{end}}', "A=x;B=;N=3;"),
        ('{{range $k, $v := .}}{{if gt $k "N"}}{{continue}}{{end}}{{$k}},{{end}}', "A,B,N,"),
        ("{{range 3}}{{.}}{{end}}{{range 0}}x{{else}}none{{end}}", "012none"),
        ('{{$x := .A}}{{$x}}{{$x = "z"}}{{$x}}', "xz"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{$x := 3}}{{end}}{{$x}}", "2"),
        ("a {{.A}} - {{- .B -}}  x", "a x -x"),
        ("\n\n{{- .A}}\n{{.A -}}\n\n b", "x\nxb"),
        ("{{/* a comment }} */}}a{{- /* b */ -}} c", "ac"),
        ("{{/* a\n*/\n-}}\n b{{/**/}}", "b"),
        ('{{"\\xc3\\xa9\\303\\251\\U0001F600\\\\\\"\\a"}} {{len "\\u00e9"}}', 'éé😀\\"\a 2'),
        ('{{"a\rb\0c"}}', "a\rb\0c"),
        ('{{"{{"}} {{`raw "q"`}} {{"a\\tb\\u00e9"}} {{.A}}}}', '{{ raw "q" a\tbé x}}'),
        ("{{1.0}} {{1e3}} {{0x10}} {{-3}} {{1_000}}", "1 1000 16 -3 1000"),
    ],
)
def test_a_template_is_filled_in_as_by_go(text: str, expected: str) -> None:
    assert fill(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{{.C | default "d"}} {{default "d" .C}}', "d d"),
        ('{{default "d" .A}} {{default "d" .B}} {{.B | default .A}}', "x d x"),
        ('{{default (index . "query") .D | printf "%q"}}', '"SELECT 1"'),
    ],
)
def test_a_default_takes_the_place_of_what_is_missing_or_empty(text: str, expected: str) -> None:
    assert fill(text) == expected


def test_what_is_put_in_is_not_looked_at_again() -> None:
    assert filled("{{.A}}", {"A": "{{.B}}"}, what="it") == "{{.B}}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\n{{foo .A}}", "line 2: {{foo .A}}: there is no function foo; there are and, default, eq,"),
        ('{{defualt "a" .B}}', "there is no function defualt; did you mean default?"),
        ("{{source}}", "there is no function source; the variable is {{.source}}"),
        ("{{.start-time}}", 'a name with a dash is written (index . "a-name")'),
        ("{{if .A}}\nx", "line 1: {{if .A}}: it has no {{end}}"),
        ("x\n\n{{end}}", "line 3: {{end}}: there is no block that end could belong to"),
        ("{{if .A}}{{else}}{{else}}{{end}}", "the block of line 1 is to be ended by {{end}} here"),
        ("{{.A.B}}", "{{.A.B}}: .B is a part of a text here; {{$.B}} is the variable"),
        ("{{with .A}}{{.B}}{{end}}", "{{$.B}} is the variable"),
        ("{{eq .N 3}}", "eq: a text cannot be compared with a number; the values of variables are texts"),
        ("{{lt true false}}", "lt: a truth has no order"),
        ("{{.A", "line 1: {{.A is not closed by }}"),
        ("{{index . 3}}", "index: the name of a variable is a text, and 3 is a number"),
        ("{{index .A 0}}", "index: a text has no parts"),
        ('{{printf "%d" .N}}', "printf: %d does not fit a text; the values of variables are texts, so write %s"),
        ('{{printf "%s"}}', "printf: there is no value for %s"),
        ('{{printf "a" 1}}', "printf: the format has no place for '1'"),
        ('{{printf "%y" 1}}', "printf: %y is not a verb; there are %s %q %v"),
        ("{{range .A}}{{end}}", "range goes over all variables (.) or a whole number, and this is a text"),
        ("{{$y}}", "$y is not set before"),
        ("{{$y = 1}}", "$y is not set before; $y := sets it"),
        ("{{.A .B}}", "only a function can take arguments"),
        ("{{break}}", "break stands alone, in a range"),
        ('{{define "x"}}{{end}}', "define is not supported"),
        ("{{ne 1 2 3}}", "ne: it takes 2 arguments, and here are 3"),
        ("{{ }}", "a value is missing"),
        ("{{nil}}", "nil is no value"),
        ("{{99999999999999999999}}", "99999999999999999999 is not written as Go writes it"),
        ("{{1e999}}", "1e999 is not written as Go writes it"),
        ('{{"\\d"}}', "is not written as Go writes it"),
        ('{{slice "abc" 2 1}}', "slice: the bounds are whole numbers from 0 to the text's length, 3"),
        ("{{(.A}}", "a bracket is not closed"),
        ("Name: x\n{{/* a */ .A}}\nCount: 5\n{{/* b */}}", "line 2: {{/* a */: right after */ comes }}"),
        ("{{/* a */ }}", "right after */ comes }}"),
        ("{{/* a */-}}", "right after */ comes }}"),
        ("a\n{{/* b }}\n", "line 2: {{/* b }}: the comment is not closed by */"),
        ("{{ /* a */}}", "'/' cannot stand here"),
        ('{{"\\U00110000"}}', "\\U00110000 is not written as Go writes it"),
        ('{{len "\\ud800"}}', "\\ud800 is not written as Go writes it"),
        ('{{"\\777"}}', "\\7 is not written as Go writes it"),
        ('{{"\\xff"}}', "the bytes of a text are not UTF-8"),
        ("{{1\u0663}}", "1\u0663 is not written as Go writes it"),
        ("{{range 0}}{{else}}{{break}}{{end}}", "break stands alone, in a range"),
    ],
)
def test_what_cannot_be_filled_in_is_told_with_its_line_and_what_it_is(text: str, told: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith("line ")
    assert told in problem


def test_all_problems_are_told_at_once_and_a_missing_variable_where_it_is_first() -> None:
    assert problems("{{.M}} {{.O}}\n{{.M}}\n{{if .P}}{{.Q}}{{end}}{{len 3}}") == [
        "line 1: {{.M}} has no value; give it with -V M=...",
        "line 1: {{.O}} has no value; give it with -V O=...",
        "line 3: {{.P}} has no value; give it with -V P=...",
        "line 3: {{len 3}}: len: a number has no length",
    ]


def test_what_a_missing_variable_would_have_decided_is_left_alone() -> None:
    assert fill('{{if index . "debug"}}{{.level}}{{end}}x') == "x"


@pytest.mark.parametrize("text", ["{{len .A}}", "{{slice .A}}"])
def test_a_value_that_is_not_utf_8_is_told(text: str) -> None:
    with pytest.raises(InvalidDocument, match="the text is not UTF-8"):
        filled(text, {"A": "\udcff"}, what="it")


def test_a_template_that_is_not_utf_8_is_told() -> None:
    with pytest.raises(InvalidDocument, match="it is not UTF-8 text"):
        filled('{{len "\ud800"}}', {}, what="it")


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join))
@example("{{range 0}}{{else}}{{break}}{{end}}")
def test_whatever_a_template_holds_comes_out_or_is_told(text: str) -> None:
    with suppress(InvalidDocument):
        filled(text, VALUES, what="it").encode()


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map(" ".join))
def test_whatever_an_action_holds_comes_out_or_is_told(text: str) -> None:
    with suppress(InvalidDocument):
        filled("{{" + text + "}}", VALUES, what="it").encode()


def refused(*options: str) -> str:
    @click.command
    @template_options
    def command(template: Template) -> None: ...

    found = CliRunner().invoke(command, options)
    assert found.exit_code == 2
    return found.output


def test_a_variable_that_is_not_utf_8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "The value of A, or its name, is not UTF-8 text." in refused("-V", "A=a\udcff")
    monkeypatch.setitem(os.environ, "ODD", "a\udcff")
    assert "The value of ODD, or its name, is not UTF-8 text." in refused("-E", "O.*")


class TestBounds:
    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(template_evaluation, "MAX_WORK", 200_000)

    @pytest.mark.parametrize(
        "text",
        [
            "{{range 1000000000}}{{end}}",
            "{{range 99}}{{range 99}}{{range 99}}x{{end}}{{end}}{{end}}",
            '{{$x := "aaaaaaaaaaaaaaaa"}}{{range 60}}{{$x = print $x $x}}{{end}}',
            '{{range 1000}}{{printf "%1000d" .}}{{end}}',
            "{{range 5000}}{{len (printf `%q` .)}}{{end}}",
            "{{range 300}}{{if (printf `%1000d` .)}}{{end}}{{end}}",
            *(LONG + each for each in REPEATED),
        ],
    )
    def test_a_template_that_would_not_end_or_grow_too_large_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidDocument, match="goes on for too long, or of which too much comes"):
            fill(text)

    def test_work_is_counted_before_it_is_done(self) -> None:
        pieces = " $a" * 500
        for act in ("print", "println", "printf `" + "%s" * 500 + "`"):
            assert most_memory(f"{LONG}{{{{{act}{pieces}}}}}") < 20_000_000
        widest = "%999d" * 1500
        assert most_memory(f"{{{{printf `{widest}`{' 1' * 1500}}}}}") < 2_000_000

    @pytest.mark.parametrize("text", ["{{" + "(" * 200 + "}}", "{{if .A}}" * 200, "{{if .A}}" + "{{else if .A}}" * 200])
    def test_nesting_is_bounded(self, text: str) -> None:
        assert "nested more than 50 deep" in problems(text)[0]

    def test_a_number_is_not_made_wide(self) -> None:
        assert "%99999999d is wider than 1000" in problems('{{printf "%99999999d" 3}}')[0]

    def test_problems_are_told_in_part(self) -> None:
        told = problems("".join(f"{{{{.M{number}}}}}\n" for number in range(200)))
        assert len(told) == template_evaluation.MAX_PROBLEMS
        (long,) = problems("{{len " + "1" * 3000 + "}}")
        assert len(long) < 200
