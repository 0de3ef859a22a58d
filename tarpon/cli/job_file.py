"""How a job file is read: YAML or JSON, keys in any case, and no key that would silently do nothing."""

import sys
from pathlib import Path

from shared.decoding import decode, load_yaml
from shared.errors import InvalidDocument
from shared.jobspec import Job

STDIN = "-"
MAX_BYTES = 10 << 20


def read_job(name: str) -> Job:
    """The job in the file `name`, or on stdin if it is "-". Raises InvalidDocument with every problem in it."""
    what = "The job on stdin" if name == STDIN else f"The job file {name}"
    return parse_job(_text(name, what), what=what)


def parse_job(text: str, *, what: str = "The job") -> Job:
    """Raise InvalidDocument, which names `what`, each wrong key's path and the key that was probably meant."""
    job, _ = decode(load_yaml(text, what=what), Job, what=what, unknown="refuse")
    return job


def _text(name: str, what: str) -> str:
    try:
        content = sys.stdin.buffer.read(MAX_BYTES + 1) if name == STDIN else _content(Path(name))
        if len(content) > MAX_BYTES:
            raise InvalidDocument(f"{what} has more than {MAX_BYTES >> 20} MiB.")
        return content.decode("utf-8")
    except FileNotFoundError:
        raise InvalidDocument(f"{what} does not exist.", hint='A file name, or "-" for stdin, is needed.') from None
    except OSError as error:
        raise InvalidDocument(f"{what} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise InvalidDocument(f"{what} cannot be read: it is not UTF-8 text.") from None


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
