"""Snakemake's rules as jobs of Tarpon: `snakemake --executor tarpon --jobs 10`, where PYTHONPATH has the folder above.

The command of a rule runs on a node, which needs bash and what the command calls, but no Snakemake and no file system
in common: input files are sent before, output and log files fetched after.
"""

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from tarpon import JobState, SyncClient
from tarpon.errors import OrchestratorUnreachable, TarponError

ENDED = {JobState.COMPLETED, JobState.FAILED, JobState.STOPPED}

# Files are on this machine, for Snakemake as if nodes shared them: the executor carries them to and fro.
common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    image: Optional[str] = field(
        default=None, metadata={"help": "Container image in which rules run; without one they run on the node itself"}
    )
    namespace: Optional[str] = field(default=None, metadata={"help": "Namespace of the jobs"})


class Executor(RemoteExecutor):
    """The orchestrator is found by TARPON_API_HOST and what else `tarpon.Client` reads."""

    def __post_init__(self) -> None:
        self.client = SyncClient()
        settings = self.workflow.executor_settings
        self.image = settings.image or ""
        self.namespace = settings.namespace or ""

    def run_job(self, job: Any) -> None:
        try:
            if job.is_group() or not job.shellcmd:
                raise WorkflowError(f"Rule {job.name}: only rules with `shell` and without `group` run on Tarpon.")
            submitted = self.client.submit(self._job(job))
        except TarponError as error:
            raise WorkflowError(f"Rule {job.name}: {error}") from error
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=submitted.job_id))

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        for info in active_jobs:
            async with self.status_rate_limiter:
                if not await asyncio.to_thread(self._has_ended, info):
                    yield info

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        for info in active_jobs:
            self.client.stop(info.external_jobid, reason="Snakemake was interrupted.", namespace=self.namespace)

    def shutdown(self) -> None:
        super().shutdown()
        self.client.close()

    def _job(self, job: Any) -> dict[str, Any]:
        inputs = [_inner(each) for each in job.input]
        top, kind = ("", "docker") if self.image else ("$PWD", "process")
        command = ["bash", "-euo", "pipefail", "-c", _script(job, inputs, top)]
        params = {"Entrypoint": command} | ({"Image": self.image} if self.image else {})
        task = {
            "Name": "rule",
            "Engine": {"Type": kind, "Params": params},
            "Publisher": {"Type": "s3managed"},
            "ResultPaths": [{"Name": "outputs", "Path": "/outputs"}],
            "Resources": {"CPU": str(job.threads)} | _memory(job.resources.get("mem_mb")),
        }
        if inputs:
            data = {"Type": "upload", "Params": {"Data": self._send(inputs)}}
            task["InputSources"] = [{"Source": data, "Target": "/inputs"}]
        space = {"Namespace": self.namespace} if self.namespace else {}
        return {"Type": "batch", "Labels": {"snakemake.rule": job.name}, "Tasks": [task], **space}

    def _send(self, inputs: Iterable[str]) -> str:
        """Those files alone, under the names that the rule has for them. What is there already is not sent again."""
        with tempfile.TemporaryDirectory(dir=self.tmpdir) as folder:
            for name in inputs:
                place = Path(folder, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                if Path(name).is_dir():
                    shutil.copytree(name, place, copy_function=_linked, dirs_exist_ok=True)
                else:
                    _linked(name, place)
            return self.client.put_data(folder, namespace=self.namespace).data.digest

    def _has_ended(self, info: SubmittedJobInfo) -> bool:
        try:
            job = self.client.get(info.external_jobid, namespace=self.namespace)
            if job.status not in ENDED:
                return False
            if job.status == JobState.COMPLETED and not any(job.exit_codes):
                why = self._fetch(info)
            else:
                why = f"{job.state.message or job.status}\n{self._said(info)}"
        except OrchestratorUnreachable as error:  # it is asked again
            self.logger.warning("%s: %s", info.external_jobid, error)
            return False
        except TarponError as error:
            why = str(error)
        if why:
            self.report_job_error(info, msg=f"{why}\n")
        else:
            self.report_job_success(info)
        return True

    def _fetch(self, info: SubmittedJobInfo) -> str:
        """Move what the rule names to its place; what is missing there is told. A node's links are no files."""
        with tempfile.TemporaryDirectory(dir=self.tmpdir) as folder:
            self.client.get_results(info.external_jobid, output_dir=Path(folder), namespace=self.namespace)
            for name in (*info.job.output, *info.job.log):
                found = Path(folder, "outputs", _inner(name))
                if found.is_symlink() or not found.exists():
                    return f"{name} is not in the result of {info.external_jobid}"
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                if Path(name).is_dir():
                    shutil.rmtree(name)
                found.replace(name)
                os.utime(name)  # newer than its inputs by the clock of this machine
        return ""

    def _said(self, info: SubmittedJobInfo) -> str:
        try:
            lines = self.client.logs(info.external_jobid, namespace=self.namespace, tail=20)
            return "".join(line.line for line in lines)
        except TarponError:  # it never ran
            return ""


def _script(job: Any, inputs: Iterable[str], top: str) -> str:
    """The rule's command, in a folder with its inputs as links, which is left with its outputs alone."""
    made = {str(Path(each).parent) for each in (*inputs, *map(_inner, (*job.output, *job.log)))}
    lines = [f'top="{top}"', 'cd "$top/outputs"', shlex.join(["mkdir", "-p", "--", *sorted(made)])]
    lines += [f'ln -s -- "$top/inputs/"{shlex.quote(name)} {shlex.quote(name)}' for name in inputs]
    lines.append(f"(\n{job.shellcmd}\n)")
    lines += [f"rm -f -- {shlex.quote(name)}" for name in inputs]
    return "\n".join(lines)


def _inner(path: str) -> str:
    """Raises WorkflowError for what is not below the working directory, which no node has."""
    name = os.path.relpath(path)
    if name == ".." or name.startswith(f"..{os.sep}"):
        raise WorkflowError(f"{path} is not below the working directory, so it cannot be carried to a node.")
    return name


def _memory(megabytes: Any) -> dict[str, str]:
    return {"Memory": f"{megabytes}MB"} if isinstance(megabytes, int) else {}


def _linked(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another file system
        shutil.copyfile(source, target)
