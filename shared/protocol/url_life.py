"""The life of a signed URL: whether it lived when it was answered, by itself and by the clock of who answered.

Services tell in many words, or in none, that they refuse a URL for its time. Its query says from when and for how long
it lives ("Authenticating Requests: Using Query Parameters", API reference of Amazon S3), and an answer has a Date.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, urlsplit

MOST_SKEW_SECONDS = 60.0
"""How far two clocks may be apart before that is told as wrong. Services differ in what they bear; AWS bears 15 min."""


def was_dead(url: str, date: str) -> bool:
    """Whether `url` had expired, or was yet to come, at the `date` of an answer to it. False where that is not told."""
    query = parse_qs(urlsplit(url).query)
    try:
        (stamp,), (seconds,) = query["X-Amz-Date"], query["X-Amz-Expires"]
        begins = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        ends = begins + timedelta(seconds=int(seconds))
        answered = parsedate_to_datetime(date).astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return False
    return answered >= ends or answered < begins - timedelta(seconds=MOST_SKEW_SECONDS)
