"""Sent data as inputs, of the kind `upload`: a tree or a file, by its name or digest, of the job's own namespace."""

import asyncio
from collections.abc import Sequence

from orchestrator.inputs.data_contents import DataContents
from orchestrator.inputs.data_problems import DataNotFound, DataNotWhole
from orchestrator.inputs.data_records import DataRecords
from orchestrator.inputs.manifests import ManifestMissing
from orchestrator.inputs.problems import InputNotFound, InputsNotReady
from orchestrator.rules.frozen_inputs import FrozenObject, FrozenSource
from orchestrator.rules.inputs.partitions import parts_of_keys
from orchestrator.rules.records import DataRecord
from shared.errors import StorageUnavailable
from shared.jobs.inputs.kinds import UploadInputParams, read_params
from shared.jobs.inputs.manifest import DataFile
from shared.jobs.inputs.partition import Partition
from shared.jobs.spec import SpecConfig
from shared.protocol.objects import content_key


class SentDataInputs:
    """The resolver. What a job reads is kept until its end, whatever becomes of the name, or of the data."""

    def __init__(self, records: DataRecords, contents: DataContents) -> None:
        self._records = records
        self._contents = contents
        self._freezing = asyncio.Semaphore(1)
        """One tree at a time, as each may be large."""

    def __repr__(self) -> str:
        return f"<SentDataInputs of {self._records!r}>"

    async def resolve(self, namespace: str, source: SpecConfig, count: int) -> FrozenSource:
        """Raises InputNotFound, InputsNotReady, PatternInvalid, PatternTooSlow, and LayoutInvalid."""
        params = read_params(source, UploadInputParams)
        place = f"data {params.data[:80]!r} of namespace {namespace}"
        try:
            record = await self._records.used(await self._found(namespace, params.data))
            tree = await self._contents.tree(record)
        except (DataNotFound, DataNotWhole) as error:
            why = "it has not been sent to its end" if isinstance(error, DataNotWhole) else "there is none of that name"
            raise InputNotFound(place, why, hint=error.hint) from None
        except ManifestMissing as error:
            raise InputNotFound(place, "it is not in the bucket any more", hint=error.hint) from None
        except StorageUnavailable as error:
            raise InputsNotReady(place, error.message, hint=error.hint) from None
        async with self._freezing:
            objects = await asyncio.to_thread(_frozen, record, tree.manifest.files, params.partition, count)
        return FrozenSource(location=record.location.at(""), objects=objects, data=record.digest)

    async def _found(self, namespace: str, data: str) -> DataRecord:
        """Also where it has just been sent at another orchestrator."""
        try:
            return self._records.ready(namespace, data)
        except (DataNotFound, DataNotWhole):
            await self._records.catch_up()
            return self._records.ready(namespace, data)


def _frozen(
    record: DataRecord, files: Sequence[DataFile], partition: Partition, count: int
) -> tuple[FrozenObject, ...]:
    """With their parts, in the order of their paths. Blocks."""
    parts = parts_of_keys([each.path for each in files], partition, prefix="", count=count)
    return tuple(
        FrozenObject(
            key=content_key(record.location.key, each.sha256),
            path=each.path,
            size=each.size,
            sha256=each.sha256,
            executable=each.executable,
            part=part,
        )
        for each, part in zip(files, parts, strict=True)
    )
