"""When those who watch a job are sent the job itself."""

import pytest

from orchestrator.api.event_stream import _is_news

WAITS = "Waiting for free CPU on 2 suitable node(s)."
RUNNING, WAITING, OTHER = ("Running", "", ""), ("Running", "", WAITS), ("Running", "", "Waiting for node n-1.")


@pytest.mark.parametrize(
    ("before", "now", "is_news"),
    [
        (("", "", ""), RUNNING, True),
        (RUNNING, RUNNING, False),
        (RUNNING, WAITING, True),
        (WAITING, WAITING, False),
        (WAITING, OTHER, True),
        (WAITING, RUNNING, False),
        (("Queued", WAITS, ""), RUNNING, True),
        (("Queued", WAITS, ""), ("Pending", "", ""), True),
        (WAITING, ("Completed", "", ""), True),
    ],
)
def test_it_is_sent_when_its_state_or_what_it_waits_for_is_another(
    *, before: tuple[str, str, str], now: tuple[str, str, str], is_news: bool
) -> None:
    assert _is_news(now, before) is is_news
