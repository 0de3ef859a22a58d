"""The client for programs that do not await: as `tarpon.Client`, and each call returns when it is done.

`python -m tests.blocking_client_file` has made this file from the asynchronous one.
"""

# ruff: noqa: E501

import os
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from shared.extraction.placement_rules import PlacementRules
from shared.jobs.spec import Job, JobView
from shared.protocol.jobs.rest_schedules import ScheduleResponse
from shared.protocol.jobs.rest_waits import WaitsResponse
from shared.protocol.namespaces.rest_data import DataFilesResponse, DataView, DeleteDataResponse, ListDataResponse
from shared.protocol.namespaces.rest_namespaces import NamespaceView
from shared.protocol.namespaces.rest_secrets import SecretView
from shared.protocol.rest import (
    DeleteResponse,
    ExecutionView,
    HistoryItem,
    JobResponse,
    LogLine,
    Page,
    RerunResponse,
    ResultItem,
    StopResponse,
    SubmitResponse,
)
from shared.protocol.rest_nodes import (
    AgentConfigResponse,
    AgentNodeResponse,
    AliveResponse,
    ListNodesResponse,
    NodeKeysResponse,
    NodeState,
    UnfinishedUpload,
    UpdateNodeResponse,
    VersionView,
)
from shared.protocol.rest_sessions import LinkResponse
from shared.protocol.rest_tokens import DAY_SECONDS, TokenCreated, TokenView
from shared.protocol.rest_users import CreateUserResponse, UserView
from tarpon.blocking.loop_thread import LoopThread
from tarpon.client import Client
from tarpon.comparison.compare import SHOWN, compare_results
from tarpon.comparison.views import Comparison
from tarpon.http.trust import ClientTrust
from tarpon.http.watching import Progress
from tarpon.results.fetch_job import Fetched, OnFetchProgress, get_results
from tarpon.results.files import ResultEntry, list_files, read_file
from tarpon.sending.fetch import FetchedData
from tarpon.sending.send import OnProgress, SendReport
from tarpon.verification.folder import verify_folder
from tarpon.verification.verify import verify_results
from tarpon.verification.views import ResultsVerification


