"""What an earlier version of Tarpon has stored is read, and what is new is left out where it says nothing."""

from typing import Any

import msgspec
import pytest

from orchestrator.rules.frozen_inputs import EVERY_PART, FrozenSource
from orchestrator.rules.joining.join_tokens import approved, binding_by
from orchestrator.rules.records import (
    OF_REFILLS,
    BackupRecord,
    BindingRecord,
    DataRecord,
    ExecutionRecord,
    Failure,
    IncarnationRecord,
    JobRecord,
    JoinClaim,
    KeyLife,
    NamespaceRecord,
    NodeKeysRecord,
    NodeRecord,
    ResultsRecorded,
    SecretRecord,
    SpecRecord,
    SpentRecord,
    Suspicion,
    SweepRecord,
    TokenRecord,
    UserRecord,
    WebhooksRecord,
    decode_record,
    schema_of,
)
from shared.ids import NodeId
from shared.jobs.spec import Job, Need, Verification
from shared.jobs.states import ExecutionState
from tests.builders import new_task

NODE = b'{"info":{"node_id":"n-1","version":"1","engines":["docker"]},"draining":true}'
NEWER_NODE = (
    b'{"info":{"node_id":"n-1","version":"1","engines":["docker"]},"draining":true,"engines_away":{"wasm":7},'
    b'"suspicion":{"since":5,"reason":"GPUNotGiven","detail":"no GPU"}}'
)
EXECUTION = (
    b'{"id":"e-1","job_id":"j-1","job_version":1,"partition":0,"attempt":0,"node_id":"n-1","resources":{"CPU":1.0},'
    b'"state":"Failed","failure":{"reason":"NodeError","detail":"d","retryable":true},"create_time":1,"modify_time":2}'
)
NEWER_EXECUTION = EXECUTION.replace(b'"retryable":true', b'"retryable":true,"excused":true')


def test_a_node_of_an_earlier_version_misses_no_engine_and_is_not_suspect() -> None:
    record = decode_record("node.n-1", NODE)
    assert isinstance(record, NodeRecord)
    assert (record.draining, record.engines_away, record.suspicion) == (True, {}, None)
    assert msgspec.json.encode(record) == NODE


def test_which_engines_are_away_and_whether_a_node_is_suspect_are_stored() -> None:
    record = decode_record("node.n-1", NEWER_NODE)
    assert isinstance(record, NodeRecord)
    assert record.engines_away == {"wasm": 7}
    assert record.suspicion == Suspicion(since=5, reason="GPUNotGiven", detail="no GPU")
    assert msgspec.json.encode(record) == NEWER_NODE


def test_a_failure_of_an_earlier_version_counts() -> None:
    record = decode_record("execution.j-1.1.0.0", EXECUTION)
    assert isinstance(record, ExecutionRecord)
    assert record.failure == Failure(reason="NodeError", detail="d", retryable=True, excused=False)
    assert msgspec.json.encode(record) == EXECUTION


def test_that_a_failure_is_excused_is_stored() -> None:
    record = decode_record("execution.j-1.1.0.0", NEWER_EXECUTION)
    assert isinstance(record, ExecutionRecord)
    assert record.failure is not None
    assert record.failure.excused
    assert msgspec.json.encode(record) == NEWER_EXECUTION


FAILED_BY_EXIT_CODE = (
    b'{"id":"e-1","job_id":"j-1","job_version":1,"partition":0,"attempt":0,"node_id":"n-1","resources":{"CPU":1.0},'
    b'"state":"Publishing","output":{"exit_code":3},"run_seconds":1.5,"failure":{"reason":"NonZeroExitCode",'
    b'"detail":"The task ended with exit code 3.","retryable":true},"create_time":1,"modify_time":2}'
)


USED = EXECUTION.replace(b'"failure"', b'"run_seconds":1.5,"peak_memory_bytes":7,"failure"')


