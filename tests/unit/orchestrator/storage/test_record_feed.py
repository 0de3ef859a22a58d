"""What a delivery tells of itself is read as nats-py reads it."""

import pytest
from nats.aio.msg import Msg

from orchestrator.storage.record_feed import delivered, place

SHORT = "$JS.ACK.KV_state.feed.1.4711.815.1700000000000000000.3"


@pytest.mark.parametrize(
    "reply",
    [
        SHORT,
        SHORT.replace("ACK", "ACK.hub.ACCOUNTHASH"),
        SHORT.replace("ACK", "ACK._.ACCOUNTHASH"),
        SHORT.replace("ACK", "ACK._.ACCOUNTHASH") + ".random",
    ],
    ids=["short", "with a domain", "without one", "with more to come"],
)
def test_the_numbers_of_a_delivery_are_those_that_nats_py_reads(reply: str) -> None:
    found = Msg.Metadata._from_reply(reply)
    assert place(reply) == (
        found.sequence.stream,
        found.sequence.consumer,
        round(found.timestamp.timestamp() * 1e9),
        found.num_pending,
    )
    assert place(reply) == (4711, 815, 1_700_000_000_000_000_000, 3)


def test_how_often_a_delivery_was_made_is_told_in_each_form() -> None:
    assert delivered("$JS.ACK.S.C.7.4711.815.1700000000000000000.3") == 7
    assert delivered("$JS.ACK.hub.HASH.S.C.7.4711.815.1700000000000000000.3") == 7
