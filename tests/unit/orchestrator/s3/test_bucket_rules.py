"""What S3 servers say of the rules of a bucket, as they were seen to write it, and what follows for the operator."""

import pytest

from orchestrator.rules.location import Location
from orchestrator.s3.bucket_rules.answers import (
    BucketRules,
    LifecycleRule,
    Unknown,
    lifecycle_of,
    versioning_of,
)
from orchestrator.s3.bucket_rules.findings import rule_findings
from orchestrator.s3.requests import Answer
from shared.protocol.s3_errors import parse_error
from shared.runtime.checkup import Grade

XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
PLACE = Location(bucket="b", key="tarpon", region="us-east-1")
ABORTS = LifecycleRule(name="aborts", prefix="tarpon/", aborts_uploads=True)
EARLIER = LifecycleRule(name="earlier", prefix="", expires_earlier_versions=True)


def answer(body: str, status: int = 200) -> Answer:
    content = body.encode()
    failure = None if status == 200 else parse_error(status, content, {})
    return Answer(status=status, headers={}, body=content, failure=failure)


def refusal(status: int, code: str) -> Answer:
    return answer(f"<Error><Code>{code}</Code></Error>", status)


def lifecycle(rule: str) -> Answer:
    return answer(f"<LifecycleConfiguration {XMLNS}><Rule>{rule}</Rule></LifecycleConfiguration>")


@pytest.mark.parametrize(
    ("rule", "read"),
    [
        (
            (
                "<ID>a</ID><Filter><Prefix>tarpon/</Prefix></Filter><Status>Enabled</Status>"
                "<AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation>"
                "</AbortIncompleteMultipartUpload>"
            ),
            [LifecycleRule(name="a", prefix="tarpon/", aborts_uploads=True)],
        ),
        (
            "<Prefix></Prefix><Status>Enabled</Status><Expiration><Days>30</Days></Expiration>",
            [LifecycleRule(name="", prefix="", expires_objects=True)],
        ),
        (
            (
                "<ID>m</ID><Filter/><Status>Enabled</Status><Expiration><ExpiredObjectDeleteMarker>true"
                "</ExpiredObjectDeleteMarker></Expiration><NoncurrentVersionExpiration><NoncurrentDays>7</NoncurrentDays>"
                "</NoncurrentVersionExpiration>"
            ),
            [LifecycleRule(name="m", prefix="", expires_earlier_versions=True)],
        ),
        (
            (
                "<ID>t</ID><Filter><And><Prefix>a/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>"
                "<Status>Enabled</Status><Expiration><Date>2027-01-01T00:00:00Z</Date></Expiration>"
            ),
            [LifecycleRule(name="t", prefix="a/", is_narrowed=True, expires_objects=True)],
        ),
        ("<ID>off</ID><Status>Disabled</Status><Expiration><Days>1</Days></Expiration>", []),
    ],
    ids=["of uploads", "of the old form", "of versions", "of what has a tag", "that is off"],
)
def test_a_rule_of_the_life_cycle_is_read(rule: str, read: list[LifecycleRule]) -> None:
    assert lifecycle_of(lifecycle(rule)) == tuple(read)


@pytest.mark.parametrize(
    ("told", "read"),
    [
        (refusal(404, "NoSuchLifecycleConfiguration"), ()),
        (refusal(403, "AccessDenied"), Unknown.FORBIDDEN),
        (refusal(501, "NotImplemented"), Unknown.NOT_OFFERED),
        (refusal(404, "NoSuchBucket"), Unknown.NOT_OFFERED),
        (answer(f"<ListBucketResult {XMLNS}><Prefix></Prefix></ListBucketResult>"), Unknown.NOT_OFFERED),
        (answer(""), Unknown.NOT_OFFERED),
        (answer("<!DOCTYPE a><LifecycleConfiguration/>"), Unknown.NOT_OFFERED),
    ],
    ids=["none", "refused", "not implemented", "no bucket", "a list instead", "nothing", "with a DTD"],
)
def test_an_answer_without_rules_tells_why_they_are_not_known(told: Answer, read: object) -> None:
    assert lifecycle_of(told) == read


