"""What webhooks say, and how a receiver knows that it is from us."""

import json

import pytest
from msgspec.structs import replace

from orchestrator.rules.records import JUST_RECORDED, Event, SpecRecord
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.webhooks.events import event_of, headers_of
from orchestrator.webhooks.secret import WebhookSecretInvalid, secret_bytes
from shared.ids import JobId, execution_key
from shared.jobs.states import ExecutionState
from shared.protocol import subjects
from shared.settings.secret import Secret
from tests.builders import new_execution, new_job, new_job_record

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""With the rest of the example in the specification of Standard Webhooks."""
ALL = ("job.completed", "job.failed", "job.stopped")
JOB = JobId("j-1")
SECOND = 10**9


def ended(state: ExecutionState = ExecutionState.COMPLETED, *, namespace: str = "default") -> JobEntry:
    """A job whose one execution ended so, by the fourth write."""
    model = Model(max_attempts=1)
    spec = new_job("nightly", namespace=namespace)
    model.apply(subjects.spec_record(JOB, 1), SpecRecord(job=spec), 1)
    happened = Event(time=SECOND, number=JUST_RECORDED, topic="State Update", message="It happened.")
    record = replace(new_job_record(JOB, at=SECOND), name="nightly", namespace=namespace, events=(happened,))
    model.apply(subjects.job_record(JOB), record, 2)
    key = execution_key(JOB, 1, 0, 0)
    model.apply(subjects.execution_record(key), new_execution(state, of=JOB, at=5 * SECOND, events=(happened,)), 4)
    model.find_out()
    return model.jobs[JOB]


def test_the_signature_is_that_of_the_specification() -> None:
    body = b'{"test": 2432232314}'
    headers = headers_of(secret_bytes(Secret(SECRET)), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64", SECRET.removeprefix("whsec_")])
def test_a_secret_that_is_too_short_or_none_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(WebhookSecretInvalid) as raised:
        secret_bytes(Secret(text))
    assert not text or text not in str(raised.value)
    assert "openssl rand" in raised.value.hint


def test_an_event_says_how_the_job_ended_and_has_the_id_of_that_end() -> None:
    event = event_of(ended(), ALL, ())
    assert event is not None
    assert event.id == "j-1.1.completed"
    told = json.loads(event.body)
    assert told["type"] == "job.completed"
    assert (told["data"]["JobID"], told["data"]["Name"], told["data"]["State"]) == ("j-1", "nightly", "Completed")


def test_who_tells_it_again_tells_the_same() -> None:
    assert event_of(ended(), ALL, ()) == event_of(ended(), ALL, ())


def test_only_events_and_namespaces_that_are_asked_for_are_told() -> None:
    assert event_of(ended(), ("job.failed",), ()) is None
    assert event_of(ended(namespace="team-a"), ALL, ("team-b",)) is None
    assert event_of(ended(namespace="team-a"), ALL, ("team-a",)) is not None


def test_a_job_that_goes_on_is_no_event() -> None:
    assert event_of(ended(ExecutionState.RUNNING), ALL, ()) is None
