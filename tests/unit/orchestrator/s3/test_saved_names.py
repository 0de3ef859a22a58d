"""What a result is called by who saves it, out of any name that a job can have."""

import urllib.parse
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.s3.disposition import disposition
from orchestrator.s3.saved_names import _stem


def parsed(value: str) -> tuple[str, str]:
    """The plain name and the one that counts, as the standard library reads the header."""
    message = EmailMessage()
    message["Content-Disposition"] = value
    assert message.get_content_disposition() == "attachment"
    plain = value.partition('filename="')[2].partition('"')[0]
    _, _, encoded = value.partition("filename*=UTF-8''")
    return plain, urllib.parse.unquote(encoded) if encoded else plain


@pytest.mark.parametrize(
    ("job", "stem"),
    [
        ("train", "train"),
        ("größe 3", "größe 3"),
        ("a/b\\c", "a_b_c"),
        ("../../etc/passwd", "_.._etc_passwd"),
        (".profile", "profile"),
        ("-rf", "_rf"),
        ('x"; filename="evil.sh', "x_; filename=_evil.sh"),
        ("two\r\nSet-Cookie: a=b", "two__Set-Cookie_ a=b"),
        ("\u202egnp.exe", "_gnp.exe"),
        ("100%25", "100_25"),
        ("...", ""),
        ("ü" * 255, "ü" * 60),
    ],
)
def test_a_name_becomes_one_that_any_system_has_for_a_file(job: str, stem: str) -> None:
    assert _stem(job) == stem


@given(st.text(max_size=255))
def test_whatever_the_name_the_header_is_plain_and_names_one_file(job: str) -> None:
    stem = _stem(job)
    assert len(stem.encode()) <= 120
    assert not set(stem) & set('/\\"\r\n\0%:')
    assert not stem.startswith((".", "-"))
    value = disposition(f"{stem}.tar.gz")
    assert value.isascii()
    assert value.isprintable()
    assert value.count('"') == 2
    plain, whole = parsed(value)
    assert whole == f"{stem}.tar.gz"
    assert plain.endswith(".tar.gz")


def test_a_plain_name_is_told_once() -> None:
    assert disposition("train_2.tar.gz") == 'attachment; filename="train_2.tar.gz"'
