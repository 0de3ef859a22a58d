"""Commands of the life cycle, carried out once the record that they follow from is stored."""

from collections.abc import Iterable
from typing import assert_never

from orchestrator.dispatch.assignments import Offers
from orchestrator.dispatch.receipts import Receipts
from orchestrator.rules.life_events import Cancel, Command, ForgetExecution, OfferExecution


class Commands:
    """Each is begun here, and may fail without harm: what is lost is made good when the node registers."""

    def __init__(self, offers: Offers, receipts: Receipts) -> None:
        self._offers = offers
        self._receipts = receipts

    def carry_out(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case OfferExecution(record):
                    self._offers.offer(record)
                case Cancel(record, reason):
                    self._offers.cancel(record, reason)
                case ForgetExecution(node, execution):
                    self._receipts.send(node, execution)
                case _:
                    assert_never(command)

    def __repr__(self) -> str:
        return "<Commands>"