def test_what_a_task_has_used_is_stored_and_unknown_of_one_of_an_earlier_version() -> None:
    before, record = decode_record("execution.j-1.1.0.0", EXECUTION), decode_record("execution.j-1.1.0.0", USED)
    assert isinstance(before, ExecutionRecord)
    assert isinstance(record, ExecutionRecord)
    assert (before.run_seconds, before.peak_memory_bytes) == (0.0, 0)
    assert (record.run_seconds, record.peak_memory_bytes) == (1.5, 7)
    assert msgspec.json.encode(record) == USED


PREPARED = USED.replace(b'"failure"', b'"fetch_seconds":2.5,"pull_seconds":0.5,"failure"')


def test_what_it_took_to_prepare_a_task_is_stored_and_unknown_of_one_of_an_earlier_version() -> None:
    before, record = decode_record("execution.j-1.1.0.0", USED), decode_record("execution.j-1.1.0.0", PREPARED)
    assert isinstance(before, ExecutionRecord)
    assert isinstance(record, ExecutionRecord)
    assert (before.fetch_seconds, before.pull_seconds) == (0.0, 0.0)
    assert (record.fetch_seconds, record.pull_seconds) == (2.5, 0.5)
    assert msgspec.json.encode(record) == PREPARED


SPEC = (
    b'{"job":{"Name":"a","Namespace":"","Type":"","Priority":0,"Count":null,"Constraints":[],"Meta":{},"Labels":{},'
    b'"Tasks":[]}}'
)
KEEPING_SPEC = SPEC[:-1] + b',"keeps":[1,3]}'


def test_a_version_of_an_earlier_tarpon_keeps_no_parts_and_one_that_runs_the_rest_tells_of_which() -> None:
    plain, keeping = decode_record("spec.j-1.2", SPEC), decode_record("spec.j-1.4", KEEPING_SPEC)
    assert isinstance(plain, SpecRecord)
    assert isinstance(keeping, SpecRecord)
    assert (plain.keeps, keeping.keeps) == ((), (1, 3))
    assert (msgspec.json.encode(plain), msgspec.json.encode(keeping)) == (SPEC, KEEPING_SPEC)


def test_that_a_task_has_failed_is_stored_while_its_result_is_being_published() -> None:
    record = decode_record("execution.j-1.1.0.0", FAILED_BY_EXIT_CODE)
    assert isinstance(record, ExecutionRecord)
    assert record.state is ExecutionState.PUBLISHING
    assert record.failure == Failure(
        reason="NonZeroExitCode", detail="The task ended with exit code 3.", retryable=True
    )
    assert msgspec.json.encode(record) == FAILED_BY_EXIT_CODE


PUBLISHED = (
    b'{"id":"e-1","job_id":"j-1","job_version":1,"partition":0,"attempt":0,"node_id":"n-1","resources":{"CPU":1.0},'
    b'"state":"Completed","result":{%s},"create_time":1,"modify_time":2}'
)
RESULT = PUBLISHED % (
    b'"etag":"m-2","size_bytes":1,"sha256":"s","entries":2,"raw_bytes":3,"warnings":["a socket was left out"],'
    b'"warnings_count":4,"publish_seconds":5.5,"retries":6,"renewals":7,"archive_seconds":8.5,"parts":2,'
    b'"index_bytes":9,"index_sha256":"i","verify_seconds":0.5,"left_out_count":10'
)
SIGNED_RESULT = PUBLISHED % (
    b'"etag":"m","size_bytes":1,"sha256":"s","content_digest":"c","manifest_bytes":5,"manifest_sha256":"d",'
    b'"provenance":{"size_bytes":9,"sha256":"p","key":"U"}'
)
SMALL_RESULT = PUBLISHED % b'"etag":"m","size_bytes":1,"sha256":"s"'


@pytest.mark.parametrize("stored", [RESULT, SMALL_RESULT, SIGNED_RESULT])
def test_results_of_an_earlier_version_are_read_and_stored_with_the_same_names(stored: bytes) -> None:
    record = decode_record("execution.j-1.1.0.0", stored)
    assert isinstance(record, ExecutionRecord)
    assert record.result is not None
    assert (record.result.size_bytes, record.result.sha256) == (1, "s")
    assert msgspec.json.decode(msgspec.json.encode(record)) == msgspec.json.decode(stored)


