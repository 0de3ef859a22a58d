import os
import re
import shlex
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec
import nkeys
import pytest

from orchestrator.admission.secret_files import (
    SecretInvalid,
    Secrets,
    SecretSources,
    join_line,
    left_join_secret,
    load_secrets,
)
from shared.settings.secret import Secret

NOBODY = 65534
NAMES = (
    "issuer.nkey",
    "orchestrator.nkey",
    "integration.secret",
    "task-secrets.key",
    "authority.secret",
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator" / "secrets"


def private_file(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def revealed(found: Secrets) -> list[str]:
    return [
        secret.reveal()
        for secret in (
            found.issuer_seed,
            found.orchestrator_seed,
            found.integration_secret,
            found.task_secrets_key,
            found.authority_secret,
        )
    ]


def test_what_is_missing_is_made_and_stays(directory: Path) -> None:
    first = load_secrets(SecretSources(directory=directory))
    assert revealed(load_secrets(SecretSources(directory=directory))) == revealed(first)
    assert {path.name for path in directory.iterdir()} == set(NAMES)


def test_what_is_made_is_for_one_user_alone(directory: Path) -> None:
    mask = os.umask(0)
    try:
        load_secrets(SecretSources(directory=directory))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_every_orchestrator_makes_its_own(tmp_path: Path) -> None:
    first = load_secrets(SecretSources(directory=tmp_path / "a"))
    second = load_secrets(SecretSources(directory=tmp_path / "b"))
    assert not set(revealed(first)) & set(revealed(second))
    assert len(set(revealed(first))) == 5


def test_the_secrets_are_of_the_kinds_that_nats_knows(directory: Path) -> None:
    found = load_secrets(SecretSources(directory=directory))
    assert re.fullmatch(r"A[A-Z2-7]{55}", found.issuer_public_key)
    assert re.fullmatch(r"U[A-Z2-7]{55}", found.orchestrator_public_key)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", found.integration_secret.reveal())


def test_secrets_do_not_show_themselves(directory: Path) -> None:
    found = load_secrets(SecretSources(directory=directory))
    shown = f"{found} {found!r} {[found]}"
    assert [secret for secret in revealed(found) if secret in shown] == []


def test_processes_that_start_at_once_agree(directory: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: revealed(load_secrets(SecretSources(directory=directory))), range(32)))
    assert all(each == found[0] for each in found)
    assert {path.name for path in directory.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_can_open_is_refused_with_the_cure(directory: Path, name: str, mode: int) -> None:
    found = load_secrets(SecretSources(directory=directory))
    (directory / name).chmod(mode)
    with pytest.raises(SecretInvalid) as refused:
        load_secrets(SecretSources(directory=directory))
    assert refused.value.hint == f"chmod 600 {shlex.quote(str(directory / name))}"
    assert [secret for secret in revealed(found) if secret in refused.value.message] == []


def test_orchestrators_share_the_files_that_settings_name(tmp_path: Path) -> None:
    first = load_secrets(SecretSources(directory=tmp_path / "a"))
    shared = [tmp_path / "a" / name for name in NAMES]
    second = load_secrets(
        SecretSources(
            directory=tmp_path / "b",
            issuer_seed_file=shared[0],
            orchestrator_seed_file=shared[1],
            integration_secret_file=shared[2],
            task_secrets_key_file=shared[3],
            authority_file=shared[4],
        )
    )
    assert revealed(second) == revealed(first)
    assert list((tmp_path / "b").iterdir()) == []


@pytest.mark.parametrize(
    "setting",
    [
        "issuer_seed_file",
        "orchestrator_seed_file",
        "join_secret_file",
        "integration_secret_file",
        "task_secrets_key_file",
    ],
)
def test_a_file_that_a_setting_names_must_exist(directory: Path, setting: str) -> None:
    sources = msgspec.structs.replace(SecretSources(directory=directory), **{setting: directory / "absent"})
    with pytest.raises(SecretInvalid, match="absent"):
        load_secrets(sources)
    assert not (directory / "absent").exists()


def test_no_join_secret_is_made(directory: Path) -> None:
    found = load_secrets(SecretSources(directory=directory))
    assert not found.join_secret
    assert left_join_secret(SecretSources(directory=directory)) is None


def test_a_join_secret_that_an_earlier_version_has_made_goes_on(directory: Path) -> None:
    directory.mkdir(parents=True)
    file = private_file(directory / "join.secret", "of-an-earlier-version\n")
    sources = SecretSources(directory=directory)
    assert load_secrets(sources).join_secret.reveal() == "of-an-earlier-version"
    assert left_join_secret(sources) == file
    set_by_name = SecretSources(directory=directory, join_secret=Secret("set"))
    assert load_secrets(set_by_name).join_secret.reveal() == "set"
    assert left_join_secret(set_by_name) is None
    file.chmod(0o644)
    with pytest.raises(SecretInvalid, match="open to other users"):
        load_secrets(sources)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends files")
@pytest.mark.parametrize(("mode", "is_taken"), [(0o440, True), (0o640, True), (0o460, False), (0o444, False)])
def test_a_secret_of_roots_may_be_lent_to_our_group_and_to_nobody_else(mode: int, *, is_taken: bool) -> None:
    """As systemd and Kubernetes give them."""
    with tempfile.TemporaryDirectory() as folder:
        made = load_secrets(SecretSources(directory=Path(folder) / "secrets"))
        lent = private_file(Path(folder) / "issuer.nkey", made.issuer_seed.reveal())
        os.chown(folder, NOBODY, NOBODY)
        os.chown(lent, 0, NOBODY)
        lent.chmod(mode)
        sources = SecretSources(directory=Path(folder) / "ours", issuer_seed_file=lent)
        with as_nobody(), nullcontext() if is_taken else pytest.raises(SecretInvalid, match="open to other users"):
            assert load_secrets(sources).issuer_public_key == made.issuer_public_key


@contextmanager
def as_nobody() -> Iterator[None]:
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def test_a_join_secret_may_be_given_as_text(directory: Path) -> None:
    found = load_secrets(SecretSources(directory=directory, join_secret=Secret("from-the-environment")))
    assert found.join_secret.reveal() == "from-the-environment"
    assert not (directory / "join.secret").exists()


def test_a_join_secret_may_be_given_as_a_file_that_ends_with_a_line_end(directory: Path, tmp_path: Path) -> None:
    file = private_file(tmp_path / "token", "from-a-file\r\n")
    found = load_secrets(SecretSources(directory=directory, join_secret_file=file))
    assert found.join_secret.reveal() == "from-a-file"


def test_a_join_secret_that_is_given_twice_is_refused(directory: Path, tmp_path: Path) -> None:
    sources = SecretSources(directory=directory, join_secret=Secret("one"), join_secret_file=tmp_path / "token")
    with pytest.raises(SecretInvalid, match="twice"):
        load_secrets(sources)


@pytest.mark.parametrize("text", ["", "\n", "two words", "zwei\nZeilen", "über", "nul\0"])
def test_a_join_secret_that_cannot_be_one_is_refused(directory: Path, tmp_path: Path, text: str) -> None:
    file = private_file(tmp_path / "token", text)
    with pytest.raises(SecretInvalid):
        load_secrets(SecretSources(directory=directory, join_secret_file=file))


USER_SEED = str(nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER), "ascii")


@pytest.mark.parametrize("text", [USER_SEED, USER_SEED[:-1], USER_SEED.lower(), "secret", "SA", "S" * 58])
def test_what_is_not_an_accounts_seed_signs_nothing(directory: Path, tmp_path: Path, text: str) -> None:
    file = private_file(tmp_path / "seed", text)
    with pytest.raises(SecretInvalid) as refused:
        load_secrets(SecretSources(directory=directory, issuer_seed_file=file))
    assert text not in refused.value.message


def test_a_seed_with_a_mistyped_letter_is_refused(directory: Path, tmp_path: Path) -> None:
    mistyped = USER_SEED[:20] + ("A" if USER_SEED[20] != "A" else "B") + USER_SEED[21:]
    file = private_file(tmp_path / "seed", mistyped)
    with pytest.raises(SecretInvalid):
        load_secrets(SecretSources(directory=directory, orchestrator_seed_file=file))


def test_the_line_for_a_node_that_has_joined_needs_no_secret() -> None:
    line = join_line(Secret(), ["tls://a:4222"])
    assert shlex.split(line) == ["tarpon", "serve", "--compute", "-c", "Compute.Orchestrators=tls://a:4222"]


def test_the_line_that_starts_a_node_has_the_secret_in_the_environment() -> None:
    words = shlex.split(join_line(Secret("a b'c$d"), ["nats://a:4222", "nats://[::1]:4222"]))
    assert words == [
        "TARPON_COMPUTE_AUTH_TOKEN=a b'c$d",
        "tarpon",
        "serve",
        "--compute",
        "-c",
        "Compute.Orchestrators=nats://a:4222,nats://[::1]:4222",
    ]
