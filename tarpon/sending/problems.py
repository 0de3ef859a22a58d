"""What can be wrong with a tree that is to be sent, or fetched back."""

from collections.abc import Sequence

from shared.errors import Conflict, InvalidInput, NotFound, Unavailable

SHOWN = 5


class NothingToSend(InvalidInput):
    def __init__(self, path: str) -> None:
        super().__init__(
            f"There is no file in {path!r}: nothing can be sent.",
            hint="Folders without files are not sent, as buckets know none.",
        )


class PathNotFound(NotFound):
    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path!r} cannot be sent: {why}.", hint="Name a file or a folder that is here.")


class CannotBeSent(InvalidInput):
    """Links that lead out of the tree, and what is neither file nor folder."""

    def __init__(self, path: str, problems: Sequence[str]) -> None:
        listed = "".join(f"\n  - {problem}" for problem in problems[:SHOWN])
        more = f"\n  - and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
        super().__init__(
            f"Not all of {path!r} can be sent:{listed}{more}",
            hint="Leave these out with --skip-special, or send a copy without them.",
        )


class FileUnreadable(InvalidInput):
    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path!r} cannot be read: {why}.", hint="Make it readable, or move it out of the tree.")


class FileChanged(Conflict):
    retryable = True

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path!r} changed while it was read, so that what was sent is of no use.",
            hint="Repeat the command when nothing writes there any more; what is there already is not sent again.",
        )


class TreeTooLarge(InvalidInput):
    def __init__(self, path: str, most: int) -> None:
        super().__init__(
            f"{path!r} has more than {most:,} files.",
            hint="Send it in several parts, or pack what is small into an archive.",
        )


class UploadFailed(Unavailable):
    def __init__(self, what: str, why: str) -> None:
        super().__init__(
            f"{what} could not be sent: {why}.",
            hint="Repeat the command: what is there already is not sent again.",
        )


class TargetInTheWay(Conflict):
    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path!r} is there already, and is not what was sent.",
            hint="Name another folder with --output-dir, or remove it.",
        )