USER = (
    b'{"name":"maria","key_id":"0a1b","digest":"ff","capabilities":["read:job"],"namespaces":["a"],"create_time":1,'
    b'"made_by":"operator","expires":2,"revoked":3}'
)


def test_a_user_is_stored_with_the_digest_of_its_key_and_no_secret() -> None:
    record = decode_record("user.maria", USER)
    assert isinstance(record, UserRecord)
    assert (record.key, record.capabilities, record.namespaces) == ("user.maria", ("read:job",), ("a",))
    assert msgspec.json.encode(record) == USER
    lasting = decode_record("user.maria", USER.replace(b',"made_by":"operator","expires":2,"revoked":3', b""))
    assert isinstance(lasting, UserRecord)
    assert (lasting.made_by, lasting.expires, lasting.revoked) == ("", 0, 0)


SECRET = (
    b'{"namespace":"default","name":"db","sealed":"c2VhbGVk","key_id":"0a","size_bytes":3,"is_text":true,'
    b'"create_time":1,"modify_time":2}'
)


def test_a_secret_is_stored_under_its_namespace_and_name_whatever_characters_they_have() -> None:
    record = decode_record("secret.ZGVmYXVsdA.ZGI", SECRET)
    assert isinstance(record, SecretRecord)
    assert (record.key, record.sealed, record.is_text) == ("secret.ZGVmYXVsdA.ZGI", b"sealed", True)
    assert msgspec.json.encode(record) == SECRET


SENT_DATA = (
    b'{"namespace":"default","digest":"ab12","location":{"bucket":"b","key":"inputs/default/manifests/ab12",'
    b'"region":"r"},"manifest_bytes":90,"files":1,"size_bytes":3,"names":{"train":7},"ready":6,"deleted":8,'
    b'"uploads":{"cd34":"u-1"},"create_time":1,"last_use":5}'
)


def test_sent_data_is_stored_under_its_namespace_and_digest() -> None:
    record = decode_record("data.ZGVmYXVsdA.ab12", SENT_DATA)
    assert isinstance(record, DataRecord)
    assert (record.key, record.names, record.is_ready) == ("data.ZGVmYXVsdA.ab12", {"train": 7}, False)
    assert msgspec.json.encode(record) == SENT_DATA
    sweep = decode_record("sweep.data", b'{"number":3,"is_on":true}')
    assert isinstance(sweep, SweepRecord)
    assert (sweep.key, msgspec.json.encode(sweep)) == ("sweep.data", b'{"number":3,"is_on":true}')


def test_how_far_receivers_of_webhooks_have_come_is_stored_under_one_key() -> None:
    sent = b'{"sent_up_to":{"0123456789abcdef":641}}'
    record = decode_record("webhooks.sent", sent)
    assert isinstance(record, WebhooksRecord)
    assert (record.key, msgspec.json.encode(record)) == ("webhooks.sent", sent)


BINDING = b'{"public_key":"UABC","rejected":7,"message":"m"}'
TEAM_BINDING = (
    b'{"schema":3,"public_key":"UABC","token":"t1","labels":{"team":"a"},"namespaces":["a"],"unapproved":true,'
    b'"rekey":"t2"}'
)
TOKEN = (
    b'{"id":"t1","digest":"ff","create_time":1,"expires":2,"uses":3,"used":2,'
    b'"claims":[{"node":"n-1","public_key":"UABC"}],"revoked":4,"labels":{"team":"a"},"namespaces":["a"],'
    b'"approval":true,"node":"n-1"}'
)


