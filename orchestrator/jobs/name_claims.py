"""Claims of names: a record that is created only once in each namespace, before the job itself exists."""

from orchestrator.rules.records import NameRecord
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from shared.errors import InvalidJob, RevisionConflict
from shared.ids import JobId, is_like_id
from shared.jobs.spec import Job
from shared.protocol import subjects


def check_name(model: Model, job: Job) -> None:
    """Raise InvalidJob for a new job whose name could be taken for an id. Jobs that are called so keep their names."""
    if is_like_id(job.name) and model.names.named(job.namespace, job.name) is None:
        raise InvalidJob(
            [f"Name {job.name[:80]!r} could be taken for the id of a job, or the beginning of one."],
            hint=f"Choose another name. There is no job of this name yet in the namespace {job.namespace}; to run one"
            " again that is there still, submit it in its own namespace.",
        )


class NameClaims:
    def __init__(self, model: Model, store: Store) -> None:
        self._model = model
        self._store = store

    async def claim(self, job: Job, fresh: JobId) -> JobId:
        """The id that the job's name belongs to in its namespace, which is `fresh` for a new name or none."""
        if not job.name:
            return fresh
        known = self._model.names.named(job.namespace, job.name)
        if known is not None:
            return known
        key = subjects.name_record(job.namespace, job.name)
        is_new = await changes.once(self._store, key, self._store.create(key, NameRecord(job_id=fresh)))
        return fresh if is_new else await self._claimed(key, job, fresh)

    async def _claimed(self, key: str, job: Job, fresh: JobId) -> JobId:
        """As `claim`, of a name about which there is a record, though no job of that name was known here."""
        record = await self._store.read(key)
        if record is None:  # the job of this name was removed
            await self._store.create_again(key, NameRecord(job_id=fresh))
            return fresh
        if not isinstance(record, NameRecord):
            raise RevisionConflict(key)
        await self._store.catch_up()
        if self._is_free(record.job_id, job) or await self._store.is_removed(subjects.job_record(record.job_id)):
            await self._store.update(key, NameRecord(job_id=fresh))
            return fresh
        return record.job_id

    def _is_free(self, claimed_for: JobId, job: Job) -> bool:
        """Whether a name is free that was claimed for a job which is called otherwise, or was removed."""
        owner = self._model.jobs.get(claimed_for)
        if owner is not None:  # its submit was refused after the claim
            return (owner.namespace, owner.job.name) != (job.namespace, job.name)
        left = self._model.stored_job(claimed_for)
        # Executions alone are left of a job that was removed, when NATS has brought them back.
        return left is not None and left.record is None and bool(left.executions)

    async def release(self, job: Job, fresh: JobId) -> None:
        """Give back a name that was claimed for a job which will not be."""
        if not job.name or self._model.names.named(job.namespace, job.name) is not None:
            return
        key = subjects.name_record(job.namespace, job.name)
        record = await self._store.read(key)
        if isinstance(record, NameRecord) and record.job_id == fresh:
            await self._store.delete(key)

    def __repr__(self) -> str:
        return f"<NameClaims over {self._model!r}>"
