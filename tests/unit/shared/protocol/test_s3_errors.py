import pytest

from orchestrator.rules.location import Location
from orchestrator.s3.problems import ProblemCode, explain_failure
from shared.protocol.s3_errors import MAX_ERROR_BYTES, S3Failure, UploadAction, action_for, is_of_keys, parse_error

SETTINGS = Location(bucket="results", region="eu-west-1", key="below/")


def document(code: str, message: str = "Words.", more: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
        f"{more}<RequestId>4442587FB7D0A2F9</RequestId></Error>"
    ).encode()


def refusal(status: int, code: str, region: str = "") -> S3Failure:
    return parse_error(status, document(code, more=f"<Region>{region}</Region>" if region else ""), {})


@pytest.mark.parametrize(
    ("status", "code", "action"),
    [
        (400, "ExpiredToken", UploadAction.RENEW_URL),
        (400, "InvalidToken", UploadAction.RENEW_URL),
        (403, "InvalidAccessKeyId", UploadAction.RENEW_URL),
        (403, "SignatureDoesNotMatch", UploadAction.ASK),
        (403, "RequestTimeTooSkewed", UploadAction.RENEW_URL),
        (403, "AccessDenied", UploadAction.ASK),
        (403, "", UploadAction.ASK),
        (404, "XAdminUserNotFound", UploadAction.ASK),
        (400, "InvalidRequest", UploadAction.ASK),
        (400, "RequestTimeout", UploadAction.RETRY),
        (500, "InternalError", UploadAction.RETRY),
        (503, "SlowDown", UploadAction.RETRY_SLOWER),
        (503, "ServiceUnavailable", UploadAction.RETRY_SLOWER),
        (429, "", UploadAction.RETRY_SLOWER),
        (400, "BadDigest", UploadAction.RESEND),
        (400, "InvalidDigest", UploadAction.RESEND),
        (400, "XAmzContentSHA256Mismatch", UploadAction.RESEND),
        (400, "EntityTooLarge", UploadAction.FAIL),
        (400, "InvalidPart", UploadAction.FAIL),
        (404, "NoSuchUpload", UploadAction.SETTLE),
        (404, "NoSuchBucket", UploadAction.ASK),
        (409, "ConditionalRequestConflict", UploadAction.RETRY),
        (412, "PreconditionFailed", UploadAction.SETTLE),
        (412, "", UploadAction.SETTLE),
        (411, "MissingContentLength", UploadAction.FAIL),
        (501, "NotImplemented", UploadAction.FAIL),
        (501, "", UploadAction.FAIL),
        (301, "PermanentRedirect", UploadAction.FAIL),
        (307, "TemporaryRedirect", UploadAction.FAIL),
        (413, "", UploadAction.FAIL),
        (502, "", UploadAction.RETRY),
        (504, "", UploadAction.RETRY),
        (507, "", UploadAction.RETRY),
    ],
)
def test_each_answer_has_its_action(status: int, code: str, action: UploadAction) -> None:
    failure = parse_error(status, document(code) if code else b"", {})
    assert failure.code == code
    assert action_for(failure) is action


@pytest.mark.parametrize("message", ["Request is not valid yet", "Request is not yet valid"])
def test_a_url_whose_time_is_yet_to_come_is_renewed(message: str) -> None:
    """The clock of whoever signed it was wrong; MinIO says the first."""
    assert action_for(parse_error(403, document("AccessDenied", message), {})) is UploadAction.RENEW_URL


def test_an_expired_url_is_renewed_and_a_denied_one_is_not() -> None:
    aws = document("AccessDenied", "Request has expired", "<ServerTime>2026-01-01T00:00:00Z</ServerTime>")
    others = document("AccessDenied", "Request has expired")
    assert action_for(parse_error(403, aws, {})) is UploadAction.RENEW_URL
    assert action_for(parse_error(403, others, {})) is UploadAction.RENEW_URL
    assert action_for(parse_error(403, document("AccessDenied"), {})) is UploadAction.ASK


