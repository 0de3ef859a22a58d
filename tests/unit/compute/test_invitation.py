"""Where a node goes and what it shows: by its settings, and where these are silent by its join token."""

from pathlib import Path

import pytest

from compute.uplink.invitation import LOCAL, invitation
from shared.errors import ConfigurationInvalid
from shared.protocol.pasted import ApiKey, JoinToken, PastedTextMistyped, PastedTextOfOtherKind, PastedTextTruncated
from shared.settings.config import Auth, Compute, Config
from shared.settings.secret import Secret
from shared.settings.tls.declared import FilePath

TOKEN = JoinToken(id="t1", secret=bytes(32), addresses=("nats://tarpon.example:4222",), authority=(b"certificate",))


def config(text: str = "", *, servers: tuple[str, ...] = (), file: Path | None = None) -> Config:
    auth = Auth(token=Secret(text), token_file=FilePath(str(file or "")))
    return Config(data_dir=Path("/nowhere"), compute=Compute(orchestrators=servers, auth=auth))


def test_a_token_says_where_to_go_and_whom_to_trust() -> None:
    found = invitation(config(TOKEN.text()))
    assert (found.servers, found.authority, found.token) == (TOKEN.addresses, TOKEN.authority, "t1")


def test_of_a_token_the_id_and_the_secret_alone_are_shown() -> None:
    found = invitation(config(f" {TOKEN.text()}\n"))
    assert found.shown == TOKEN.credential
    assert len(found.shown) < 50
    assert TOKEN.credential not in repr(found)


def test_addresses_of_the_settings_go_before_those_of_the_token() -> None:
    assert invitation(config(TOKEN.text(), servers=("nats://10.0.0.1:4222",))).servers == ("nats://10.0.0.1:4222",)


def test_without_a_token_the_orchestrator_is_on_this_machine() -> None:
    assert invitation(config("a-join-secret")).servers == LOCAL
    assert invitation(config("a-join-secret")).shown == "a-join-secret"
    assert invitation(config()).shown == ""


def test_a_token_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN.text()}\n")
    assert invitation(config(file=file)).token == "t1"
    with pytest.raises(ConfigurationInvalid, match=r"Compute\.Auth\.TokenFile: .* cannot be read"):
        invitation(config(file=tmp_path / "absent"))


def test_a_token_that_cannot_be_one_is_not_sent_anywhere() -> None:
    text = TOKEN.text()
    with pytest.raises(PastedTextTruncated):
        invitation(config(text[:-1]))
    with pytest.raises(PastedTextMistyped):
        invitation(config(text[:40] + ("A" if text[40] != "A" else "B") + text[41:]))


def test_an_api_key_is_no_join_token() -> None:
    with pytest.raises(PastedTextOfOtherKind, match="a join token is an API key"):
        invitation(config(ApiKey(id="k1", secret=bytes(32)).text()))
