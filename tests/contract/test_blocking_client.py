"""The client without `await` has each call of the asynchronous one, with the same arguments and answer."""

from tests import blocking_client_file


def test_the_file_is_what_the_asynchronous_client_makes_of_it() -> None:
    told = "`python -m tests.blocking_client_file` writes it anew"
    assert blocking_client_file.FILE.read_text(encoding="utf-8") == blocking_client_file.content(), told