class SyncClient:
    """`tarpon.Client` without `await`, for scripts, notebooks and tests. Use it with `with`, or close it.

    `host` may also be a URL, such as that of a reverse proxy; `port` is ignored then. Of several hosts, in a list or
    parted by commas, the next one is asked where one does not answer or is not ready. Without them the environment
    names them: TARPON_API_HOST and TARPON_API_PORT, or the same with BACALHAU_.

    `api_key`, or else TARPON_API_KEY, is what `tarpon user create` gave; it may hold the addresses. Without a key and
    an address the orchestrator is asked whose DataDir is on this machine, over a Unix socket that needs no key. Over
    http:// a key is never sent: requests are signed with it, and KeyNotKnownThere is raised where an answer does not
    prove that its sender knows the key; KeyNotSent where http:// would leave this machine.

    Without a key, who has signed in there with `tarpon auth sso login` asks as that one; `sign_ins` is the DataDir of
    that command, if not the one of the environment. The token goes to the addresses and authority alone for which it
    is kept, and is refreshed as long as the issuer lets it be; then SignInOver is raised.

    `timeout` bounds each try of a call; `patience` is how long a watch waits for an orchestrator that went away. Every
    call is safe to repeat and is repeated a few times where that may help. All raise OrchestratorUnreachable where
    nobody answers, and RemoteError with the server's own code, message and hint.

    Its connections live in a thread of its own, so that it works where an event loop runs already, as in a notebook.
    Several threads may use one at the same time. What gives one thing after another (`watch`, `logs`, `list_files`) is
    an iterator; leave it and it ends.
    """

    def __init__(
        self,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        api_key: str | None = None,
        trust: ClientTrust | None = None,
        timeout: float = 30.0,
        patience: float = 120.0,
        sign_ins: str | os.PathLike[str] | None = None,
    ) -> None:
        self._loop = LoopThread("tarpon client")
        self._client = Client(
            host, port, api_key=api_key, trust=trust, timeout=timeout, patience=patience, sign_ins=sign_ins
        )
        self._is_open = False
        self._opening = threading.Lock()
        self._ends = weakref.finalize(self, _end, self._loop, self._client)

    def __repr__(self) -> str:
        return f"<SyncClient {self._client!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its connections; nothing can be asked any more."""
        self._ends()

    def _opened(self) -> Client:
        with self._opening:
            if not self._ends.alive:
                raise RuntimeError("This client was closed.")
            if not self._is_open:
                self._loop.run(self._client.__aenter__())
                self._is_open = True
        return self._client

    @property
    def url(self) -> str:
        """Of the orchestrator that is asked at present."""
        return self._client.url

    def submit(
        self, job: Job | Mapping[str, Any], *, force: bool = False, idempotency_token: str | None = None
    ) -> SubmitResponse:
        """Run a job. A mapping is read as a job file is: any case of keys, unknown keys raise InvalidDocument.

        Give a token of your own to make a repeated submit of another process the same job too.
        """
        return self._loop.run(self._opened().submit(job, force=force, idempotency_token=idempotency_token))

    def submit_all(
        self, jobs: Iterable[Job | Mapping[str, Any]], *, force: bool = False, idempotency_token: str | None = None
    ) -> tuple[SubmitResponse, ...]:
        """Run jobs that may need each other, all of them or none; what came of each, in their order."""
        return self._loop.run(self._opened().submit_all(jobs, force=force, idempotency_token=idempotency_token))

    def get(self, job: str, *, namespace: str = "", job_version: int = 0) -> JobView:
        """The job of this id, of this name, or of this unambiguous beginning of an id; version 0 is the newest."""
        return self._loop.run(self._opened().get(job, namespace=namespace, job_version=job_version))

    def describe(
        self, job: str, *, namespace: str = "", job_version: int = 0, include: Iterable[str] = ("history", "executions")
    ) -> JobResponse:
        return self._loop.run(
            self._opened().describe(job, namespace=namespace, job_version=job_version, include=include)
        )

    def list(
        self,
        *,
        namespace: str = "",
        limit: int = 0,
        next_token: str = "",
        order_by: str = "",
        reverse: bool = False,
        labels: str = "",
        states: Iterable[str] = (),
        exit_codes: Iterable[int | str] = (),
        since: str = "",
        name: str = "",
        schedules: bool = False,
    ) -> Page[JobView]:
        """Some jobs, the newest first unless `reverse` says otherwise; the orchestrator itself begins with the oldest.

        All that is given has to hold; a page may hold fewer than `limit` although more follow. `namespace` "*" means
        all; `labels` is a selector such as `team=a,env in (x,y)`; `since` a length such as `12h` or a time; in `name`
        `*` and `?` stand for anything; the exit code `nonzero` is all but 0; `schedules` are those alone.
        """
        return self._loop.run(
            self._opened().list(
                namespace=namespace,
                limit=limit,
                next_token=next_token,
                order_by=order_by,
                reverse=reverse,
                labels=labels,
                states=states,
                exit_codes=exit_codes,
                since=since,
                name=name,
                schedules=schedules,
            )
        )

    def waits(self, job: str, *, namespace: str = "", limit: int | None = None) -> WaitsResponse:
        """What the job waits for, with at most `limit` nodes and what they lack."""
        return self._loop.run(self._opened().waits(job, namespace=namespace, limit=limit))

    def stop(self, job: str, *, reason: str = "", namespace: str = "") -> StopResponse:
        return self._loop.run(self._opened().stop(job, reason=reason, namespace=namespace))

    def rerun(
        self, job: str, *, job_version: int = 0, failed: bool = False, reason: str = "", namespace: str = ""
    ) -> RerunResponse:
        """Run a version of a job, the newest if it is 0, again as a new version; safe to send twice.

        With `failed` only those of its parts that have not completed: the new version keeps the results of the others.
        """
        return self._loop.run(
            self._opened().rerun(job, job_version=job_version, failed=failed, reason=reason, namespace=namespace)
        )

    def pause_schedule(self, job: str, *, reason: str = "", namespace: str = "") -> ScheduleResponse:
        """Have the schedule of a job begin no further run."""
        return self._loop.run(self._opened().pause_schedule(job, reason=reason, namespace=namespace))

    def resume_schedule(self, job: str, *, reason: str = "", namespace: str = "") -> ScheduleResponse:
        """Have a schedule go on with what is due from now on."""
        return self._loop.run(self._opened().resume_schedule(job, reason=reason, namespace=namespace))

    def run_schedule_now(self, job: str, *, namespace: str = "") -> ScheduleResponse:
        """Begin a run of a schedule at once, also of one that is paused; safe to send twice."""
        return self._loop.run(self._opened().run_schedule_now(job, namespace=namespace))

    def delete(self, job: str, *, results: bool = False, force: bool = False, namespace: str = "") -> DeleteResponse:
        """Have an ended job forgotten, with `results` also what it published; with `force` it is stopped first."""
        return self._loop.run(self._opened().delete(job, results=results, force=force, namespace=namespace))

    def history(
        self,
        job: str,
        *,
        namespace: str = "",
        limit: int = 0,
        next_token: str = "",
        event_type: str = "",
        execution_id: str = "",
        job_version: int = 0,
        all_job_versions: bool = False,
    ) -> Page[HistoryItem]:
        """What happened; `event_type` is all, job or execution, and version 0 the newest."""
        return self._loop.run(
            self._opened().history(
                job,
                namespace=namespace,
                limit=limit,
                next_token=next_token,
                event_type=event_type,
                execution_id=execution_id,
                job_version=job_version,
                all_job_versions=all_job_versions,
            )
        )

    def executions(
        self,
        job: str,
        *,
        namespace: str = "",
        next_token: str = "",
        job_version: int = 0,
        all_job_versions: bool = False,
    ) -> Page[ExecutionView]:
        return self._loop.run(
            self._opened().executions(
                job,
                namespace=namespace,
                next_token=next_token,
                job_version=job_version,
                all_job_versions=all_job_versions,
            )
        )

    def all_executions(
        self, job: str, *, namespace: str = "", job_version: int = 0, all_job_versions: bool = False
    ) -> tuple[ExecutionView, ...]:
        """The executions of all pages."""
        return self._loop.run(
            self._opened().all_executions(
                job, namespace=namespace, job_version=job_version, all_job_versions=all_job_versions
            )
        )

    def execution(self, execution: str) -> ExecutionView:
        """The execution of this whole id, whatever its job."""
        return self._loop.run(self._opened().execution(execution))

    def versions(self, job: str, *, namespace: str = "") -> tuple[JobView, ...]:
        """The job as it was submitted each time that it changed or was forced to run again."""
        return self._loop.run(self._opened().versions(job, namespace=namespace))

    def results(
        self,
        job: str,
        *,
        namespace: str = "",
        job_version: int = 0,
        execution_id: str = "",
        refused: bool = False,
        records: bool = False,
    ) -> tuple[ResultItem, ...]:
        """The results of a version, each with a freshly signed URL; version 0 is the newest.

        Or that of one execution, of whichever version. Fetch them with tarpon.results.get_results. `refused` tells the
        orchestrator that S3 has refused the URLs that it gave last. With `records` they have URLs of the records beside
        results as well, whether there are any or not.
        """
        return self._loop.run(
            self._opened().results(
                job,
                namespace=namespace,
                job_version=job_version,
                execution_id=execution_id,
                refused=refused,
                records=records,
            )
        )

    def result_files(
        self, job: str, execution_id: str, names: Sequence[str], *, namespace: str = "", refused: bool = False
    ) -> tuple[str, ...]:
        """Freshly signed URLs of files of a plain result, at most 512, by their names as objects.

        How a path is spelled there is in shared/protocol/results/object_names.py. `refused` is as that of `results`.
        """
        return self._loop.run(
            self._opened().result_files(job, execution_id, names, namespace=namespace, refused=refused)
        )

    def namespaces(self) -> tuple[NamespaceView, ...]:
        """Those that have jobs or a weight, with what their executions hold."""
        return self._loop.run(self._opened().namespaces())

    def set_namespace(self, name: str, *, weight: int) -> NamespaceView:
        """Set how much of the fleet a namespace has a right to, compared with others."""
        return self._loop.run(self._opened().set_namespace(name, weight=weight))

    def put_secret(self, name: str, value: str | bytes, *, namespace: str = "") -> SecretView:
        """Store a secret for the tasks of a namespace, or another value of it."""
        return self._loop.run(self._opened().put_secret(name, value, namespace=namespace))

    def secrets(self, *, namespace: str = "") -> tuple[SecretView, ...]:
        """The secrets of a namespace, without their values."""
        return self._loop.run(self._opened().secrets(namespace=namespace))

    def delete_secret(self, name: str, *, namespace: str = "") -> None:
        """Tasks that have it keep it; executions that are offered from now on fail for it."""
        self._loop.run(self._opened().delete_secret(name, namespace=namespace))

    def watch(self, job: str, *, namespace: str = "") -> Iterator[Progress]:
        """History items from the first on, and the job at each change of its state; ends when the job has ended.

        A lost connection is made again and goes on where it was. A schedule goes on until it is stopped.
        """
        return self._loop.each(self._opened().watch(job, namespace=namespace))

    def logs(
        self, job: str, *, namespace: str = "", execution_id: str = "", follow: bool = False, tail: int = -1
    ) -> Iterator[LogLine]:
        """What a task has written and, with `follow`, what it writes until it ends; `tail` -1 means from the beginning.

        With `follow` a task is waited for, a lost connection is made again and goes on where it was, and the end comes
        from the task's result where its node does not have it any more. Without, it is the beginning that the record
        keeps of what a task that has ended wrote.

        Raises NoResults where no task of the job has begun before its end, IsSchedule where it is one, and
        OutputNotKept and what a download raises where what was written last is not to be had.
        """
        return self._loop.each(
            self._opened().logs(job, namespace=namespace, execution_id=execution_id, follow=follow, tail=tail)
        )

    def put_data(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "",
        namespace: str = "",
        skip_special: bool = False,
        on_progress: OnProgress = lambda *_: None,
    ) -> SendReport:
        """Send a file or a tree for the inputs of jobs: what of it is not there yet, as the same content is sent once.

        A job reads it by `Source: {Type: upload, Params: {Data: ...}}`, with its name or its digest. A link within the
        tree is sent as the file that it leads to. Links out of it, and what is neither file nor folder, are refused, or
        left out with `skip_special`. `on_progress` is told what is done, of how many bytes, and of how many in all.

        Raises NothingToSend, CannotBeSent, FileChanged where something was written meanwhile, FileUnreadable, and
        UploadFailed; what was sent before an error or a cancellation is not sent again.
        """
        return self._loop.run(
            self._opened().put_data(
                path, name=name, namespace=namespace, skip_special=skip_special, on_progress=on_progress
            )
        )

    def get_data(
        self,
        data: str,
        *,
        output_dir: str | os.PathLike[str] = "",
        namespace: str = "",
        on_progress: Callable[[int, int], None] = lambda *_: None,
    ) -> FetchedData:
        """Download sent data, by its name or digest, into a folder of its name, or into `output_dir`.

        Each file is there only when its digest is right; those that are there already are not fetched. Raises
        TargetInTheWay, DownloadFailed and Damaged.
        """
        return self._loop.run(
            self._opened().get_data(data, output_dir=output_dir, namespace=namespace, on_progress=on_progress)
        )

    def wait(self, job: str, *, namespace: str = "") -> JobView:
        """The job when it has ended, however it did. Raises IsSchedule where it is one, for its runs alone end."""
        return self._loop.run(self._opened().wait(job, namespace=namespace))

    def list_data(self, *, namespace: str = "") -> ListDataResponse:
        """The data that was sent to a namespace, the newest first, and how much there may be."""
        return self._loop.run(self._opened().list_data(namespace=namespace))

    def data(self, data: str, *, namespace: str = "") -> DataView:
        """What is known of data, by its name, its digest, or the beginning of that."""
        return self._loop.run(self._opened().data(data, namespace=namespace))

    def delete_data(self, data: str, *, namespace: str = "") -> DeleteDataResponse:
        """Delete data, or, where it is named and has other names, this name alone. Jobs that read it still can."""
        return self._loop.run(self._opened().delete_data(data, namespace=namespace))

    def data_files(self, data: str, *, first: int = 0, namespace: str = "") -> DataFilesResponse:
        """Some of its files with signed URLs, from number `first` on."""
        return self._loop.run(self._opened().data_files(data, first=first, namespace=namespace))

    def nodes(self) -> ListNodesResponse:
        return self._loop.run(self._opened().nodes())

    def node(self, node: str) -> NodeState:
        """The node of this id or of this unambiguous beginning of an id."""
        return self._loop.run(self._opened().node(node))

    def node_keys(self, node: str) -> NodeKeysResponse:
        """The keys that this node has had, and when; by its whole id also those of one that was deleted."""
        return self._loop.run(self._opened().node_keys(node))

    def drain(self, node: str) -> None:
        """Place nothing new on this node, and take back what it has not begun. What runs there goes on to its end."""
        self._loop.run(self._opened().drain(node))

    def undrain(self, node: str) -> None:
        """Place work on this node again."""
        self._loop.run(self._opened().undrain(node))

    def reject(self, node: str, *, message: str = "", revoke_token: bool = False) -> UpdateNodeResponse:
        """Cut this node off at once, and let its key in no more; what was placed on it goes elsewhere.

        The answer names the join token with which it came, which is revoked too if that is asked for. A warning in it
        says what could not be done: then the node's connection stands, and nothing that it says counts.
        """
        return self._loop.run(self._opened().reject(node, message=message, revoke_token=revoke_token))

    def approve(self, node: str) -> None:
        """Let a rejected node in again, or give work to one that awaits approval."""
        self._loop.run(self._opened().approve(node))

    def set_node_owner(self, node: str, owner: str) -> None:
        """Say whose this node is from now on; nobody's with an empty name."""
        self._loop.run(self._opened().set_node_owner(node, owner))

    def rekey(self, node: str, *, expires_seconds: int = DAY_SECONDS) -> TokenCreated:
        """Cut this node off, and make the join token with which it comes back under its name with a new key."""
        return self._loop.run(self._opened().rekey(node, expires_seconds=expires_seconds))

    def delete_node(self, node: str, *, message: str = "", force: bool = False) -> str:
        """Forget a node that has stopped and holds nothing any more, and its key; `message` goes to the log.

        With `force` it is rejected first, so that neither matters. Gives what could not be done, as `reject` does.
        """
        return self._loop.run(self._opened().delete_node(node, message=message, force=force))

    def create_join_token(
        self,
        *,
        uses: int = 1,
        expires_seconds: int = DAY_SECONDS,
        labels: Mapping[str, str] | None = None,
        namespaces: Iterable[str] = (),
        approval: bool = False,
        owner: str = "",
    ) -> TokenCreated:
        """A token with which nodes join, and its text, which nobody is told again. With 0 uses it is for any number.

        Its nodes have these labels, whatever they say, and are given jobs of these namespaces alone, if there are any.
        `owner` is whose nodes they are.
        """
        return self._loop.run(
            self._opened().create_join_token(
                uses=uses,
                expires_seconds=expires_seconds,
                labels=labels,
                namespaces=namespaces,
                approval=approval,
                owner=owner,
            )
        )

    def join_tokens(self) -> tuple[TokenView, ...]:
        """The newest first."""
        return self._loop.run(self._opened().join_tokens())

    def revoke_join_token(self, token: str) -> TokenView:
        """Let no more nodes in with it. Those that are in stay."""
        return self._loop.run(self._opened().revoke_join_token(token))

    def users(self) -> tuple[UserView, ...]:
        """All users, also those that were revoked."""
        return self._loop.run(self._opened().users())

    def create_user(
        self,
        name: str,
        capabilities: Iterable[str],
        *,
        namespaces: Iterable[str] = (),
        expires_in: str = "",
        addresses: Iterable[str] = (),
    ) -> CreateUserResponse:
        """Make a user; the answer has its key, which is told nowhere else. No namespaces are all of them."""
        return self._loop.run(
            self._opened().create_user(
                name, capabilities, namespaces=namespaces, expires_in=expires_in, addresses=addresses
            )
        )

    def revoke_user(self, name: str) -> UserView:
        """End a user's key, and what is open by it."""
        return self._loop.run(self._opened().revoke_user(name))

    def page_link(self) -> LinkResponse:
        """A code with which the page signs in once, as whoever asks for it, within two minutes. It is a secret."""
        return self._loop.run(self._opened().page_link())

    def alive(self) -> AliveResponse:
        return self._loop.run(self._opened().alive())

    def version(self) -> VersionView:
        return self._loop.run(self._opened().version())

    def unfinished_uploads(self) -> Page[UnfinishedUpload]:
        """Uploads in parts that no result came of, and that could not be aborted yet."""
        return self._loop.run(self._opened().unfinished_uploads())

    def agent_config(self) -> AgentConfigResponse:
        """The settings of the orchestrator as it runs; secrets are hidden."""
        return self._loop.run(self._opened().agent_config())

    def agent_node(self) -> AgentNodeResponse:
        """The orchestrator as a node, with the health of its publishers."""
        return self._loop.run(self._opened().agent_node())

    def get_results(
        self,
        job: str,
        *,
        paths: Sequence[str] = (),
        output_dir: str | os.PathLike[str] | None = None,
        raw: bool = False,
        merge: bool = False,
        partition: int | None = None,
        execution_id: str = "",
        job_version: int = 0,
        namespace: str = "",
        called: str = "",
        rules: PlacementRules | None = None,
        on_progress: OnFetchProgress | None = None,
    ) -> Fetched:
        """Download, verify and extract the results of `job`, or what is below `paths` in them.

        `output_dir` is made where it is missing. Without it that is `./job-<job>` (`./job-<namespace>-<job>` in another
        namespace), with `called` in place of the job where that is given.
        A path is a file, a directory with all that is in it, or a pattern (see tarpon.archive.selection); only the blocks
        that hold those are fetched, and they go into folders that are there already. `merge` puts several results into
        one tree (see tarpon.results.merged), in which `stdout` of part 0 is `stdout.0000`; no folder gets both. `partition`
        and `execution_id` choose one result; the newest version of the job is meant unless `job_version` or the execution
        is another's. Of replicas that had to agree another one's archive is taken where that of the first is lost, or not
        what they agreed about, unless the execution was chosen. `raw` keeps the archives, as
        `raw/<job id>_<execution id>.tar.gz`.

        What the target cannot have, or the `rules` leave out, is told in the answer; all else is placed. Nothing that
        exists is overwritten. Cancelling it, or an error, leaves nothing behind, except that with `raw` the
        part that has arrived stays and the next call goes on from there. Raises JobNotEnded, NoResults, NotFound,
        ResultIsPlain, FileNotInResult, ResultsInTheWay, ResultsNotMerged, ResultsNotMixed, AlreadyFetching, InvalidInput,
        DownloadFailed, Damaged, NoSpaceForResult and CannotExtract, beside what the client raises.
        """
        return self._loop.run(
            get_results(
                self._opened(),
                job,
                paths=paths,
                output_dir=output_dir,
                raw=raw,
                merge=merge,
                partition=partition,
                execution_id=execution_id,
                job_version=job_version,
                namespace=namespace,
                called=called,
                rules=rules,
                on_progress=on_progress,
            )
        )

    def list_files(
        self,
        job: str,
        *,
        partition: int | None = None,
        execution_id: str = "",
        job_version: int = 0,
        namespace: str = "",
    ) -> Iterator[ResultEntry]:
        """The entries of the result of `job`, in the order of the archive, as they are read.

        Only the index beside the archive is fetched, where there is one. Version 0 is the newest, or that of the execution.
        Raises InvalidInput where the job has several results and none is chosen, NoResults, JobNotEnded, NotFound,
        DownloadFailed and Damaged.
        """
        return self._loop.each(
            list_files(
                self._opened(),
                job,
                partition=partition,
                execution_id=execution_id,
                job_version=job_version,
                namespace=namespace,
            )
        )

    def read_file(
        self,
        job: str,
        path: str,
        write: Callable[[memoryview], object],
        *,
        partition: int | None = None,
        execution_id: str = "",
        job_version: int = 0,
        namespace: str = "",
    ) -> None:
        """Give the content of one file of a result to `write`, piece by piece, in a thread.

        Links within the result are followed. Each piece is checked before it is given; with an index beside the archive
        only the blocks that hold the file are fetched. Raises FileNotInResult, NotAFile, what list_files raises, and what
        `write` raises.
        """
        self._loop.run(
            read_file(
                self._opened(),
                job,
                path,
                write,
                partition=partition,
                execution_id=execution_id,
                job_version=job_version,
                namespace=namespace,
            )
        )

    def compare_results(
        self,
        first: str | Path,
        second: str | Path,
        *,
        executions: Sequence[str] = (),
        namespace: str = "",
        limit: int = SHOWN,
    ) -> Comparison:
        """Compare the results of two jobs part by part, or of two executions by their whole ids.

        `executions` are ids, or beginnings of some: one for each of the jobs, in their order, which may be the same job.
        A Path is a folder on this machine, such as one that get_results has made: what this user's umask takes from modes
        does not count then. At most `limit` differences are listed, and counted all of them; of files that differ in their
        content the first bytes that do are looked for. In memory are one entry and some MiB of each. Raises what list_files
        raises, ManifestDamaged where a manifest is not that of its result, NotInOrder, TooManyFilesToRead and OSError.
        """
        return self._loop.run(
            compare_results(self._opened(), first, second, executions=executions, namespace=namespace, limit=limit)
        )

    def verify_results(
        self,
        job: str,
        *,
        namespace: str = "",
        version: int = 0,
        execution: str = "",
        records_keys: Collection[str] = (),
    ) -> ResultsVerification:
        """Verify all results of a job, or those of one version or execution.

        Records beside results may be signed by one of the `records_keys`, too, which earlier orchestrators had. What is
        wrong of them is in the answer. Raises what list_files raises of a job without results, and Unavailable.
        """
        return self._loop.run(
            verify_results(
                self._opened(),
                job,
                namespace=namespace,
                version=version,
                execution=execution,
                records_keys=records_keys,
            )
        )

    def verify_folder(
        self, folder: Path, *, namespace: str = "", execution: str = "", records_keys: Collection[str] = ()
    ) -> ResultsVerification:
        """Verify the result of this execution, or of that which the folder remembers, and compare the folder with it.

        Raises InvalidInput where there is no folder, or no execution is known of it, OSError, and what verify_results
        raises.
        """
        return self._loop.run(
            verify_folder(self._opened(), folder, namespace=namespace, execution=execution, records_keys=records_keys)
        )


def _end(loop: LoopThread, client: Client) -> None:
    loop.end(client.__aexit__(None, None, None))