def test_a_binding_of_an_earlier_version_serves_all_namespaces_and_needs_no_approval() -> None:
    record = decode_record("binding.n-1", BINDING)
    assert isinstance(record, BindingRecord)
    assert (record.public_key, record.rejected, record.message) == ("UABC", 7, "m")
    assert (record.token, record.labels, record.unapproved, record.serves("any")) == ("", {}, False, True)
    assert msgspec.json.encode(record) == BINDING


def test_what_is_allowed_to_a_node_is_stored_with_its_key() -> None:
    record = decode_record("binding.n-1", TEAM_BINDING)
    assert isinstance(record, BindingRecord)
    assert (record.token, record.labels, record.namespaces) == ("t1", {"team": "a"}, ("a",))
    assert (record.unapproved, record.rekey, record.serves("a"), record.serves("b")) == (True, "t2", True, False)
    assert msgspec.json.encode(record) == TEAM_BINDING


NODE_KEYS = (
    b'{"node":"n-1","lives":[{"public_key":"UABC","since":1,"until":2,"ended":"Deleted","token":"t1","owner":"maria",'
    b'"namespaces":["a"]},{"public_key":"UDEF","since":3}],"forgotten":1}'
)


def test_the_keys_of_a_node_are_stored_beside_its_binding_with_their_lives() -> None:
    record = decode_record("keys.n-1", NODE_KEYS)
    assert isinstance(record, NodeKeysRecord)
    assert (record.key, record.forgotten) == ("keys.n-1", 1)
    gone, current = record.lives
    assert (gone.until, gone.ended, gone.token, gone.owner, gone.namespaces) == (2, "Deleted", "t1", "maria", ("a",))
    assert (current, record.last) == (KeyLife(public_key="UDEF", since=3), current)
    assert msgspec.json.encode(record) == NODE_KEYS


def test_a_program_that_knows_no_limits_of_nodes_decides_nothing_where_there_are_some() -> None:
    """It would give a team's node any job, and drop the limits from the record with the next change."""
    token = decode_record("token.t1", TOKEN)
    assert isinstance(token, TokenRecord)
    assert binding_by(token, "UABC").schema == 3
    assert binding_by(msgspec.structs.replace(token, namespaces=(), approval=False), "UABC").schema == 1
    team = decode_record("binding.n-1", TEAM_BINDING)
    assert isinstance(team, BindingRecord)
    assert approved(team).schema == 3
    assert approved(msgspec.structs.replace(team, namespaces=())).schema == 1


def test_a_join_token_is_stored_with_the_digest_of_its_secret_and_no_secret() -> None:
    record = decode_record("token.t1", TOKEN)
    assert isinstance(record, TokenRecord)
    assert (record.key, record.uses, record.used, record.node) == ("token.t1", 3, 2, "n-1")
    assert record.claims == (JoinClaim(node=NodeId("n-1"), public_key="UABC"),)
    assert msgspec.json.encode(record) == TOKEN


def test_whose_a_node_is_goes_from_the_token_to_what_is_stored_of_the_node() -> None:
    token = decode_record("token.t1", TOKEN[:-1] + b',"owner":"maria"}')
    assert isinstance(token, TokenRecord)
    assert approved(binding_by(token, "UABC")).owner == "maria"
    assert msgspec.json.encode(token) == TOKEN[:-1] + b',"owner":"maria"}'


REPLICA = (
    b'{"schema":10,"id":"e-1","job_id":"j-1","job_version":1,"partition":0,"attempt":2,"node_id":"n-1",'
    b'"resources":{"CPU":1.0},"state":"Publishing","result":{"size_bytes":1,"sha256":"ff","etag":"e"},'
    b'"create_time":1,"modify_time":2,"owner":"maria","answer":"abcd"}'
)


def test_a_replica_that_has_answered_is_stored_with_its_owner_and_waits() -> None:
    record = decode_record("execution.j-1.1.0.2", REPLICA)
    assert isinstance(record, ExecutionRecord)
    assert (record.owner, record.answer) == ("maria", "abcd")
    assert record.awaits_agreement
    assert not record.has_counting_result
    assert msgspec.json.encode(record) == REPLICA


