"""The Python interface to an orchestrator: submit jobs, watch them, get what they produced.

async with tarpon.Client() as client:
    submitted = await client.submit(job)
    ended = await client.wait(submitted.job_id)
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from shared.errors import NoResults, OrchestratorUnreachable
from shared.jobs.spec import JobView
from shared.protocol.rest import LogLine, LogPlace
from tarpon.http.calls import Absence
from tarpon.http.live_logs import LiveLogs
from tarpon.http.orchestrator_calls import OrchestratorCalls
from tarpon.http.paths import job_path, query_of
from tarpon.http.watching import Progress, is_over, patiently, refuse_endless, watch

if TYPE_CHECKING:
    from tarpon.sending.fetch import FetchedData
    from tarpon.sending.send import OnProgress, SendReport

T = TypeVar("T")

NOT_BEGUN = frozenset({"Pending", "Queued"})


class Client(OrchestratorCalls):
    """One orchestrator, or several with the same jobs, over HTTP. Use it as an async context manager.

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
    """

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` gives, which is called again while an orchestrator that has answered before is away for a while.

        It is as patient as a watch.
        """
        return await patiently(self._calls, ask, patience=self._patience)

    def absence(self) -> Absence | None:
        """For how long those have not answered for whom a watch or logs wait; None where somebody does."""
        return self._calls.absence()

    async def watch(self, job: str, *, namespace: str = "") -> AsyncGenerator[Progress, None]:
        """History items from the first on, and the job at each change of its state; ends when the job has ended.

        A lost connection is made again and goes on where it was. A schedule goes on until it is stopped.
        """
        progress = watch(self._calls, job_path(job, "/events"), query_of(namespace=namespace), patience=self._patience)
        async with aclosing(progress) as events:
            async for event in events:
                yield event

    async def logs(
        self, job: str, *, namespace: str = "", execution_id: str = "", follow: bool = False, tail: int = -1
    ) -> AsyncGenerator[LogLine, None]:
        """What a task has written and, with `follow`, what it writes until it ends; `tail` -1 means from the beginning.

        With `follow` a task is waited for, a lost connection is made again and goes on where it was, and the end comes
        from the task's result where its node does not have it any more. Without, it is the beginning that the record
        keeps of what a task that has ended wrote.

        Raises NoResults where no task of the job has begun before its end, IsSchedule where it is one, and
        OutputNotKept and what a download raises where what was written last is not to be had.
        """
        query = query_of(
            namespace=namespace, execution_id=execution_id, follow="true" if follow else "", tail=str(tail)
        )
        if follow and not execution_id:
            await self._begun(job, namespace)
        else:
            ask = partial(self.get, job, namespace=namespace)  # an error of the API is told better than by a websocket
            await (self.patiently(ask) if follow else ask())
        live = LiveLogs(self._calls, job_path(job, "/logs"), query, patience=self._patience)
        async with aclosing(live.lines()) as lines:
            async for line in lines:
                yield line
        if follow and not live.is_whole:
            from tarpon.results.rest_of_output import rest_of_output, result_with_output  # most never need it

            place = live.place or LogPlace(execution_id=execution_id)
            find = partial(result_with_output, self, job, place.execution_id, namespace)
            rest = rest_of_output(self, job, place, await self.patiently(find), namespace=namespace)
            async with aclosing(rest) as lines:
                async for line in lines:
                    yield line

    async def put_data(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "",
        namespace: str = "",
        skip_special: bool = False,
        on_progress: "OnProgress" = lambda *_: None,
    ) -> "SendReport":
        """Send a file or a tree for the inputs of jobs: what of it is not there yet, as the same content is sent once.

        A job reads it by `Source: {Type: upload, Params: {Data: ...}}`, with its name or its digest. A link within the
        tree is sent as the file that it leads to. Links out of it, and what is neither file nor folder, are refused, or
        left out with `skip_special`. `on_progress` is told what is done, of how many bytes, and of how many in all.

        Raises NothingToSend, CannotBeSent, FileChanged where something was written meanwhile, FileUnreadable, and
        UploadFailed; what was sent before an error or a cancellation is not sent again.
        """
        from tarpon.sending.send import send_data  # most never need it

        return await send_data(
            self, path, name=name, namespace=namespace, skip_special=skip_special, on_progress=on_progress
        )

    async def get_data(
        self,
        data: str,
        *,
        output_dir: str | os.PathLike[str] = "",
        namespace: str = "",
        on_progress: Callable[[int, int], None] = lambda *_: None,
    ) -> "FetchedData":
        """Download sent data, by its name or digest, into a folder of its name, or into `output_dir`.

        Each file is there only when its digest is right; those that are there already are not fetched. Raises
        TargetInTheWay, DownloadFailed and Damaged.
        """
        from tarpon.sending.fetch import fetch_data

        return await fetch_data(self, data, output_dir=output_dir, namespace=namespace, on_progress=on_progress)

    async def _begun(self, job: str, namespace: str) -> None:
        """Return when a task of the job has begun. Raises NoResults if none has before the job's end."""
        async with aclosing(self.watch(job, namespace=namespace)) as events:
            async for event in events:
                if isinstance(event, JobView):
                    if event.state.state_type not in NOT_BEGUN:
                        break
                    refuse_endless(job, event)
        if not await self.patiently(partial(self.all_executions, job, namespace=namespace)):
            raise NoResults(
                f"No task of job {job} has begun.", hint=f"`tarpon job describe {job}` shows what happened."
            )

    async def wait(self, job: str, *, namespace: str = "") -> JobView:
        """The job when it has ended, however it did. Raises IsSchedule where it is one, for its runs alone end."""
        async with aclosing(self.watch(job, namespace=namespace)) as events:
            async for event in events:
                if isinstance(event, JobView):
                    if is_over(event):
                        return event
                    refuse_endless(job, event)
        raise OrchestratorUnreachable(self._calls.told)
