"""A result whose machine went down is published only if it was synced before."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from compute.journal.entry import Entry, Phase, new_entry
from compute.journal.journal import Journal
from compute.journal.kept_results import may_be_torn, sync_results
from shared.runtime.durable import boot_id
from tests.builders import new_assignment, new_task


def ended(publisher: str = "s3managed", execution_id: str = "e-1") -> Entry:
    task = new_task(publisher=publisher)
    assignment = new_assignment(execution_id, task=task)
    return replace(new_entry(assignment), phase=Phase.ENDED)


@pytest.mark.parametrize(
    ("change", "is_torn"),
    [
        ({}, False),
        ({"boot_id": "another"}, True),
        ({"boot_id": ""}, False),
        ({"boot_id": "another", "phase": Phase.PUBLISHED}, False),
    ],
)
def test_a_result_of_an_earlier_boot_that_was_not_synced_may_be_torn(
    change: dict[str, str | Phase], *, is_torn: bool
) -> None:
    assert may_be_torn(replace(ended(), **change)) is is_torn


def test_what_is_not_published_is_in_the_journal_and_not_torn() -> None:
    assert not may_be_torn(replace(ended(publisher=""), boot_id="another"))


async def test_a_node_that_ends_in_order_syncs_the_results_that_wait(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "executions")
    entries = [ended(), ended(execution_id="e-2"), replace(ended(execution_id="e-3"), phase=Phase.STARTED)]
    for entry in entries:
        await journal.write(entry)
    result = journal.workspace(entries[0]).result
    (result / "folder").mkdir(parents=True)
    (result / "folder" / "file").write_text("content")
    (result / "link").symlink_to("/nowhere")
    sync_results(journal)
    await journal.close()
    found = [entry for entry in Journal(tmp_path / "executions").recover() if isinstance(entry, Entry)]
    kept = {entry.execution_id: entry.boot_id for entry in found}
    assert kept == {"e-1": "", "e-2": boot_id(), "e-3": boot_id()}, "e-2 has no result that could be synced"
