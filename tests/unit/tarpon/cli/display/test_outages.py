"""What is told of an orchestrator that does not answer to a command that waits for it."""

from shared.runtime.network_problems import REFUSED
from tarpon.cli.display.outages import TOLD_AFTER_SECONDS, Outages
from tarpon.http.calls import Absence, Calls

URL = "http://127.0.0.1:1"


def absent(seconds: float) -> Absence:
    return Absence(seconds, REFUSED, URL)


def test_an_outage_is_told_once_when_it_lasts_and_once_when_it_is_over() -> None:
    told: list[str] = []
    outages = Outages(told.append)
    for seconds in (0.1, TOLD_AFTER_SECONDS, TOLD_AFTER_SECONDS + 1, 60.0):
        outages.look(absent(seconds))
    (begun,) = told
    assert f"No orchestrator answers at {URL}: the connection is refused" in begun
    assert "the job goes on" in begun
    for _ in range(2):
        outages.look(None)
    assert told[1:] == ["The orchestrator answers again."]


def test_an_orchestrator_that_is_back_at_once_is_not_worth_a_line() -> None:
    told: list[str] = []
    outages = Outages(told.append)
    for each in (absent(TOLD_AFTER_SECONDS / 2), None, absent(0.1), None):
        outages.look(each)
    assert told == []


def test_each_of_several_outages_is_told() -> None:
    told: list[str] = []
    outages = Outages(told.append)
    for each in (absent(3), None, absent(3), None):
        outages.look(each)
    assert len(told) == 4


def test_what_an_orchestrator_says_of_itself_steers_no_terminal() -> None:
    told: list[str] = []
    Outages(told.append).look(Absence(3, "not ready (\x1b[2J\nError: no)", URL))
    assert "".join(told).isprintable()


def test_an_absence_is_counted_from_the_first_answer_that_is_missed_to_the_next_that_comes() -> None:
    calls = Calls([URL], timeout=1)
    calls.missed(REFUSED)
    assert calls.absence() is None, "nobody has ever answered, which is an error at once"
    calls.answered()
    assert calls.absence() is None
    calls.missed(REFUSED)
    first = calls.absence()
    calls.missed("it is not ready (no)")
    second = calls.absence()
    assert first is not None
    assert second is not None
    assert second.seconds >= first.seconds
    assert (second.why, second.told) == ("it is not ready (no)", URL)
    calls.answered()
    assert calls.absence() is None
