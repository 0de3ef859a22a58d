"""Backups as files: of one moment, whole or refused, and put into nothing but an empty state."""

import asyncio
import gzip
import hashlib
import json
import re
import time
from pathlib import Path

import pytest

from orchestrator.backups.backup import restore, take_backup
from orchestrator.backups.backup_file import FORMAT, BackupDamaged, BackupNewer, BackupReader, FileExists
from orchestrator.backups.secret_copies import SecretsDiffer
from orchestrator.rules.records import NEWEST_SCHEMA, NamespaceRecord
from orchestrator.storage import record_dump
from orchestrator.storage.record_dump import DumpedRecord, RecordDump, StateAbsent
from orchestrator.storage.record_refill import Refill, StateNotEmpty
from orchestrator.storage.store import StateUnfinished
from shared.errors import NotFound
from shared.settings.config import Config
from shared.settings.loading import load
from tests.integration.orchestrator.test_several_orchestrators import following
from tests.integration.running import Running, running_orchestrator
from tests.nats_bus import Bus
from tests.servers import HOST, S3Server, free_ports
from tests.waiting import answered


def ignore(_done: int, _of: int) -> None:
    """Nobody watches."""


def weight(namespace: str, value: int = 2) -> NamespaceRecord:
    return NamespaceRecord(namespace=namespace, weight=value, modify_time=1)


def settings(folder: Path) -> Config:
    api, nats = free_ports(2)
    ports = [f"API.Port={api}", f"Orchestrator.Port={nats}", f"Orchestrator.Host={HOST}"]
    return load(sets=[f"DataDir={folder}", *ports], env={}).config


async def dumped(dump: RecordDump) -> list[DumpedRecord]:
    return [each async for batch in dump.batches() for each in batch]


def state_of(found: list[DumpedRecord]) -> dict[str, bytes]:
    """What a state has into which these were put."""
    state: dict[str, bytes] = {}
    for each in found:
        state.pop(each.key, None)
        if each.payload is not None:
            state[each.key] = each.payload
    return state


