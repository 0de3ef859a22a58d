"""Names of jobs: which job is meant by a name, the beginning of an id, or the idempotency token of a version."""

from collections.abc import Callable, Iterable, Mapping

from orchestrator.rules.near_names import near_names
from orchestrator.rules.records import JobRecord
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.job_lists import JobLists
from orchestrator.state.job_records import tokens_of
from shared.errors import JobAmbiguous, JobNotFound
from shared.ids import LEAST_BEGINNING, JobId, new_job_id
from shared.jobs.namespaces import DEFAULT_NAMESPACE


def _anything(_namespace: str) -> bool:
    return True


class JobNames:
    """`jobs` are those that there are, which the model keeps; what is looked for here may belong to others.

    Names of filed jobs are in the index, and found as well.
    """

    def __init__(self, jobs: Mapping[JobId, JobEntry], lists: JobLists, filed: JobIndex) -> None:
        self._jobs = jobs
        self._lists = lists
        self._filed = filed
        #: But for those of jobs that are called by their ids.
        self._names: dict[tuple[str, str], JobId] = {}
        self._beginnings: dict[str, dict[JobId, None]] = {}
        #: But for those of first versions, which decide their jobs' ids.
        self._tokens: dict[tuple[str, str], JobId] = {}

    # ---- feeding ------------------------------------------------------------------------------------------------

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

    def take_back(self, entry: JobEntry, *, is_named: bool) -> None:
        """A job is not filed any more."""
        self.put(entry.id)
        if is_named:
            self._names[entry.namespace, entry.name] = entry.id
        for token in tokens_of(entry.records):
            self.note_token(entry.id, entry.namespace, token)

    # ---- reading ------------------------------------------------------------------------------------------------

    def _called(self, namespace: str, name: str) -> JobId | None:
        """The job with this name, where that is not its id."""
        return self._names.get((namespace, name)) or self._filed.named(namespace, name)

    def leads_to(self, job: JobId, namespace: str, name: str) -> bool:
        """Whether this name, which is not its id, is known in memory as that of this job."""
        return self._names.get((namespace, name)) == job

    def named(self, namespace: str, name: str) -> JobId | None:
        known = self._called(namespace, name)
        if known is not None:
            return known
        entry = self._jobs.get(JobId(name))
        return entry.id if entry is not None and (entry.namespace, entry.job.name) == (namespace, name) else None

    def of_token(self, namespace: str, token: str) -> JobEntry | None:
        """The job that came of this idempotency token, or a version of it."""
        known = self._jobs.get(new_job_id(token, namespace))
        if known is not None:
            return known
        job = self._tokens.get((namespace, token)) or self._filed.of_token(namespace, token)
        return self._jobs.get(job) if job is not None else None

    def find(
        self, text: str, namespace: str = DEFAULT_NAMESPACE, *, sees: Callable[[str], bool] = _anything
    ) -> JobEntry:
        """A job by id, by name in the namespace, or by the beginning of an id, if only one job is called that.

        No name can take the place of an id. What is in a namespace that its reader does not see counts nowhere, as if
        it were not there. Raises JobNotFound or JobAmbiguous.
        """
        whole = self._jobs.get(JobId(text))
        if whole is not None and sees(whole.namespace):
            return whole
        found = {job for job in self._begun_with(text) if sees(self._jobs[job].namespace)}
        named = self._called(namespace, text) if sees(namespace) else None
        if named is not None and named in self._jobs:
            found.add(named)
        if not found:
            raise JobNotFound(text, self._near(text, namespace) if sees(namespace) else ())
        if len(found) > 1:
            raise JobAmbiguous(text, len(found))
        return self._jobs[found.pop()]

    def _begun_with(self, text: str) -> set[JobId]:
        """The jobs whose ids begin so; nothing for a text that is too short to tell."""
        live = {job for job in self._beginnings.get(text[:LEAST_BEGINNING], ()) if job.startswith(text)}
        return live.union(self._filed.begun_with(text)) if len(text) >= LEAST_BEGINNING else live

    def _near(self, text: str, namespace: str) -> tuple[str, ...]:
        """Names of jobs that may have been meant; of those that begin alike, the newest."""
        newest = (entry.name for entry in self._lists.find(namespace))
        return near_names(text, lambda name: self._called(namespace, name) in self._jobs, newest)

    def __len__(self) -> int:
        return len(self._names) + len(self._beginnings) + len(self._tokens)

    def __repr__(self) -> str:
        return f"<JobNames, {len(self._names)} of them>"
