"""What a file from a URL is called."""

import pytest

from compute.inputs.web.file_names import FALLBACK, MAX_BYTES, name_of


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/train.csv", "train.csv"),
        ("/data/", "data"),
        ("/", FALLBACK),
        ("", FALLBACK),
        ("/a%20b%C3%A9.txt", "a bé.txt"),
        ("/x/..%2f..%2fetc%2fpasswd", "passwd"),
        ("/%2e%2e", FALLBACK),
        ("/..", FALLBACK),
        ("/%00%0a%1b[2Jx", "[2Jx"),
        ("/%ff", "\ufffd"),
    ],
)
def test_a_path_gives_its_last_part(path: str, name: str) -> None:
    assert name_of(path) == name


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="model.bin"', "model.bin"),
        ("attachment; filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"),
        ('attachment; filename="../../etc/cron.d/x"', "x"),
        ("attachment; filename*=UTF-8''..%2F..%2Fx", "x"),
        ("attachment; filename*=no-such''a", "a"),
        ('attachment; filename=".."', "path"),
        ("attachment", "path"),
        (";;;=", "path"),
    ],
)
def test_a_server_may_call_it_otherwise(disposition: str, name: str) -> None:
    assert name_of("/path", disposition) == name


def test_a_long_name_is_cut_before_its_ending_and_within_a_character() -> None:
    name = name_of("/" + "é" * 300 + ".tar.gz")
    assert len(name.encode()) <= MAX_BYTES
    assert name.endswith("é.gz")