def test_a_program_that_knows_no_replicas_decides_nothing_where_there_are_some() -> None:
    """It would take the first of them for the result."""
    assert schema_of(Job(tasks=(new_task(),), verification=Verification(replicas=3, quorum=2, of="result"))) == 10


SPENT = b'{"id":"0123456789abcdef","expires":7}'


def test_that_a_session_was_signed_out_of_is_stored_until_it_would_have_expired() -> None:
    record = decode_record("spent.0123456789abcdef", SPENT)
    assert isinstance(record, SpentRecord)
    assert (record.key, record.expires) == ("spent.0123456789abcdef", 7)
    assert msgspec.json.encode(record) == SPENT


NAMESPACE = b'{"namespace":"team-a","weight":3,"modify_time":1}'


def test_the_weight_of_a_namespace_is_stored_under_its_name() -> None:
    record = decode_record("namespace.dGVhbS1h", NAMESPACE)
    assert isinstance(record, NamespaceRecord)
    assert (record.key, record.weight) == ("namespace.dGVhbS1h", 3)
    assert msgspec.json.encode(record) == NAMESPACE


@pytest.mark.parametrize("given", [{"Secrets": [{"Name": "db", "Path": "/run/db"}]}, {"Env": {"DB": "secret:db"}}])
def test_a_job_that_is_given_secrets_is_left_alone_by_programs_that_would_drop_them(given: dict[str, Any]) -> None:
    task = {"Name": "main", "Engine": {"Type": "noop"}}
    plain, secret = (msgspec.convert({"Tasks": [task | more]}, Job) for more in ({}, given))
    assert (schema_of(plain), schema_of(secret)) == (1, 4)


FROZEN_SPEC = SPEC[:-1] + (
    b',"inputs":[{"location":{"bucket":"b","region":"us-east-1"},"objects":[{"key":"data/a","path":"a","size":3,'
    b'"etag":"\\"0\\"","version":"v","sha256":"00","executable":true,"part":1},{"key":"data/b","size":4}],'
    b'"count":2,"size_bytes":7},{"listing":"inputs/x","count":9,"size_bytes":9},{"job":"j-2","job_version":1},{}]}'
)


def test_which_objects_the_inputs_of_a_version_are_is_stored_with_it() -> None:
    record = decode_record("spec.j-1.2", FROZEN_SPEC)
    assert isinstance(record, SpecRecord)
    objects, listed, result, unmanaged = record.inputs
    assert [(each.path, each.part) for each in objects.objects] == [("a", 1), ("", EVERY_PART)]
    assert (listed.listing, result.job, unmanaged) == ("inputs/x", "j-2", FrozenSource())
    assert msgspec.json.encode(record) == FROZEN_SPEC


NEEDY_JOB = (
    b'{"schema":6,"id":"j-1","namespace":"default","name":"train","version":1,"create_time":1,"submit_time":1,'
    b'"modify_time":1,"first":{"Name":"train","Namespace":"default","Type":"batch","Priority":0,"Count":1,'
    b'"Constraints":[],"Meta":{},"Labels":{},"Tasks":[{"Name":"main","Engine":{"Type":"noop"},"Publisher":{}}],'
    b'"Needs":[{"Job":"prepare"}]},"needs":[{"job":"j-2","version":3,"called":"prepare"}]}'
)
NEEDY_SPEC = (
    SPEC[:-1]
    + b',"needs":[{"job":"j-2","version":3,"called":"prepare"},'
    + (b'{"job":"j-3","version":1,"called":"j-3","any_code":true}]}')
)


def test_which_versions_of_which_jobs_a_version_needs_is_stored_with_it() -> None:
    record = decode_record("spec.j-1.2", NEEDY_SPEC)
    assert isinstance(record, SpecRecord)
    assert [(each.job, each.version, each.called, each.any_code) for each in record.needs] == [
        ("j-2", 3, "prepare", False),
        ("j-3", 1, "j-3", True),
    ]
    assert msgspec.json.encode(record) == NEEDY_SPEC
    first = decode_record("job.j-1", NEEDY_JOB)
    assert isinstance(first, JobRecord)
    assert first.first is not None
    assert (first.schema, first.first.needs) == (6, (Need(job="prepare"),))
    assert msgspec.json.encode(first) == NEEDY_JOB


