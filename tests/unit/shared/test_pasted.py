"""Texts that people paste: what went wrong with one is told, and never the text itself."""

import base64
import random
import struct
import zlib

import msgspec
import pytest

from shared.protocol.pasted import (
    MAX_CHARACTERS,
    ApiKey,
    Credential,
    JoinToken,
    PastedTextInvalid,
    PastedTextMistyped,
    PastedTextOfOtherKind,
    PastedTextTruncated,
    digest,
    is_meant,
    new_secret,
    read,
    read_credential,
)

SECRET = bytes(range(32))
TOKEN = JoinToken(
    id="0123456789abcdef", secret=SECRET, authority=(b"\x30\x82" * 180,), addresses=("tls://tarpon.example:4222",)
)
KEY = ApiKey(id="fedcba9876543210", secret=SECRET)
TEXT = TOKEN.text()


def packed(body: bytes, prefix: str = "tj1_") -> str:
    framed = struct.pack(">H", len(body)) + body
    whole = framed + struct.pack(">I", zlib.crc32(prefix.encode() + framed))
    return prefix + base64.urlsafe_b64encode(whole).decode().rstrip("=")


def test_a_text_is_read_as_what_it_was_made_of() -> None:
    assert read(TEXT, JoinToken) == TOKEN
    assert read(KEY.text(), ApiKey) == KEY


def test_a_text_goes_through_shells_and_environments_as_it_is() -> None:
    assert TEXT.startswith("tj1_")
    assert set(TEXT) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_what_a_terminal_puts_around_a_text_does_no_harm() -> None:
    assert read(f" {TEXT}\r\n", JoinToken) == TOKEN
    assert is_meant(f" {TEXT}\n", JoinToken)


def test_the_form_of_a_text_stays_readable_for_later_versions() -> None:
    text = "tj1_ADqDoWmoYWJjZGVmMTKhc8QgAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh-hYZGmbmF0czphl_oQzw"
    assert read(text, JoinToken) == JoinToken(id="abcdef12", secret=SECRET, addresses=("nats:a",))


def test_each_mistyped_character_is_noticed() -> None:
    dice = random.Random(1)
    for at in range(len("tj1_") + 3, len(TEXT)):
        wrong = dice.choice([each for each in "abcXYZ019-_" if each != TEXT[at]])
        with pytest.raises(PastedTextInvalid):
            read(TEXT[:at] + wrong + TEXT[at + 1 :], JoinToken)


def test_a_mistyped_text_is_called_mistyped() -> None:
    wrong = "A" if TEXT[40] != "A" else "B"
    with pytest.raises(PastedTextMistyped, match="a join token is mistyped") as raised:
        read(TEXT[:40] + wrong + TEXT[41:], JoinToken)
    assert "Copy all of it again" in raised.value.hint


def test_a_text_with_something_after_its_end_is_called_mistyped() -> None:
    with pytest.raises(PastedTextMistyped):
        read(f"{TEXT}AAAA", JoinToken)


@pytest.mark.parametrize("kept", [len("tj1_"), 5, 6, 7, 8, 40, len(TEXT) - 3, len(TEXT) - 2, len(TEXT) - 1])
def test_a_truncated_text_is_called_cut_off(kept: int) -> None:
    with pytest.raises(PastedTextTruncated, match="a join token is cut off"):
        read(TEXT[:kept], JoinToken)


def test_a_text_of_the_other_kind_is_named() -> None:
    with pytest.raises(PastedTextOfOtherKind, match="a join token is an API key"):
        read(KEY.text(), JoinToken)
    with pytest.raises(PastedTextOfOtherKind, match="an API key is a join token"):
        read(TEXT, ApiKey)
    with pytest.raises(PastedTextOfOtherKind, match="does not begin with tj1_"):
        read("hunter2", JoinToken)


def test_a_text_under_the_prefix_of_another_kind_is_not_taken() -> None:
    with pytest.raises(PastedTextMistyped):
        read(TEXT.replace("tj1_", "tk1_", 1), ApiKey)


def test_a_text_that_is_too_long_is_not_looked_into() -> None:
    with pytest.raises(PastedTextInvalid, match="at most 8,000"):
        read("tj1_" + "A" * MAX_CHARACTERS, JoinToken)


def test_a_text_that_would_be_too_long_is_not_made() -> None:
    with pytest.raises(PastedTextInvalid, match="too long for a join token"):
        msgspec.structs.replace(TOKEN, authority=(b"a" * 4096,) * 2).text()
    with pytest.raises(PastedTextInvalid, match="too long for a join token"):
        msgspec.structs.replace(TOKEN, authority=(b"a" * 4096,) * 20).text()


@pytest.mark.parametrize("inside", ["ä", "\u2013", " ", "\n", "\x00", "="])
def test_characters_that_no_text_has_are_called_mistyped(inside: str) -> None:
    with pytest.raises(PastedTextMistyped):
        read(TEXT[:40] + inside + TEXT[41:], JoinToken)


def test_a_text_before_which_something_stands_does_not_begin_as_it_should() -> None:
    with pytest.raises(PastedTextOfOtherKind):
        read(f"\u200b{TEXT}", JoinToken)


def test_what_a_later_version_adds_is_left_out() -> None:
    body = msgspec.msgpack.encode({"i": "a1", "s": SECRET, "zz": [1, 2]})
    assert read(packed(body), JoinToken) == JoinToken(id="a1", secret=SECRET)


@pytest.mark.parametrize(
    "body",
    [
        {"i": "a1"},
        {"i": "a1", "s": b"short"},
        {"i": "a.b", "s": SECRET},
        {"i": "a1", "s": SECRET, "a": ["x" * 513]},
        {"i": "a1", "s": SECRET, "c": [b"x" * 4097]},
        "another thing",
    ],
)
def test_a_whole_text_of_an_unknown_form_says_so(body: object) -> None:
    with pytest.raises(PastedTextInvalid, match="a form that this version does not know"):
        read(packed(msgspec.msgpack.encode(body)), JoinToken)


def test_an_error_never_repeats_the_text() -> None:
    for text in (TEXT[:-3], TEXT[:40] + "!" + TEXT[41:], "hunter2hunter2"):
        with pytest.raises(PastedTextInvalid) as raised:
            read(text, JoinToken)
        assert text[4:14] not in f"{raised.value} {raised.value.hint} {raised.value.__cause__!r}"


def test_no_secret_shows_in_a_repr() -> None:
    for each in (TOKEN, KEY):
        assert "AAECAwQF" not in f"{each!r}"
        assert "x00" not in f"{each!r}"


def test_a_credential_names_the_record_and_has_its_digest() -> None:
    shown = TOKEN.credential
    assert shown.startswith("0123456789abcdef.")
    assert read_credential(shown) == Credential("0123456789abcdef", digest(SECRET))
    assert TOKEN.digest == digest(SECRET)


@pytest.mark.parametrize("text", ["", "hunter2", "a.b", ".", f"a b.{'A' * 43}", f"id.{'A' * 42}", f"id.{'ä' * 43}"])
def test_what_is_no_credential_is_told_apart(text: str) -> None:
    assert read_credential(text) is None


def test_no_two_texts_share_an_id_or_a_secret() -> None:
    made = [new_secret() for _ in range(100)]
    assert len({id_ for id_, _ in made}) == len({secret for _, secret in made}) == 100
