"""How the lines of a stream of server-sent events become events (the rules are those of the HTML standard)."""

from tarpon.http.watching import ServerSentEvent, _Fields


def events(text: str) -> list[ServerSentEvent]:
    fields = _Fields()
    return [event for line in text.split("\n") if (event := fields.take(line)) is not None]


def test_an_event_ends_at_an_empty_line() -> None:
    assert events("id: 7\nevent: history\ndata: {}\n\n") == [ServerSentEvent("history", "{}", "7")]


def test_an_event_that_is_not_complete_is_no_event() -> None:
    assert events("event: history\ndata: {}") == []


def test_comments_keep_the_connection_alive_and_say_nothing() -> None:
    assert events(": hello\n\n:\n\n") == []


def test_data_may_have_several_lines() -> None:
    assert events("data: a\ndata: b\n\n") == [ServerSentEvent("", "a\nb")]


def test_only_one_blank_after_the_colon_is_not_data() -> None:
    assert events("data:  a\n\ndata:b\n\n") == [ServerSentEvent("", " a"), ServerSentEvent("", "b")]


def test_fields_that_are_not_used_are_skipped() -> None:
    assert events("retry: 100\ndata: a\nnonsense\n\n") == [ServerSentEvent("", "a")]


def test_what_one_event_says_does_not_colour_the_next() -> None:
    first, second = events("id: 1\nevent: job\ndata: a\n\ndata: b\n\n")
    assert first == ServerSentEvent("job", "a", "1")
    assert second == ServerSentEvent("", "b", "")