@pytest.mark.parametrize("status", ["Enabled", "Suspended", ""])
def test_the_state_of_versions_is_read(status: str) -> None:
    inner = f"<Status>{status}</Status>" if status else ""
    told = f"<VersioningConfiguration {XMLNS}>{inner}</VersioningConfiguration>"
    assert versioning_of(answer(told)) == status


def codes(*rules: LifecycleRule, versioning: str | Unknown = "", place: Location = PLACE) -> set[str]:
    found = rule_findings(BucketRules(lifecycle=rules, versioning=versioning), place)
    return {each.code for each in found if each.grade is Grade.WARNING}


def expiring(prefix: str) -> LifecycleRule:
    return LifecycleRule(name="expiring", prefix=prefix, expires_objects=True)


class TestFindings:
    def test_uploads_that_nothing_ends_are_a_warning_with_the_command_to_run(self) -> None:
        place = Location(bucket="b", key="runs", region="r", endpoint="https://s3.example.org")
        (found,) = rule_findings(BucketRules(lifecycle=(), versioning=""), place)
        assert (found.grade, found.code) == (Grade.WARNING, "UnfinishedUploadsStay")
        assert "put-bucket-lifecycle-configuration --bucket b --endpoint-url https://s3.example.org" in found.hint
        assert "with 'runs/' for 'tarpon/'" in found.hint

    @pytest.mark.parametrize(
        "rule",
        [
            LifecycleRule(name="", prefix="tarpon/j-1", aborts_uploads=True),
            LifecycleRule(name="", prefix="tarpon/", aborts_uploads=True, is_narrowed=True),
        ],
        ids=["part of the key", "some objects"],
    )
    def test_a_rule_about_less_than_all_of_it_does_not_count(self, rule: LifecycleRule) -> None:
        assert codes(rule) == {"UnfinishedUploadsStay"}

    @pytest.mark.parametrize("prefix", ["", "tar", "tarpon/"])
    def test_a_rule_about_all_of_it_or_more_counts(self, prefix: str) -> None:
        assert codes(LifecycleRule(name="", prefix=prefix, aborts_uploads=True)) == set()

    @pytest.mark.parametrize("state", ["Enabled", "Suspended"])
    def test_versions_that_nothing_deletes_are_a_warning(self, state: str) -> None:
        assert codes(ABORTS, versioning=state) == {"EarlierVersionsStay"}
        assert codes(ABORTS, EARLIER, versioning=state) == set()

    @pytest.mark.parametrize("prefix", ["", "tarpon/", "tarpon/inputs/", "tarpon/inputs/default/", "tarpon/.tarpon"])
    def test_a_rule_that_deletes_sent_data_or_the_probe_is_a_warning(self, prefix: str) -> None:
        assert codes(ABORTS, expiring(prefix)) == {"RuleDeletesInputs"}

    @pytest.mark.parametrize("prefix", ["tarpon/j-", "tarpon/namespaces/", "other/"])
    def test_a_rule_that_deletes_results_or_what_is_of_others_is_none(self, prefix: str) -> None:
        assert codes(ABORTS, expiring(prefix)) == set()

    @pytest.mark.parametrize("why", Unknown)
    def test_what_cannot_be_looked_at_is_a_note(self, why: Unknown) -> None:
        (found,) = rule_findings(BucketRules(lifecycle=why, versioning="Enabled"), PLACE)
        assert found.grade is Grade.NOTE

    def test_a_service_that_tells_nothing_of_versions_is_asked_for_no_rule_about_them(self) -> None:
        assert codes(ABORTS, versioning=Unknown.NOT_OFFERED) == set()