URL = "https://s3.example.com/b/k?X-Amz-Date=20261129T040000Z&X-Amz-Expires=200&X-Amz-Signature=0"


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "AccessDenied", ""),
        (400, "InvalidRequest", "Bad request: Date is too old"),
        (400, "AccessDenied", "Access Denied"),
        (401, "", ""),
        (404, "XAdminUserNotFound", ""),
    ],
)
def test_a_url_has_expired_when_its_life_was_over_whatever_the_answer_says(
    status: int, code: str, message: str
) -> None:
    body = document(code, message) if code else b""
    for date, is_expired in [
        ("Sun, 29 Nov 2026 04:03:20 GMT", True),
        ("Sun, 29 Nov 2026 04:03:19 GMT", False),
        ("Sun, 29 Nov 2026 03:59:30 GMT", False),  # clocks may be a little off
        ("Sun, 29 Nov 2026 03:55:00 GMT", True),  # it is yet to come
        ("yesterday", False),
        ("", False),
    ]:
        failure = parse_error(status, body, {"date": date}, url=URL)
        assert failure.expired is is_expired, date
        assert (action_for(failure) is UploadAction.RENEW_URL) is is_expired


@pytest.mark.parametrize("url", ["", "https://s3.example.com/b/k", URL.replace("200", "soon"), URL.replace("T", "x")])
def test_a_url_that_does_not_tell_its_life_is_judged_by_the_words(url: str) -> None:
    date = {"date": "Sun, 29 Nov 2026 05:00:00 GMT"}
    assert not parse_error(403, document("AccessDenied"), date, url=url).expired
    assert parse_error(403, document("AccessDenied", "Request has expired"), date, url=url).expired


def test_what_is_answered_to_the_content_stays_so_when_the_url_dies_meanwhile() -> None:
    date = {"date": "Sun, 29 Nov 2026 05:00:00 GMT"}
    for status, code in ((404, "NoSuchUpload"), (412, "PreconditionFailed"), (503, "SlowDown")):
        assert not parse_error(status, document(code), date, url=URL).expired


def test_the_code_that_a_node_passes_on_is_known_for_one_of_keys() -> None:
    of_keys = ["AccessDenied", "InvalidAccessKeyId", "XAdminUserNotFound", "ExpiredToken", "403", "401", "404", "Odd"]
    others = ["", "SlowDown", "InternalError", "BadDigest", "NoSuchUpload", "EntityTooLarge", "500", "413"]
    assert [code for code in (*of_keys, *others) if is_of_keys(code)] == of_keys


def test_code_words_and_request_id_are_read_also_with_a_namespace() -> None:
    body = b'<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>SlowDown</Code><Message>Reduce.</Message></Error>'
    failure = parse_error(503, body, {"x-amz-request-id": "R1"})
    assert failure == S3Failure(status=503, code="SlowDown", message="Reduce.", request_id="R1")
    assert str(failure) == "503 SlowDown Reduce. (request R1)"


def test_the_right_region_is_read_from_the_body_or_a_header() -> None:
    body = document("AuthorizationHeaderMalformed", more="<Region>eu-central-1</Region>")
    assert parse_error(400, body, {}).region == "eu-central-1"
    assert parse_error(301, b"", {"x-amz-bucket-region": "us-west-2"}).region == "us-west-2"


@pytest.mark.parametrize("quote", ["'", '"'])
def test_the_right_region_is_read_from_the_words_of_services_that_tell_it_there_alone(quote: str) -> None:
    words = f"the region {quote}eu-west-1{quote} is wrong; expecting {quote}us-east-1{quote}"
    failure = parse_error(400, document("AuthorizationQueryParametersError", f"Error parsing it; {words}"), {})
    assert failure.region == "us-east-1"
    assert explain_failure(failure, SETTINGS, 0).code is ProblemCode.REGION_WRONG


def test_an_answer_with_a_dtd_is_not_read() -> None:
    laughs = b'<!DOCTYPE Error [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><Error><Code>&b;</Code></Error>'
    assert parse_error(403, laughs, {}).code == ""
    assert parse_error(403, laughs.decode().encode("utf-16"), {}).code == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<Error><Code>Half",
        b"<Other><Code>AccessDenied</Code></Other>",
        b'<?xml version="1.0" encoding="no-such"?><Error/>',
        document("AccessDenied", "x" * MAX_ERROR_BYTES),
        b"\xff\xfe\x00",
    ],
)
def test_what_is_not_an_error_document_has_no_code(body: bytes) -> None:
    assert parse_error(403, body, {}).code == ""


def test_words_are_one_bounded_line_without_any_query_string() -> None:
    hostile = "first\n\x1b[31msecond https://b.example/k?X-Amz-Signature=0123 " + "x" * 1000
    message = parse_error(400, document("Odd", hostile.replace("\x1b", "")), {}).message
    assert "\n" not in message
    assert "0123" not in message
    assert "https://b.example/k?..." in message
    assert len(message) <= 300


