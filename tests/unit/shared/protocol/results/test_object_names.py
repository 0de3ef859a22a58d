"""Paths of files as keys of objects: nothing is lost, and nothing leads elsewhere."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.results.object_names import UnsafeName, object_name

NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and name not in {b".", b".."})


@given(st.lists(NAMES, min_size=1, max_size=4).map(b"/".join))
def test_a_path_is_found_again_in_its_key_which_is_text_that_lists_can_spell(path: bytes) -> None:
    key = object_name(path)
    assert unquote_to_bytes(key) == path
    assert not any(ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0 for each in key)
    assert key.encode().decode() == key
    assert key.count("/") == path.count(b"/")


@pytest.mark.parametrize("name", ["a b", "ä", "~a+b&c=d?", "名前", "a'(b)*!", "\\"])
def test_tools_find_files_under_their_own_names(name: str) -> None:
    assert object_name(name.encode()) == name


@pytest.mark.parametrize("path", [b"", b"/a", b"a/", b"a//b", b".", b"a/..", b"../a", b"a/./b"])
def test_what_leads_elsewhere_is_no_name(path: bytes) -> None:
    with pytest.raises(UnsafeName):
        object_name(path)
