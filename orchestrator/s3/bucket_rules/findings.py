"""Findings about the rules of the bucket: what they leave there for ever, and what they take that is still needed."""

import shlex

from orchestrator.rules.location import Location
from orchestrator.s3.bucket_rules.answers import BucketRules, LifecycleRule, Unknown
from shared.protocol.objects import inputs_root, probe_key, root_of
from shared.runtime.checkup import Finding, note, ok, warning

AREA = "bucket"
_FILE = "deploy/bucket/lifecycle.json"


def rule_findings(rules: BucketRules, location: Location) -> list[Finding]:
    """What could not be looked at is a note: the least policy does not let it."""
    if Unknown.FORBIDDEN in {rules.lifecycle, rules.versioning}:
        told = "Its keys may not look at the bucket's rules: whether unfinished uploads end is not known."
        return [note(AREA, told, "deploy/iam-policy-rules.json lets this command look; nothing else needs it.")]
    if isinstance(rules.lifecycle, Unknown):
        told = "The service shows no life-cycle rules: whether unfinished uploads end is not known."
        return [note(AREA, told, "`tarpon agent uploads` lists those that Tarpon knows of.")]
    found = [_uploads(rules.lifecycle, location, by_itself=rules.ends_uploads)]
    if rules.versioning in {"Enabled", "Suspended"}:
        found.append(_versions(rules.lifecycle, location))
    return found + [_too_much(each) for each in rules.lifecycle if _takes_too_much(each, location)]


def _uploads(lifecycle: tuple[LifecycleRule, ...], location: Location, *, by_itself: bool) -> Finding:
    if by_itself:
        return ok(AREA, "The service ends unfinished uploads by itself.")
    if any(each.aborts_uploads and _covers(each, location) for each in lifecycle):
        return ok(AREA, "A rule of the bucket ends unfinished uploads.")
    told = "No rule of the bucket ends unfinished uploads: what is left of those that broke off stays, and is paid for."
    return warning(AREA, "UnfinishedUploadsStay", told, _command(location))


def _versions(lifecycle: tuple[LifecycleRule, ...], location: Location) -> Finding:
    if any(each.expires_earlier_versions and _covers(each, location) for each in lifecycle):
        return ok(AREA, "The bucket keeps earlier versions, and a rule deletes them after a time.")
    told = "The bucket keeps earlier versions for ever: results that were deleted stay there, and are paid for."
    return warning(AREA, "EarlierVersionsStay", told, _command(location))


def _covers(rule: LifecycleRule, location: Location) -> bool:
    return root_of(location.key).startswith(rule.prefix) and not rule.is_narrowed


def _takes_too_much(rule: LifecycleRule, location: Location) -> bool:
    """Whether it is also about data that was sent, which jobs may need however old it is, or about the probe."""
    inputs = inputs_root(location.key)
    is_of_inputs = inputs.startswith(rule.prefix) or rule.prefix.startswith(inputs)
    return rule.expires_objects and (is_of_inputs or probe_key(location.key).startswith(rule.prefix))


def _too_much(rule: LifecycleRule) -> Finding:
    told = f"The bucket's rule {rule.name!r} also deletes data that was sent and is in use, when it is old enough."
    hint = "Let it be about results alone, as deploy/bucket/lifecycle-expiry.json has it."
    return warning(AREA, "RuleDeletesInputs", told, hint)


def _command(location: Location) -> str:
    place = ["--bucket", location.bucket]
    if location.endpoint:
        place += ["--endpoint-url", location.endpoint]
    change = "" if root_of(location.key) == "tarpon/" else f", with {root_of(location.key)!r} for 'tarpon/' in it"
    run = f"aws s3api put-bucket-lifecycle-configuration {shlex.join(place)} --lifecycle-configuration file://{_FILE}"
    return f"Add the rules of {_FILE}{change}. Where the bucket has no others: `{run}`."
