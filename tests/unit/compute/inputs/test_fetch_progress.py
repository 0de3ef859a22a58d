"""How far a fetch is, is told in a sentence, and seldom."""

from compute.inputs.objects.progress import FIRST_PAUSE_SECONDS, FIRST_SECONDS, FetchProgress

GIB = 1 << 30


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_quick_fetch_tells_nothing_and_a_long_one_how_far_it_is() -> None:
    told, clock = list[str](), Clock()
    progress = FetchProgress(7, 4 * GIB, told.append, clock)
    progress.came(GIB)
    progress.done()
    clock.now = FIRST_SECONDS
    for _ in range(2):
        progress.done()
    assert told == ["Fetching inputs: 2 of 7, 1.0 of 4.0 GiB"]
    clock.now += FIRST_PAUSE_SECONDS
    progress.came(GIB // 5)
    progress.came(GIB)
    assert told[1:] == ["Fetching inputs: 3 of 7, 1.2 of 4.0 GiB"]


def test_small_sizes_are_told_in_bytes() -> None:
    progress = FetchProgress(3, 500, lambda _: None)
    progress.came(12)
    assert progress.sentence == "Fetching inputs: 0 of 3, 12 of 500 B"
