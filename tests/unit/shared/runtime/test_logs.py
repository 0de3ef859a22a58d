"""Log lines can be read by people or by machines, and no signature passes."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.runtime.log_lines import about, set_up, without_signature

SIGNATURE = "0a1b2c3d4e5f"
QUERY = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20250101%2Fus-east-1&X-Amz-Expires=3600"
    f"&X-Amz-SignedHeaders=host&X-Amz-Security-Token={SIGNATURE}%2Bzz&X-Amz-Signature={SIGNATURE}"
)
URL = f"https://bucket.example.com/prefix/e-1.tar.gz?{QUERY}"


@pytest.fixture
def clean_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    "text",
    [
        URL,
        f"PUT {URL} failed",
        f"Cannot connect ('{URL}', 443)",
        f'<a href="{URL}">',
        f"ClientResponse({URL}) [403 Forbidden]",
        f"PUT /prefix/e-1.tar.gz?{QUERY} HTTP/1.1",
        f"?{QUERY}",
        URL.lower(),
        URL.upper(),
        f"{URL}\n{URL} {URL}",
        f"https://proxy.example.com/?to={URL}",
        "https://proxy.example.com/?to=" + URL.replace("?", "%3F").replace("=", "%3D").replace("&", "%26"),
        f"https://h/k?partNumber=1&uploadId=u&{QUERY}",
        f"https://h/k?x-id=PutObject&X-Amz-Signature={SIGNATURE}#part",
        QUERY,
        f"{{'X-Amz-Signature': '{SIGNATURE}'}}",
        f'{{"x-amz-security-token":"{SIGNATURE}"}}',
        f"X-Amz-Security-Token: {SIGNATURE}",
        f"[('X-Amz-Signature', '{SIGNATURE}')]",
    ],
)
def test_a_signature_never_passes(text: str) -> None:
    assert SIGNATURE not in without_signature(text).lower()


def test_what_is_around_it_stays() -> None:
    assert without_signature(f"PUT '{URL}' answered 403, request X") == (
        "PUT 'https://bucket.example.com/prefix/e-1.tar.gz?...' answered 403, request X"
    )


@pytest.mark.parametrize(
    "text",
    ["", "What? Nothing.", "https://h/k?page=2&q=x", "X-Amz-Signature is missing", "the header X-Amz-Request-Id: 4"],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert without_signature(text) == text


@pytest.mark.parametrize("often", ["?", "%3F", "X-Amz-Signature", "?X-Amz"])
def test_a_hostile_text_takes_no_time(often: str) -> None:
    """A pattern that looked from each of many beginnings to the end of the text would take minutes."""
    text = often * 5_000
    assert without_signature(text) == text


@settings(deadline=None, max_examples=60)
@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_signature_never_passes_whatever_stands_around_it(before: str, after: str) -> None:
    assert SIGNATURE not in without_signature(before + URL + after)


def logged(capsys: pytest.CaptureFixture[str], mode: str, message: str, *args: object) -> str:
    set_up("debug", mode)
    error = ValueError(f'no answer from "{URL}"')
    logging.getLogger("test.lines").error(message, *args, exc_info=error)
    return capsys.readouterr().err


@pytest.mark.usefixtures("clean_logging")
class TestSettingUp:
    @pytest.mark.parametrize("mode", ["default", "json"])
    def test_no_signature_is_in_a_message_its_arguments_or_its_traceback(
        self, capsys: pytest.CaptureFixture[str], mode: str
    ) -> None:
        text = logged(capsys, mode, "PUT %s %s", URL, [URL])
        assert SIGNATURE not in text
        assert text.count("https://bucket.example.com/prefix/e-1.tar.gz?...") >= 3

    def test_a_line_for_machines_is_one_object_whatever_it_says(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = logged(capsys, "json", 'said "%s"\n and more', URL)
        assert text.count("\n") == 1
        line = json.loads(text)
        assert line["message"] == 'said "https://bucket.example.com/prefix/e-1.tar.gz?..."\n and more'
        assert (line["level"], line["logger"]) == ("error", "test.lines")
        assert line["time"].endswith("+00:00")
        assert line["exception"].startswith("ValueError: no answer")

    def test_a_line_for_people_begins_with_time_level_and_name(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up("info", "default")
        logging.getLogger("test.lines").info("Hello %d", 1)
        logging.getLogger("test.lines").debug("not this")
        text = capsys.readouterr().err
        assert text.endswith(" INFO    test.lines: Hello 1\n")
        assert text.count("\n") == 1

    @pytest.mark.parametrize(
        ("level", "number"),
        [("trace", 10), ("debug", 10), ("info", 20), ("warn", 30), ("error", 40)],
    )
    def test_levels_have_the_names_of_the_setting(self, level: str, number: int) -> None:
        set_up(level, "default")
        assert logging.getLogger().level == number

    def test_setting_up_again_does_not_double_the_lines(self, capsys: pytest.CaptureFixture[str]) -> None:
        for _ in range(2):
            set_up("info", "default")
        logging.getLogger("test.lines").warning("once")
        captured = capsys.readouterr()
        assert (captured.err.count("once"), captured.out) == (1, "")
        assert len(logging.getLogger().handlers) == 1

    def test_libraries_are_quiet_even_when_all_is_told(self) -> None:
        set_up("trace", "default")
        assert not logging.getLogger("botocore.auth").isEnabledFor(logging.DEBUG)
        assert sys.stderr is not None

    def test_a_line_for_machines_names_what_it_is_about(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up("info", "json")
        logging.getLogger("test.lines").info("Here", extra=about(job="j-1", execution="e-1", node="n-1"))
        logging.getLogger("test.lines").info("There", extra=about(node="n-1"))
        first, second = map(json.loads, capsys.readouterr().err.splitlines())
        assert (first["job_id"], first["execution_id"], first["node_id"]) == ("j-1", "e-1", "n-1")
        assert second["node_id"] == "n-1"
        assert not {"job_id", "execution_id"} & second.keys()


def raised(error: Exception) -> Exception:
    """The error with a traceback."""
    with suppress(type(error)):
        raise error
    return error


FORGED = "gone\r\n12:00:00 ERROR   orchestrator: all is lost\x1b[2K\x9b31m\u202e\u2028\x7f"


@pytest.mark.usefixtures("clean_logging")
def test_what_a_node_writes_makes_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", "default")
    logging.getLogger("orchestrator").warning("Node n-1 says %s", FORGED)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert line.endswith(r"gone\r\n12:00:00 ERROR   orchestrator: all is lost\x1b[2K\x9b31m\u202e\u2028\x7f")


@pytest.mark.usefixtures("clean_logging")
def test_what_a_node_writes_stands_indented_where_an_error_quotes_it(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", "default")
    logging.getLogger("orchestrator").error("A report failed.", exc_info=raised(ValueError(FORGED)))
    first, *others = capsys.readouterr().err.splitlines()
    assert first.endswith("A report failed.")
    assert len(others) >= 3
    assert all(line.startswith("    ") and line.isprintable() for line in others)


@pytest.mark.usefixtures("clean_logging")
def test_a_line_for_machines_holds_the_text_as_it_was_and_steers_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up("info", "json")
    logging.getLogger("orchestrator").warning("%s\U000e0001", FORGED)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert json.loads(line)["message"] == f"{FORGED}\U000e0001"


@pytest.mark.usefixtures("clean_logging")
@pytest.mark.parametrize("mode", ["default", "json"])
def test_a_name_that_is_no_unicode_takes_no_line_away(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", mode)
    logging.getLogger("compute").warning("The file %s cannot be read.", b"a\xff".decode(errors="surrogateescape"))
    (line,) = capsys.readouterr().err.splitlines()
    assert r"a\udcff cannot be read" in (json.loads(line)["message"] if mode == "json" else line)
