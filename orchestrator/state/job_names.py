"""Which job is meant: by its name, by the beginning of its id, or by the idempotency token of one of its versions."""

from collections.abc import Iterable

from orchestrator.rules.records import JobRecord
from shared.ids import LEAST_BEGINNING, JobId


class JobNames:
    """Indexes alone: whether there is such a job, the model knows."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], JobId] = {}
        """But for those of jobs that are called by their ids."""
        self._beginnings: dict[str, dict[JobId, None]] = {}
        self._tokens: dict[tuple[str, str], JobId] = {}
        """But for those of first versions, which decide their jobs' ids."""

    def note(self, record: JobRecord) -> None:
        if record.name != record.id:
            self._names[record.namespace, record.name] = record.id
        if record.version > 1:
            self.note_token(record.id, record.namespace, record.token)

    def note_token(self, job: JobId, namespace: str, token: str) -> None:
        if token:
            self._tokens[namespace, token] = job

    def forget_token(self, job: JobId, namespace: str, token: str) -> None:
        """Also where it is not known."""
        if self._tokens.get((namespace, token)) == job:
            del self._tokens[namespace, token]

    def put(self, job: JobId) -> None:
        """From now on it is found by the beginning of its id."""
        self._beginnings.setdefault(job[:LEAST_BEGINNING], {})[job] = None

    def drop(self, job: JobId, namespace: str, name: str, tokens: Iterable[str]) -> None:
        if self._names.get((namespace, name)) == job:
            del self._names[namespace, name]
        for token in tokens:
            self.forget_token(job, namespace, token)
        begun = self._beginnings[job[:LEAST_BEGINNING]]
        del begun[job]
        if not begun:
            del self._beginnings[job[:LEAST_BEGINNING]]

    def named(self, namespace: str, name: str) -> JobId | None:
        return self._names.get((namespace, name))

    def of_token(self, namespace: str, token: str) -> JobId | None:
        return self._tokens.get((namespace, token))

    def begun_with(self, text: str) -> set[JobId]:
        """The jobs whose ids begin so; nothing for a text that is too short to tell."""
        return {job for job in self._beginnings.get(text[:LEAST_BEGINNING], ()) if job.startswith(text)}

    def __len__(self) -> int:
        return len(self._names) + len(self._beginnings) + len(self._tokens)

    def __repr__(self) -> str:
        return f"<JobNames, {len(self._names)} of them>"
