"""Disk work: what one run writes, from its journal entry to its result, gathered and packed by its engine's thread."""

from collections.abc import Callable

from msgspec.structs import replace

from compute.archive.small import SmallArchive
from compute.disk import disk_room
from compute.disk.result_contents import ResultContents
from compute.disk.secret_files import SecretFiles
from compute.disk.workspace import Workspace
from compute.executions.execution import Execution, run_seconds
from compute.journal.entry import Entry, Phase, moved
from compute.journal.journal import Journal
from compute.processes.mark import ProcessMark
from shared.protocol.messages import ExecutionStarted, TaskEnded
from shared.protocol.nodes.gpus import MOST_GPUS

Pack = Callable[[Workspace, ResultContents], SmallArchive | None]


class DiskWork:
    """The journal entry and the result folder of one run, until its task has ended.

    One thread at a time works here, and changes nothing else: of the execution it reads what lasts as long as the run.
    The loop takes over what came of it (`Execution.take_over`), and closes it when it does not wait any more.
    """

    def __init__(
        self, execution: Execution, journal: Journal, workspace: Workspace, pack: Pack, secret_files: SecretFiles
    ) -> None:
        self.entry = execution.entry
        """How far it is."""
        self.is_on_disk = execution.is_on_disk
        self.packed: SmallArchive | None = None
        self._has_begun = False
        self._execution = execution
        self._journal = journal
        self._workspace = workspace
        self._pack = pack
        self._secret_files = secret_files
        self.is_closed = False
        """What a thread that hangs gets done from then on is too late: it is neither written nor taken over."""

    def __repr__(self) -> str:
        return f"<DiskWork of {self._execution.id}, {self.entry.phase}>"

    def close(self) -> None:
        self.is_closed = True

    def begin(self) -> None:
        """Blocks. The entry comes first, because from now on something of this execution may have to be removed."""
        self.is_on_disk = True
        if self._execution.devices:
            self.entry = replace(self.entry, devices=self._execution.devices)
        self._put(self.entry)
        self._workspace.create(self.entry.assignment.task.result_paths)
        self._has_begun = True

    def prepare(self) -> None:
        """Blocks. From now on something of this execution may have to be ended."""
        if not self._has_begun:
            self.begin()
        task = self.entry.assignment.task
        if task.secrets:
            self._secret_files.write(self.entry.execution_id, self._execution.secrets.files(task))

    def started(self, process: ProcessMark | None) -> None:
        """In whatever thread the engine is, the loop's included; it may write to the disk only if `prepare` did."""
        usage = self._execution.usage
        gpus = self._execution.devices[:MOST_GPUS]
        fact = ExecutionStarted(fetch_seconds=usage.fetch_seconds, pull_seconds=usage.pull_seconds, gpus=gpus)
        begun = replace(self.entry, process=process, inputs=usage.inputs, image=usage.image)
        self.entry = moved(begun, Phase.STARTED, fact)
        if self.is_on_disk:
            self._put(self.entry)

    def gather(self, exit_code: int) -> None:
        """Blocks. Complete the result folder, and pack it if it is small."""
        seconds = run_seconds(self._execution, self.entry)
        result_paths = self.entry.assignment.task.result_paths
        if not self.is_on_disk:
            self.is_on_disk = True
            self._workspace.create(result_paths)
        else:
            disk_room.check_room(self._workspace.root)
        gathered = self._workspace.gather(result_paths)
        files = self._workspace.short_outputs()
        secrets, peak = self._execution.secrets, self._execution.usage.peak_memory_bytes
        output = secrets.told(self._workspace.read_output(exit_code, files))
        fact = TaskEnded(output=output, run_seconds=seconds, peak_memory_bytes=peak)
        warnings = tuple(map(secrets.masked, gathered.warnings))
        warned = replace(self.entry, warnings=warnings, left_out_count=gathered.left_out_count)
        ended = moved(warned, Phase.ENDED, fact)
        self._put(ended)
        if ended.publishes and not ended.assignment.is_plain:
            contents = self._workspace.contents(*ended.ended, ended.assignment.task)
            self.packed = self._pack(self._workspace, contents.read(files) if files else contents)
        self.entry = ended

    def _put(self, entry: Entry) -> None:
        if not self.is_closed:
            self._journal.put(entry)
