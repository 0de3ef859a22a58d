"""What is told of a pull, and how seldom."""

from collections.abc import Iterable

import pytest

from compute.engines.docker.api import PullStep
from compute.engines.docker.pull_progress import FIRST_PAUSE_SECONDS, PullProgress
from orchestrator.rules.lifecycle import MAX_PROGRESS

IMAGE = "localhost:5000/x:1"
MB = 1_000_000
HOUR = 3600


def step(layer: str, status: str, done: int = 0, total: int = 0) -> PullStep:
    return PullStep(layer=layer, status=status, done_bytes=done, total_bytes=total)


def said_after(*steps: PullStep) -> str:
    """What is told once it is time to tell something."""
    progress = PullProgress(IMAGE, 0.0)
    for each in steps[:-1]:
        progress.take(each, 0.0)
    return progress.take(steps[-1], FIRST_PAUSE_SECONDS)


def test_the_beginning_and_the_end_are_told_with_the_name() -> None:
    progress = PullProgress(IMAGE, 100.0)
    assert progress.sentence == f"Pulling image {IMAGE}"
    assert progress.finished(112.3) == f"Pulled image {IMAGE} in 12 s"
    assert PullProgress("i" * 1000, 0.0).finished(0.25) == f"Pulled image {'i' * 150} in 0.2 s"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            [
                step("a", "Pulling fs layer"),
                step("b", "Pulling fs layer"),
                step("a", "Downloading", 30 * MB, 80 * MB),
                step("b", "Downloading", 14 * MB, 40 * MB),
            ],
            ": 36 % of 120 MB",
        ),
        (
            [step("a", "Downloading", 30 * MB, 80 * MB), step("b", "Waiting")],
            ": 0 of 2 layers, 30 MB so far",
        ),
        ([step("a", "Pulling fs layer"), step("b", "Download complete")], ": 1 of 2 layers"),
        ([step("a", "Downloading", 1, 900), step("a", "Download complete")], ": 1 kB is here and being unpacked"),
        (
            [step("a", "Downloading", 1, 2 * MB), step("a", "Extracting", 1, 2 * MB)],
            ": 2 MB is here and being unpacked",
        ),
        ([step("a", "Pull complete")], ": all of it is here and being unpacked"),
        ([step("old", "Already exists"), step("a", "Downloading", MB, 4 * MB)], ": 25 % of 4 MB"),
    ],
)
def test_progress_is_a_percentage_where_all_sizes_are_known_and_no_guess_where_not(
    steps: list[PullStep], said: str
) -> None:
    assert said_after(*steps) == f"Pulling image {IMAGE}{said}"


@pytest.mark.parametrize(
    "other", [step("1", "Pulling from some/image"), step("", "Digest: sha256:0"), step("a", "Retrying in 5 seconds")]
)
def test_what_is_not_about_a_layer_is_no_news(other: PullStep) -> None:
    assert said_after(other) == ""


def test_a_percentage_never_goes_back() -> None:
    progress = PullProgress(IMAGE, 0.0)
    told = [progress.take(each, now * 10.0) for now, each in enumerate(downloads(4, chunks=20), start=1)]
    percentages = [int(sentence.split(": ")[1].split(" %")[0]) for sentence in told if "%" in sentence]
    assert percentages == sorted(percentages)
    assert len(percentages) > 5


def downloads(layers: int, *, chunks: int) -> Iterable[PullStep]:
    names = [f"layer-{number}" for number in range(layers)]
    for name in names:
        yield step(name, "Pulling fs layer")
    for done in range(chunks):
        for name in names:
            yield step(name, "Downloading", done * MB, chunks * MB)
    for name in names:
        yield step(name, "Download complete")
    for name in names:
        yield step(name, "Pull complete")


def test_it_is_told_on_change_alone_and_not_before_the_pause_is_over() -> None:
    progress = PullProgress(IMAGE, 0.0)
    assert progress.take(step("a", "Downloading", MB, 10 * MB), FIRST_PAUSE_SECONDS - 0.1) == ""
    assert progress.take(step("a", "Downloading", MB, 10 * MB), FIRST_PAUSE_SECONDS) != ""
    assert progress.take(step("a", "Downloading", MB, 10 * MB), HOUR) == ""


def test_the_longest_pull_has_fewer_sentences_than_a_history_takes() -> None:
    progress = PullProgress(IMAGE, 0.0)
    told = [
        sentence
        for tenth in range(10 * HOUR)
        if (sentence := progress.take(step("a", "Downloading", tenth * MB, 10 * HOUR * MB), tenth / 10))
    ]
    assert 20 < len(told) < MAX_PROGRESS - 2


def test_a_pull_moves_by_new_bytes_and_layers_alone() -> None:
    steps = [
        (step("a", "Pulling fs layer"), True),
        (step("a", "Downloading", MB, 2 * MB), True),
        (step("a", "Downloading", MB, 2 * MB), False),
        (step("a", "Retrying in 5 seconds"), False),
        (step("a", "Downloading", 0, 2 * MB), False),
        (step("a", "Downloading", MB, 2 * MB), False),
        (step("a", "Downloading", MB + 1, 2 * MB), True),
        (step("", "Status"), False),
        (step("a", "Download complete"), True),
        (step("a", "Extracting", 1, 2 * MB), False),
    ]
    progress, moved = PullProgress(IMAGE, 0.0), []
    for each, _ in steps:
        progress.take(each, 0.0)
        moved.append(progress.has_moved)
    assert moved == [has_moved for _, has_moved in steps]
    assert progress.is_all_here