class TestRecordDump:
    async def test_it_is_of_one_moment_whatever_is_written_meanwhile(
        self, any_bus: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(record_dump, "BATCH", 2)
        async with following(any_bus.connection) as store:
            for name in "abcdef":
                await store.create(weight(name).key, weight(name))
            dump, found = RecordDump(any_bus.connection), list[DumpedRecord]()
            async for batch in dump.batches():
                if not found:
                    await store.update(weight("f").key, weight("f", 7))
                    await store.delete(weight("a").key)
                    await store.create(weight("g").key, weight("g"))
                found += batch
            info = await any_bus.jetstream.stream_info(record_dump.STREAM)
            assert dump.revision == info.state.last_seq
            assert set(state_of(found)) == {weight(name).key for name in "bcdefg"}
            assert b'"weight":7' in state_of(found)[weight("f").key]

    async def test_a_record_that_was_removed_before_is_not_in_it(self, bus: Bus) -> None:
        async with following(bus.connection) as store:
            await store.create(weight("a").key, weight("a"))
            await store.delete(weight("a").key)
            assert await dumped(RecordDump(bus.connection)) == []

    async def test_nothing_can_be_read_where_nothing_was_ever_stored(self, bus: Bus) -> None:
        await bus.jetstream.delete_stream(record_dump.STREAM)
        with pytest.raises(StateAbsent):
            await dumped(RecordDump(bus.connection))


class TestRefill:
    async def test_revisions_go_on_far_above_those_of_the_backup(self, any_bus: Bus) -> None:
        refill = Refill(any_bus.connection, replicas=any_bus.replicas)
        await refill.begin(above=1_000_000)
        await refill.put([DumpedRecord(weight("a").key, 7, b'{"namespace":"a","weight":2,"modify_time":1}')])
        await refill.end()
        async with following(any_bus.connection) as store:
            assert store.model.revision_of(weight("a").key) > 1_000_000
            assert store.model.incarnation == refill.incarnation
            assert store.may_decide

    async def test_a_later_line_of_a_record_counts_and_one_that_is_gone_is_not_there(self, bus: Bus) -> None:
        refill = Refill(bus.connection, replicas=1)
        await refill.begin(above=0)
        value = b'{"namespace":"%s","weight":%d,"modify_time":1}'
        lines = [("a", value % (b"a", 2)), ("b", value % (b"b", 2)), ("a", value % (b"a", 9)), ("b", None)]
        await refill.put([DumpedRecord(weight(name).key, 1, payload) for name, payload in lines])
        await refill.end()
        async with following(bus.connection) as store:
            found = {name: await store.read(weight(name).key) for name in "ab"}
            assert found == {"a": NamespaceRecord(namespace="a", weight=9, modify_time=1), "b": None}

    async def test_nothing_is_decided_by_half_a_state_which_may_be_filled_anew(self, any_bus: Bus) -> None:
        interrupted = Refill(any_bus.connection, replicas=any_bus.replicas)
        await interrupted.begin(above=5)
        async with following(any_bus.connection) as store:
            with pytest.raises(StateUnfinished):
                store.check_ready()
            decided = [store.may_decide]
            again = Refill(any_bus.connection, replicas=any_bus.replicas)
            await again.begin(above=5)
            await again.end()
            await store.catch_up()
            store.check_ready()
            assert [*decided, store.may_decide] == [False, True]

    async def test_nothing_is_put_over_what_is_stored(self, any_bus: Bus) -> None:
        async with following(any_bus.connection) as store:
            await store.create(weight("a").key, weight("a"))
            with pytest.raises(StateNotEmpty):
                await Refill(any_bus.connection, replicas=any_bus.replicas).begin(above=0)
            await store.catch_up()
            assert store.model.revision_of(weight("a").key)


def lines_of(file: Path) -> list[bytes]:
    return gzip.decompress(file.read_bytes()).splitlines(keepends=True)


def with_lines(file: Path, *lines: bytes) -> Path:
    """As a program that wrote these lines would have ended it."""
    digest = hashlib.sha256(b"".join(lines)).hexdigest()
    end = {"records": len(lines) - 1, "revision": 9, "sha256": digest}
    file.write_bytes(gzip.compress(b"".join(lines) + json.dumps(end).encode() + b"\n"))
    return file


HEADER = b'{"format":1,"version":"0.1.0","taken":1,"issuer":"A"}\n'
LINE = b'{"key":"namespace.YQ","revision":3,"record":{"namespace":"a","weight":2,"modify_time":1}}\n'


class TestBackupFile:
    def test_one_of_the_first_format_is_read(self, tmp_path: Path) -> None:
        """Nobody may change these lines: there are backups that have them."""
        reader = BackupReader(
            with_lines(tmp_path / "file", HEADER, LINE, b'{"key":"token.t","revision":4,"gone":true}\n')
        )
        header, end = reader.check()
        assert (header.version, header.issuer, header.secrets, end.records) == ("0.1.0", "A", {}, 2)
        assert list(reader.records()) == [
            DumpedRecord("namespace.YQ", 3, b'{"namespace":"a","weight":2,"modify_time":1}'),
            DumpedRecord("token.t", 4, None),
        ]

    @pytest.mark.parametrize("at", [0, 20, -30, -1])
    def test_one_that_was_cut_off_is_refused(self, tmp_path: Path, at: int) -> None:
        file = with_lines(tmp_path / "file", HEADER, LINE, LINE)
        file.write_bytes(file.read_bytes()[:at])
        with pytest.raises(BackupDamaged):
            BackupReader(file).check()

    def test_one_of_which_a_record_was_changed_is_refused(self, tmp_path: Path) -> None:
        file = with_lines(tmp_path / "file", HEADER, LINE)
        changed = gzip.decompress(file.read_bytes()).replace(b'"weight":2', b'"weight":3')
        file.write_bytes(gzip.compress(changed))
        with pytest.raises(BackupDamaged):
            BackupReader(file).check()

    @pytest.mark.parametrize(
        ("header", "line", "told"),
        [
            (HEADER.replace(b'"format":1', b'"format":2'), LINE, f"format {FORMAT + 1}"),
            (HEADER, LINE.replace(b'"record":{', b'"record":{"schema":99,'), "schema 99"),
        ],
        ids=["format", "schema"],
    )
    def test_one_of_a_later_version_is_refused_with_what_is_later(
        self, tmp_path: Path, header: bytes, line: bytes, told: str
    ) -> None:
        with pytest.raises(BackupNewer) as refused:
            BackupReader(with_lines(tmp_path / "file", header, line)).check()
        assert told in refused.value.message
        assert str(NEWEST_SCHEMA) in refused.value.message or "format" in told

    def test_a_file_that_is_none_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        with pytest.raises(NotFound):
            BackupReader(file).check()
        file.write_text("not at all")
        with pytest.raises(BackupDamaged):
            BackupReader(file).check()


async def test_a_backup_of_a_stopped_orchestrator_is_restored_with_its_secrets(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.backup"
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running:
        await running.api("/namespaces/team-a", {"Weight": 3}, "PUT")
        config = running.config
    taken = await take_backup(config, file, with_secrets=True, progress=ignore)
    with pytest.raises(FileExists):
        await take_backup(config, file, with_secrets=False, progress=ignore)
    assert [each.name for each in tmp_path.iterdir() if "backup" in each.name] == [file.name], "no draft is left"

    elsewhere = settings(tmp_path / "elsewhere")
    restored = await restore(elsewhere, file, progress=ignore)
    assert (restored.records, restored.knows_nodes) == (taken.records, True)
    for name in restored.secrets:
        path = Path("orchestrator", "secrets", name)
        assert (elsewhere.data_dir / path).read_text() == (config.data_dir / path).read_text()
        assert (elsewhere.data_dir / path).stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateNotEmpty):
        await restore(elsewhere, file, progress=ignore)


async def test_when_the_last_backup_was_taken_is_told_by_each_orchestrator_also_after_a_restart_and_a_restore(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, before = tmp_path / "state.backup", time.time()
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running:
        assert await last_backup(running) is None
        taken = await take_backup(running.config, file, with_secrets=True, progress=ignore)
        at = await answered(lambda: last_backup(running), what="it is known")
        with pytest.raises(FileExists):
            await take_backup(running.config, file, with_secrets=True, progress=ignore)
        assert await last_backup(running) == at, "one that is not whole does not count"
    assert taken.noted
    assert at is not None
    assert before < at < time.time()
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as again:
        assert await last_backup(again) == at
    await restore(settings(tmp_path / "elsewhere" / "data"), file, progress=ignore)
    async with running_orchestrator(tmp_path / "elsewhere", s3_server, monkeypatch, publisher=False) as restored:
        assert await last_backup(restored) == at


async def last_backup(running: Running) -> float | None:
    """In seconds since 1970, as Prometheus is told."""
    text = (await running.ask("/metrics")).body.decode()
    found = re.search(r"^tarpon_last_backup_timestamp_seconds (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


async def test_other_secrets_are_not_replaced(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.backup"
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running:
        await take_backup(running.config, file, with_secrets=True, progress=ignore)
    elsewhere = settings(tmp_path / "elsewhere")
    secrets = elsewhere.data_dir / "orchestrator" / "secrets"
    await asyncio.to_thread(secrets.mkdir, parents=True)
    other = secrets / "integration.secret"
    other.touch(mode=0o600)
    other.write_text("another-secret")
    with pytest.raises(SecretsDiffer):
        await restore(elsewhere, file, progress=ignore)
    assert [each.name for each in secrets.iterdir()] == [other.name]