@pytest.mark.parametrize(
    ("failure", "skew", "expected", "word"),
    [
        (refusal(404, "NoSuchBucket"), 0, ProblemCode.BUCKET_MISSING, "not exist, or these credentials may not use it"),
        (refusal(403, "AccessDenied"), 0, ProblemCode.ACCESS_DENIED, "arn:aws:s3:::results/below/*"),
        (refusal(403, "InvalidAccessKeyId"), 0, ProblemCode.ACCESS_KEY_UNKNOWN, "does not know the access key"),
        (refusal(403, "SignatureDoesNotMatch"), 0, ProblemCode.SECRET_KEY_WRONG, "secret access key is wrong"),
        (refusal(403, "SignatureDoesNotMatch"), 5000, ProblemCode.CLOCK_SKEWED, "5000 s behind that of S3"),
        (refusal(403, "RequestTimeTooSkewed"), -1200, ProblemCode.CLOCK_SKEWED, "1200 s ahead of that of S3"),
        (refusal(403, "RequestTimeTooSkewed"), None, ProblemCode.CLOCK_SKEWED, "too far from its own"),
        (refusal(400, "ExpiredToken"), 0, ProblemCode.CREDENTIALS_EXPIRED, "have expired"),
        (refusal(301, "PermanentRedirect"), 0, ProblemCode.REGION_WRONG, "the one where the bucket is"),
        (refusal(400, "AuthorizationHeaderMalformed", "r-2"), 0, ProblemCode.REGION_WRONG, "Set Region to 'r-2'."),
        (refusal(400, "AuthorizationQueryParametersError", "r-2"), 0, ProblemCode.REGION_WRONG, "Set Region to 'r-2'."),
        (refusal(400, "InvalidRequest", "eu-west-1"), 0, ProblemCode.REQUEST_REFUSED, "Words."),
        (refusal(400, "AuthorizationHeaderMalformed", "eu-west-1"), 0, ProblemCode.REQUEST_REFUSED, "Words."),
        (refusal(400, "AuthorizationHeaderMalformed", "r-2"), 300, ProblemCode.CLOCK_SKEWED, "300 s behind that of S3"),
        (refusal(403, "AccessDenied"), 300, ProblemCode.CLOCK_SKEWED, "300 s behind that of S3"),
        (refusal(403, "AccessDenied"), -300, ProblemCode.CLOCK_SKEWED, "300 s ahead of that of S3"),
        (refusal(404, "NoSuchBucket"), 300, ProblemCode.CLOCK_SKEWED, "300 s behind that of S3"),
        (refusal(403, "AccessDenied"), 30, ProblemCode.ACCESS_DENIED, "does not exist, or"),
        (refusal(503, "SlowDown"), 300, ProblemCode.SERVICE_FAILING, "tried again"),
        (refusal(503, "SlowDown"), 0, ProblemCode.SERVICE_FAILING, "tried again"),
        (refusal(400, "InvalidRequest"), 0, ProblemCode.REQUEST_REFUSED, "Words."),
    ],
)
def test_each_refusal_is_told_in_words_with_a_stable_code(
    failure: S3Failure, skew: float | None, expected: ProblemCode, word: str
) -> None:
    problem = explain_failure(failure, SETTINGS, skew)
    assert problem.code is expected
    assert word in str(problem)
    assert "4442587FB7D0A2F9" in problem.message


def test_an_answer_that_s3_would_not_give_is_told_as_such() -> None:
    problem = explain_failure(parse_error(405, b"<html>no</html>", {}), SETTINGS, 0)
    assert problem.code is ProblemCode.NOT_S3
    assert explain_failure(parse_error(502, b"<html>bad</html>", {}), SETTINGS, 0).code is ProblemCode.SERVICE_FAILING


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "User: arn:aws:sts::123456789012:assumed-role/tarpon/i-0 may not s3:GetObject on arn:aws:s3:::data/in/a",
            "User: [not shown] may not s3:GetObject on arn:aws:s3:::data/in/a",
        ),
        ("The key arn:aws-us-gov:kms:us-gov-1:123456789012:key/0 is off.", "The key [not shown] is off."),
        ("Access Denied", "Access Denied"),
    ],
)
def test_who_the_orchestrator_is_at_aws_is_for_its_operator_alone(message: str, shown: str) -> None:
    failure = parse_error(403, document("AccessDenied", message), {})
    assert f"403 AccessDenied {shown} (request 4442587FB7D0A2F9)" == str(failure)
    assert shown in explain_failure(failure, SETTINGS, None).message
    assert failure.names_somebody is (message != shown)
