"""Job files: YAML or JSON, keys in any case, and no key that would silently do nothing."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from shared.data.decoding import decode, load_yaml
from shared.errors import InvalidDocument
from shared.jobs.spec import Job
from tarpon.cli.job_files.template import Template

STDIN = "-"
MAX_BYTES = 10 << 20


def read_job(name: str, template: Template = lambda text, _: text) -> Job:
    """The job in the file `name`, or on stdin if it is "-". Raises InvalidDocument with every problem in it."""
    document = read_document(name, template)
    return decode(document.content, Job, what=document.what, unknown="refuse", known=document.problems)[0]


class JobDocument(NamedTuple):
    """The mapping in a job file, what the file is called in errors, and what is wrong with it as a file."""

    content: dict[str, Any]
    what: str
    problems: tuple[str, ...] = ()


def read_document(name: str, template: Template) -> JobDocument:
    """Raises InvalidDocument where the file holds no mapping."""
    what = "The job on stdin" if name == STDIN else f"The job file {name}"
    twice: list[str] = []
    content = load_yaml(template(_text(name, what), what), what=what, twice=twice)
    return JobDocument(content, what, tuple(twice))


def parse_job(text: str, *, what: str = "The job") -> Job:
    """Raise InvalidDocument, which names `what`, each wrong key's path and the key that was probably meant."""
    return decode(load_yaml(text, what=what), Job, what=what, unknown="refuse")[0]


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
