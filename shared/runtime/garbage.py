"""Collection of cyclic garbage: rare, because most of what is dropped here is freed at once."""

import gc

YOUNG, MIDDLE, OLD = 50_000, 20, 20
"""Objects more than freed, and looks at younger ones, between two looks. Python's own 700, 10, 10 are for programs that
hold little; here each look passes over what hundreds of jobs in flight hold, and cost a fourteenth of the time."""


def look_rarely() -> None:
    gc.set_threshold(YOUNG, MIDDLE, OLD)
