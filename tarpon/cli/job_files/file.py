"""Job files: YAML or JSON, keys in any case, and no key that would silently do nothing."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from shared.data.decoding import decode, load_yaml, load_yaml_documents
from shared.errors import InvalidDocument
from shared.jobs.spec import Job
from tarpon.cli.job_files.template import Template

STDIN = "-"
MAX_BYTES = 10 << 20


def read_job(name: str, template: Template = lambda text, _: text) -> Job:
    """The one job in the file `name`, or on stdin if it is "-". Raises InvalidDocument with every problem in it."""
    file = read_job_file(name, template)
    if len(file.jobs) > 1:
        raise InvalidDocument(f"{file.what} holds {len(file.jobs)} jobs; one is possible here.")
    return decode(file.jobs[0], Job, what=file.what, unknown="refuse", known=file.problems)[0]


class JobFile(NamedTuple):
    """The mappings in a job file, one for each job, what the file is called, and what is wrong with it as a file."""

    jobs: list[dict[str, Any]]
    what: str
    problems: tuple[str, ...] = ()


def read_job_file(name: str, template: Template) -> JobFile:
    """One job, or several: documents with `---` between them, or a list `Jobs`.

    Raises InvalidDocument where the file holds no mapping.
    """
    what = "The job on stdin" if name == STDIN else f"The job file {name}"
    twice: list[str] = []
    documents = load_yaml_documents(template(_text(name, what), what), what=what, twice=twice)
    return JobFile([job for document in documents for job in _jobs_in(document, what)], what, tuple(twice))


def _jobs_in(document: dict[str, Any], what: str) -> list[dict[str, Any]]:
    listed = next((key for key in document if key.lower() == "jobs"), None)
    if listed is None:
        return [document]
    jobs = document[listed]
    if others := [key for key in document if key != listed]:
        raise InvalidDocument(f"{what} is not valid: beside Jobs there may be nothing else, and {others[0][:80]!r} is.")
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs) or not jobs:
        raise InvalidDocument(f"{what} is not valid: Jobs: expected a list of jobs.")
    return jobs


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