def test_a_job_that_needs_others_is_left_alone_by_programs_that_would_not_wait() -> None:
    task = {"Name": "main", "Engine": {"Type": "noop"}}
    needs: tuple[list[str], ...] = ([], ["prepare"])
    jobs = [msgspec.convert({"Tasks": [task], "Needs": each}, Job) for each in needs]
    assert [schema_of(each) for each in jobs] == [1, 6]


def test_a_job_with_inputs_is_left_alone_by_programs_that_would_drop_them() -> None:
    source = {"Source": {"Type": "inline", "Params": {"Content": "a"}}, "Target": "/in"}
    task = {"Name": "main", "Engine": {"Type": "noop"}, "InputSources": [source]}
    assert schema_of(msgspec.convert({"Tasks": [task]}, Job)) == 5


def test_a_state_that_is_being_restored_stops_programs_that_do_not_know_of_that() -> None:
    begun = decode_record("incarnation.current", b'{"schema":7,"incarnation":"0a","since":1,"unfinished":true}')
    ended = decode_record("incarnation.current", b'{"schema":2,"incarnation":"0a","since":1}')
    assert isinstance(begun, IncarnationRecord)
    assert isinstance(ended, IncarnationRecord)
    assert (begun.schema, begun.unfinished, ended.unfinished) == (OF_REFILLS, True, False)


def test_up_to_when_results_have_records_is_stored_as_one_number() -> None:
    record = decode_record("recorded.results", b'{"until":7}')
    assert isinstance(record, ResultsRecorded)
    assert (record.key, msgspec.json.encode(record)) == ("recorded.results", b'{"until":7}')


def test_when_the_last_backup_was_taken_is_stored_as_one_number() -> None:
    record = decode_record("backup.last", b'{"taken":7}')
    assert isinstance(record, BackupRecord)
    assert (record.key, msgspec.json.encode(record)) == ("backup.last", b'{"taken":7}')


OPS_JOB = (
    b'{"schema":9,"id":"j-1","namespace":"default","name":"patch","version":2,"create_time":1,"submit_time":1,'
    b'"modify_time":2,"targets":["a","b"]}'
)
REPLACED_OPS_JOB = (
    b'{"schema":9,"job":{"Name":"patch","Namespace":"default","Type":"ops","Priority":0,"Count":0,"Constraints":[],'
    b'"Meta":{},"Labels":{},"Tasks":[]},"replaced":{"version":1,"submit_time":1,"modify_time":2,"state":"Completed",'
    b'"targets":["a","c"]}}'
)


def test_the_nodes_of_an_ops_job_are_stored_for_each_version_of_it() -> None:
    job, spec = decode_record("job.j-1", OPS_JOB), decode_record("spec.j-1.2", REPLACED_OPS_JOB)
    assert isinstance(job, JobRecord)
    assert isinstance(spec, SpecRecord)
    assert spec.replaced is not None
    assert (job.targets, spec.replaced.targets) == (("a", "b"), ("a", "c"))
    assert (msgspec.json.encode(job), msgspec.json.encode(spec)) == (OPS_JOB, REPLACED_OPS_JOB)


def test_an_earlier_version_decides_nothing_beside_an_ops_job() -> None:
    assert schema_of(Job(type="ops")) == 9
    assert schema_of(Job(type="ops", schedule="@daily")) == 9


def test_a_job_of_an_earlier_version_has_no_nodes_of_its_own() -> None:
    record = decode_record("job.j-1", OPS_JOB.replace(b',"targets":["a","b"]', b"").replace(b'"schema":9,', b""))
    assert isinstance(record, JobRecord)
    assert (record.schema, record.targets) == (1, ())
