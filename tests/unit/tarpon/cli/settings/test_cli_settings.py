"""How a setting comes into a configuration file without harm to what is there."""

import stat
from pathlib import Path

import pytest

from shared.data.decoding import load_yaml
from shared.errors import ConfigurationInvalid, Conflict, InvalidDocument
from tarpon.cli.settings.config_file import write_setting
from tarpon.cli.settings.yaml_editing import Plain, with_value

PATH = ("API", "Port")


def edited(text: str, value: Plain = 1, path: tuple[str, ...] = PATH) -> str:
    return with_value(text, path, value, what="the file")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "API:\n  Port: 1\n"),
        ("# only this\n", "# only this\nAPI:\n  Port: 1\n"),
        ("Labels: {a: b}", "Labels: {a: b}\nAPI:\n  Port: 1\n"),
        ("API:\n  Port: 7 # old\n", "API:\n  Port: 1 # old\n"),
        ("api:\n    port: '7'\n", "api:\n    port: 1\n"),
        ("API:\n  Host: x # here\n\n# end\n", "API:\n  Host: x # here\n  Port: 1\n\n# end\n"),
        ("API:\n", "API:\n  Port: 1\n"),
        ("API: # nothing\nLabels: {}\n", "API:\n  Port: 1 # nothing\nLabels: {}\n"),
        ("API:\n  Port:\n  Host: x\n", "API:\n  Port: 1\n  Host: x\n"),
        ("API: {}\n", "API: {Port: 1}\n"),
        ("API: {Host: x}\n", "API: {Port: 1, Host: x}\n"),
        ("{API: {Port: 7}, Labels: {}}", "{API: {Port: 1}, Labels: {}}"),
        ("API:\n  Host: x\nLabels: {}\n", "API:\n  Host: x\n  Port: 1\nLabels: {}\n"),
        ("API:\n  Host: |-\n    x\nLabels: {}\n", "API:\n  Host: |-\n    x\n  Port: 1\nLabels: {}\n"),
        ("API:\n  <<: {Port: 7}\n", "API:\n  <<: {Port: 7}\n  Port: 1\n"),
        ("---\nAPI:\n  Host: x\n", "---\nAPI:\n  Host: x\n  Port: 1\n"),
        ("API:\r\n  Port: 7\r\n", "API:\r\n  Port: 1\r\n"),
    ],
)
def test_only_the_one_value_changes(before: str, after: str) -> None:
    assert edited(before) == after


def test_a_list_takes_the_place_of_a_list() -> None:
    text = "Compute:\n  Orchestrators:\n    - nats://a:1\n    - nats://b:2 # second\n  Enabled: true\n"
    found = edited(text, ["nats://c:3"], ("Compute", "Orchestrators"))
    assert load_yaml(found, what="it") == {"Compute": {"Orchestrators": ["nats://c:3"], "Enabled": True}}


@pytest.mark.parametrize(
    "value", ["plain", "", "yes", "012", "1h", "a: b", "# x", "~/data", "tab\there", "é", ["a", "1"], {"a": "true"}]
)
def test_every_value_reads_back_as_it_is(value: Plain) -> None:
    assert load_yaml(edited("", value), what="it") == {"API": {"Port": value}}


@pytest.mark.parametrize(
    "text",
    [
        "API: &a\n  Port: 1\nOther: *a\n",  # both would change
        "Base: &b {Port: 7}\nAPI: *b\n",
        "API: text\n",
    ],
)
def test_what_cannot_be_changed_alone_is_left_to_a_person(text: str) -> None:
    with pytest.raises(Conflict, match="too intricate") as caught:
        edited(text, 2)
    assert "API.Port: 2" in caught.value.hint


def test_a_file_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(InvalidDocument):
        edited("API: [1")


# ---- files ------------------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("API:\n  Port: 7\n")
    path.chmod(0o640)
    assert write_setting(path, "API.Port", 8, {}) == ()
    assert mode(path) == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["config.yaml"]


def test_a_file_with_a_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("compute:\n  auth: {token: hush}\n")
    path.chmod(0o644)
    write_setting(path, "API.Port", 8, {})
    assert mode(path) == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "config.yaml"
    real.write_text("")
    link.symlink_to(real)
    write_setting(link, "API.Port", 8, {})
    assert link.is_symlink()
    assert real.read_text() == "API:\n  Port: 8\n"


def test_a_change_that_brings_a_problem_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("Compute: {Auth: {Token: a}}\n")
    with pytest.raises(ConfigurationInvalid, match=r"Compute.Auth.TokenFile are both set"):
        write_setting(path, "Compute.Auth.TokenFile", "/b", {})
    assert path.read_text() == "Compute: {Auth: {Token: a}}\n"
    assert [each.name for each in tmp_path.iterdir()] == ["config.yaml"]


def test_a_file_with_two_problems_can_be_put_right_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("API: {Port: x}\nLogging: {Level: loud}\n")
    (left,) = write_setting(path, "API.Port", 8, {})
    assert "Logging.Level" in left
    assert str(path) in left
    assert write_setting(path, "Logging.Level", "info", {}) == ()


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="cannot be written: No such file"):
        write_setting(tmp_path / "none" / "config.yaml", "API.Port", 8, {})
