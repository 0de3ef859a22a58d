"""Failures of inputs: why a task does not get what it was to read."""

from shared.jobs.states import FailureReason


class InputFailed(Exception):
    """Ends the execution for this reason, which says whether another attempt may go better; `detail` is a sentence."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __repr__(self) -> str:
        return f"<InputFailed {self.reason}: {self.detail}>"


def not_placed(detail: str) -> InputFailed:
    return InputFailed(FailureReason.INPUT_NOT_PLACED, detail)
