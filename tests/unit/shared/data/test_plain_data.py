"""Numbers and nesting beyond what can be kept are found, with their place, and nothing else is."""

import math
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data import plain_data
from shared.data.decoding import decode, load_yaml
from shared.data.plain_data import DEEPEST, LEAST, MOST, check, parse_object
from shared.errors import InvalidDocument
from shared.jobs.spec import Job
from shared.protocol.messages import Report, UnknownMessage, decode_of_node, heartbeats, node_requests, report
from shared.protocol.rest import SubmitRequest


def nested(levels: int) -> Any:
    data: Any = 1
    for _ in range(levels):
        data = [data]
    return data


BEYOND: list[tuple[bytes, str]] = [
    (b'{"a": {"b": [0, 18446744073709551616]}}', "a.b[1]: a whole number must be between"),
    (b'{"a": -9223372036854775809}', "a: a whole number must be between"),
    (b'{"a": ' + b"9" * 4000 + b"}", "a: a whole number must be between"),
    (b'{"a": [' + b"9" * 9000 + b"]}", "a[0]: a number is out of range"),
    (b'{"a": {"b": 1e999}}', "a.b: a number is out of range"),
    (b'{"a": -1e400}', "a: a number is out of range"),
    (b'{"a":' + b"[" * 950 + b"]" * 950 + b"}", ": it is nested deeper than 100 levels"),
    (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested deeper than 100 levels"),
]


@pytest.mark.parametrize(("payload", "told"), BEYOND, ids=range(len(BEYOND)))
def test_what_is_beyond_the_bounds_is_refused_with_its_place(payload: bytes, told: str) -> None:
    with pytest.raises(InvalidDocument, match=r"^The request is not valid: ") as refused:
        parse_object(payload, what="The request")
    assert told in refused.value.message
    assert len(refused.value.message) < 600


@pytest.mark.parametrize("payload", [b'{"a": NaN}', b'{"a": Infinity}', b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"{"])
def test_what_is_no_json_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidDocument, match=r"^The request is not JSON"):
        parse_object(payload, what="The request")


def test_what_is_within_the_bounds_is_taken() -> None:
    data = {"least": LEAST, "most": MOST, "float": 1e308, "deep": nested(DEEPEST), "truth": True, "none": None}
    assert parse_object(msgspec.json.encode(data), what="The request") == data
    with pytest.raises(InvalidDocument, match="nested deeper"):
        check({"deep": nested(DEEPEST + 1)}, what="The job")


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, 2**64, -(2**63) - 1])
def test_a_program_that_uses_the_client_is_told_the_same(number: float) -> None:
    with pytest.raises(InvalidDocument, match=r"Tasks\[0\]\.n: "):
        check({"Tasks": [{"n": number}]}, what="The job")


def test_a_number_in_a_file_is_bounded_too() -> None:
    with pytest.raises(InvalidDocument, match=r"^The job file a\.yaml is not valid: a\.b: a whole number must be"):
        load_yaml("a: {b: -9999999999999999999}", what="The job file a.yaml")


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "9" * 30])
def test_a_text_that_counts_as_a_number_is_bounded_too(number: str) -> None:
    """It is a text until it has become a number, which is later than what is plain is looked at."""
    with pytest.raises(
        InvalidDocument, match=r"^The request is not valid: Job\.Priority: a whole number must be between"
    ):
        decode({"Job": {"Priority": number}}, SubmitRequest, what="The request", unknown="report")
    with pytest.raises(InvalidDocument, match=r"^The job is not valid: Priority: a whole number must be between"):
        decode(load_yaml(f"Priority: {number}", what="The job"), Job, what="The job", unknown="refuse")


def test_what_is_beyond_alone_is_told_without_a_place() -> None:
    with pytest.raises(InvalidDocument) as refused:
        parse_object(b"1e400", what="The request")
    assert refused.value.message == "The request is not valid: a number is out of range."


plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.integers(-(2**70), 2**70) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(plain)
def test_whatever_passes_can_be_packed_and_unpacked(data: Any) -> None:
    try:
        check(data, what="It")
    except InvalidDocument:
        return
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(data)) == data
    assert msgspec.json.decode(msgspec.json.encode(data)) == data


OUTPUT = b'{"type":"TaskEnded","output":{"exit_code":%s,"stdout":"it was 1e99]"},"run_seconds":%s}'
PUBLISHED = b'{"type":"OutputPublished","size_bytes":-1,"md5":"","sha256":"","entries":1,"raw_bytes":1}'
NODE_BEYOND = [
    b'{"type":"Report","execution_id":"e","facts":[' + OUTPUT % (b"9" * 30, b"1") + b"]}",
    b'{"type":"Report","execution_id":"e","facts":[' + OUTPUT % (b"1", b"1e300") + b"]}",
    b'{"type":"Report","execution_id":"e","facts":[' + OUTPUT % (b"1", b"1E+300 ") + b"]}",
    b'{"type":"Report","execution_id":"e","facts":[' + PUBLISHED + b"]}",
]


@pytest.mark.parametrize("payload", NODE_BEYOND, ids=range(len(NODE_BEYOND)))
def test_what_a_node_tells_is_bounded(payload: bytes) -> None:
    with pytest.raises(UnknownMessage):
        decode_of_node(report, payload)


def test_registrations_and_heartbeats_are_bounded() -> None:
    info = b'{"node_id":"n","version":"1","capacity":{"CPU":%s,"Memory":%s}}'
    for capacity in ((b"1e30", b"1"), (b"1", b"9" * 25)):
        payload = b'{"type":"Registration","session":"s","inventory":1,"info":' + info % capacity + b"}"
        with pytest.raises(UnknownMessage):
            decode_of_node(node_requests, payload)
    with pytest.raises(UnknownMessage):
        decode_of_node(heartbeats, b'{"type":"Heartbeat","session":"s","running":-1}')


def test_what_a_task_wrote_is_not_taken_for_a_number() -> None:
    payload = b'{"type":"Report","execution_id":"e","facts":[' + OUTPUT % (b"1", b"0.5") + b"]}"
    assert isinstance(decode_of_node(report, payload), Report)


@pytest.mark.parametrize(
    "text",
    [b"1" * 400_000, b":1111111111111111111e1" * 20_000, b"1e11" * 100_000, b"1e10" + b" " * 400_000],
    ids=["digits", "numbers", "exponents", "spaces"],
)
def test_a_message_is_searched_in_time_that_grows_as_it_does(text: bytes) -> None:
    """Where each digit was a place to begin at, a megabyte of them took minutes."""
    begun = time.process_time()
    plain_data.check_message(b'{"a": "%b"}' % text)
    assert time.process_time() - begun < 2.0
