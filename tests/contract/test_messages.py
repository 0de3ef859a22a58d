"""The bytes of every message, as the first program that sent it wrote them.

A golden text is never edited: nodes and orchestrators of different versions read each other. A new field has a default
and gets a new golden text beside the old ones, which must still be read.
"""

import contextlib
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ids import ExecutionId, JobId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.spec import (
    Constraint,
    InputSource,
    Job,
    Network,
    Resources,
    ResultPath,
    Retries,
    SecretFile,
    SpecConfig,
    Task,
    Timeouts,
)
from shared.protocol import messages
from shared.protocol.messages import (
    COPIES_HARD_LINKS,
    Accepted,
    AnyFact,
    AnyReport,
    Assignment,
    Assignments,
    AssignmentsAnswered,
    BeginFiles,
    BeginUpload,
    BesideGiven,
    BesideRequest,
    CancelExecution,
    CompleteUpload,
    ContainerEngine,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionProgressed,
    ExecutionStarted,
    FilesBegun,
    FilesGiven,
    FilesRequest,
    FileToSend,
    GrantGiven,
    GrantRequest,
    HandBack,
    Heartbeat,
    IndexGrantGiven,
    IndexGrantRequest,
    NodeInfo,
    NodeRequest,
    NodeRequestAnswer,
    Order,
    OrderAnswer,
    OutputAnswer,
    OutputPublished,
    OutputRead,
    PartsGiven,
    PartsRequest,
    ReadOutput,
    Receipt,
    Reconciliation,
    Register,
    Registration,
    Rejected,
    Report,
    Reports,
    RequestRefused,
    RunOutput,
    StoreRequest,
    StoreTold,
    TaskEnded,
    UnknownMessage,
    UploadBegun,
    UploadCompleted,
    UploadLost,
    UploadProgress,
    decode,
    encode,
)
from shared.protocol.nodes.engine_parameters import ToldParameter
from shared.protocol.nodes.inputs import InputFile, InputIndex, InputList, InputsGiven, InputsRequest
from shared.protocol.nodes.message import Message
from shared.protocol.objects import Beside
from shared.protocol.signed_url import SignedUrl

EXECUTION, JOB, NODE = ExecutionId("e-1"), JobId("j-1"), NodeId("n-1")
SIGNED = SignedUrl(
    method="PUT",
    url="https://s3.example.com/b/k?X-Amz-Signature=0",
    headers={"if-none-match": "*"},
    lifetime_seconds=3600,
)
GET = SignedUrl(method="GET", url="https://s3.example.com/b/k?X-Amz-Signature=0", lifetime_seconds=60)
TASK = Task(
    name="main",
    engine=SpecConfig(type="process", params={"Command": ["true"]}),
    publisher=SpecConfig(type="s3managed"),
    env={"A": "b"},
    meta={"m": "n"},
    input_sources=(InputSource(source=SpecConfig(type="inline", params={"Data": "x"}), alias="in", target="/in"),),
    result_paths=(ResultPath(name="out", path="/out"),),
    resources=Resources(cpu="500m", memory="512mb", disk="1gb", gpu="1"),
    network=Network(type="None", domains=("example.com",)),
    timeouts=Timeouts(execution_timeout=1, queue_timeout=2, total_timeout=3),
)

# One entry or more for every message. NEVER EDIT ONE OF THESE TEXTS: add another.
GOLDEN: list[tuple[Message, str]] = [
    (
        Assignment(
            execution_id=EXECUTION,
            job_id=JOB,
            job_name="a-job",
            job_type="batch",
            namespace="default",
            job_version=1,
            task=Task(name="main", engine=SpecConfig(type="noop")),
            resources=Capacity(),
        ),
        (
            '{"type":"Assignment","execution_id":"e-1","job_id":"j-1","job_name":"a-job","job_type":"batch",'
            '"namespace":"default","job_version":1,"task":{"Name":"main","Engine":{"Type":"noop"},"Publisher":{}},'
            '"resources":{}}'
        ),
    ),
    (
        Assignment(
            execution_id=EXECUTION,
            job_id=JOB,
            job_name="a-job",
            job_type="batch",
            namespace="default",
            job_version=2,
            partition_index=3,
            partition_count=4,
            task=TASK,
            resources=Capacity(cpu=0.5, memory=512, disk=1024, gpu=1),
            execution_timeout_seconds=60.0,
            publish_timeout_seconds=120.5,
            archive=SIGNED,
        ),
        (
            '{"type":"Assignment","execution_id":"e-1","job_id":"j-1","job_name":"a-job","job_type":"batch",'
            '"namespace":"default","job_version":2,"partition_index":3,"partition_count":4,"task":{"Name":"main",'
            '"Engine":{"Type":"process","Params":{"Command":["true"]}},"Publisher":{"Type":"s3managed"},"Env":{"A":"b"},'
            '"Meta":{"m":"n"},"InputSources":[{"Source":{"Type":"inline","Params":{"Data":"x"}},"Alias":"in",'
            '"Target":"/in"}],"ResultPaths":[{"Name":"out","Path":"/out"}],"Resources":{"CPU":"500m","Memory":"512mb",'
            '"Disk":"1gb","GPU":"1"},"Network":{"Type":"None","Domains":["example.com"]},"Timeouts":'
            '{"ExecutionTimeout":1,"QueueTimeout":2,"TotalTimeout":3}},"resources":{"CPU":0.5,"Memory":512,"Disk":1024,'
            '"GPU":1},"execution_timeout_seconds":60.0,"publish_timeout_seconds":120.5,"archive":{"method":"PUT",'
            '"url":"https://s3.example.com/b/k?X-Amz-Signature=0","headers":{"if-none-match":"*"},'
            '"lifetime_seconds":3600}}'
        ),
    ),
    (
        Assignment(
            execution_id=EXECUTION,
            job_id=JOB,
            job_name="a-job",
            job_type="batch",
            namespace="default",
            job_version=1,
            task=Task(name="main", engine=SpecConfig(type="noop")),
            resources=Capacity(),
            traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        (
            '{"type":"Assignment","execution_id":"e-1","job_id":"j-1","job_name":"a-job","job_type":"batch",'
            '"namespace":"default","job_version":1,"task":{"Name":"main","Engine":{"Type":"noop"},"Publisher":{}},'
            '"resources":{},"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}'
        ),
    ),
    (
        Assignment(
            execution_id=EXECUTION,
            job_id=JOB,
            job_name="a-job",
            job_type="batch",
            namespace="default",
            job_version=1,
            task=Task(
                name="main",
                engine=SpecConfig(type="noop"),
                env={"A": "secret:b"},
                secrets=(SecretFile(name="b", path="/run/b"),),
            ),
            resources=Capacity(),
            secrets=b"sealed",
            is_plain=True,
        ),
        (
            '{"type":"Assignment","execution_id":"e-1","job_id":"j-1","job_name":"a-job","job_type":"batch",'
            '"namespace":"default","job_version":1,"task":{"Name":"main","Engine":{"Type":"noop"},"Publisher":{},'
            '"Env":{"A":"secret:b"},"Secrets":[{"Name":"b","Path":"/run/b"}]},"resources":{},"secrets":"c2VhbGVk","is_plain":true}'
        ),
    ),
    (
        Assignments(
            assignments=(
                Assignment(
                    execution_id=EXECUTION,
                    job_id=JOB,
                    job_name="a-job",
                    job_type="batch",
                    namespace="default",
                    job_version=1,
                    task=Task(name="main", engine=SpecConfig(type="noop")),
                    resources=Capacity(),
                ),
            )
        ),
        (
            '{"type":"Assignments","assignments":[{"type":"Assignment","execution_id":"e-1","job_id":"j-1",'
            '"job_name":"a-job","job_type":"batch","namespace":"default","job_version":1,"task":{"Name":"main",'
            '"Engine":{"Type":"noop"},"Publisher":{}},"resources":{}}]}'
        ),
    ),
    (
        AssignmentsAnswered(
            answers=(Accepted(session="s", inventories=1), Rejected(reason="QueueFull", retryable=True))
        ),
        (
            '{"type":"AssignmentsAnswered","answers":[{"type":"Accepted","session":"s","inventories":1},'
            '{"type":"Rejected","reason":"QueueFull","retryable":true}]}'
        ),
    ),
    (
        CancelExecution(execution_id=EXECUTION, reason="Stopped because the job was stopped"),
        '{"type":"CancelExecution","execution_id":"e-1","reason":"Stopped because the job was stopped"}',
    ),
    (CancelExecution(execution_id=EXECUTION), '{"type":"CancelExecution","execution_id":"e-1"}'),
    (
        Receipt(execution_ids=(EXECUTION, ExecutionId("e-2"))),
        '{"type":"Receipt","execution_ids":["e-1","e-2"]}',
    ),
    (Register(), '{"type":"Register"}'),
    (Accepted(session="s", inventories=3), '{"type":"Accepted","session":"s","inventories":3}'),
    (
        Rejected(reason="QueueFull", detail="No more may wait.", retryable=True),
        '{"type":"Rejected","reason":"QueueFull","detail":"No more may wait.","retryable":true}',
    ),
    (Rejected(reason="EngineNotOffered"), '{"type":"Rejected","reason":"EngineNotOffered"}'),
    (
        Registration(info=NodeInfo(node_id=NODE, version="0.1.0"), session="s", inventory=1),
        '{"type":"Registration","info":{"node_id":"n-1","version":"0.1.0"},"session":"s","inventory":1}',
    ),
    (
        Registration(
            info=NodeInfo(
                node_id=NODE,
                version="0.1.0",
                protocol_min=2,
                protocol_max=3,
                labels={"zone": "a"},
                engines=("noop",),
                publishers=("s3managed",),
                input_sources=("inline",),
                capacity=Capacity(cpu=4.0, memory=8192),
                queue_capacity=32,
                loopback_id="boot:1",
            ),
            session="s",
            inventory=2,
            held=(EXECUTION,),
        ),
        (
            '{"type":"Registration","info":{"node_id":"n-1","version":"0.1.0","protocol_min":2,"protocol_max":3,'
            '"labels":{"zone":"a"},"engines":["noop"],"publishers":["s3managed"],"input_sources":["inline"],'
            '"capacity":{"CPU":4.0,"Memory":8192},"queue_capacity":32,"loopback_id":"boot:1"},"session":"s",'
            '"inventory":2,"held":["e-1"]}'
        ),
    ),
    (
        Registration(
            info=NodeInfo(node_id=NODE, version="0.1.0", abilities=(COPIES_HARD_LINKS,)), session="s", inventory=1
        ),
        (
            '{"type":"Registration","info":{"node_id":"n-1","version":"0.1.0","abilities":["copies-hard-links"]},'
            '"session":"s","inventory":1}'
        ),
    ),
    (GrantRequest(execution_id=EXECUTION), '{"type":"GrantRequest","execution_id":"e-1"}'),
    (
        Reconciliation(settled=(EXECUTION,)),
        '{"type":"Reconciliation","settled":["e-1"]}',
    ),
    (Reconciliation(), '{"type":"Reconciliation"}'),
    (
        GrantGiven(archive=SIGNED),
        (
            '{"type":"GrantGiven","archive":{"method":"PUT","url":"https://s3.example.com/b/k?X-Amz-Signature=0",'
            '"headers":{"if-none-match":"*"},"lifetime_seconds":3600}}'
        ),
    ),
    (
        RequestRefused(code="GrantRefused", message="No.", retryable=True),
        '{"type":"RequestRefused","code":"GrantRefused","message":"No.","retryable":true}',
    ),
    (ExecutionStarted(), '{"type":"ExecutionStarted"}'),
    (ExecutionStarted(age_seconds=1.5), '{"type":"ExecutionStarted","age_seconds":1.5}'),
    (ExecutionStarted(gpus=("0", "3")), '{"type":"ExecutionStarted","gpus":["0","3"]}'),
    (
        TaskEnded(output=RunOutput(), run_seconds=2.5),
        '{"type":"TaskEnded","output":{},"run_seconds":2.5}',
    ),
    (
        TaskEnded(
            age_seconds=0.5,
            output=RunOutput(stdout="o", stdout_truncated=True, stderr="e", stderr_truncated=True, exit_code=137),
            run_seconds=2.5,
        ),
        (
            '{"type":"TaskEnded","age_seconds":0.5,"output":{"stdout":"o","stdout_truncated":true,"stderr":"e",'
            '"stderr_truncated":true,"exit_code":137},"run_seconds":2.5}'
        ),
    ),
    (
        OutputPublished(size_bytes=1, md5="m", sha256="s", entries=2, raw_bytes=3),
        '{"type":"OutputPublished","size_bytes":1,"md5":"m","sha256":"s","entries":2,"raw_bytes":3}',
    ),
    (
        OutputPublished(
            size_bytes=1,
            md5="m",
            sha256="s",
            entries=2,
            raw_bytes=3,
            warnings=("a socket was skipped",),
            warnings_count=4,
            publish_seconds=5.5,
            retries=6,
            renewals=7,
        ),
        (
            '{"type":"OutputPublished","size_bytes":1,"md5":"m","sha256":"s","entries":2,"raw_bytes":3,'
            '"warnings":["a socket was skipped"],"warnings_count":4,"publish_seconds":5.5,"retries":6,"renewals":7}'
        ),
    ),
    (
        OutputPublished(
            size_bytes=1, md5="m", sha256="s", entries=2, raw_bytes=3, warnings=("f was left out",), left_out_count=1
        ),
        (
            '{"type":"OutputPublished","size_bytes":1,"md5":"m","sha256":"s","entries":2,"raw_bytes":3,'
            '"warnings":["f was left out"],"left_out_count":1}'
        ),
    ),
    (
        OutputPublished(size_bytes=1, md5="m", sha256="s", entries=2, raw_bytes=3, was_there=True),
        '{"type":"OutputPublished","size_bytes":1,"md5":"m","sha256":"s","entries":2,"raw_bytes":3,"was_there":true}',
    ),
    (
        ExecutionFailed(reason="DiskFull", detail="the disk is full", output=RunOutput(exit_code=1)),
        '{"type":"ExecutionFailed","reason":"DiskFull","detail":"the disk is full","output":{"exit_code":1}}',
    ),
    (
        ExecutionFailed(reason="NodeRestarted", not_begun=True),
        '{"type":"ExecutionFailed","reason":"NodeRestarted","not_begun":true}',
    ),
    (
        TaskEnded(output=RunOutput(), run_seconds=2.5, peak_memory_bytes=1 << 33),
        '{"type":"TaskEnded","output":{},"run_seconds":2.5,"peak_memory_bytes":8589934592}',
    ),
    (
        ExecutionFailed(reason="OutOfMemory", run_seconds=1.5, peak_memory_bytes=7),
        '{"type":"ExecutionFailed","reason":"OutOfMemory","run_seconds":1.5,"peak_memory_bytes":7}',
    ),
    (
        ExecutionStarted(fetch_seconds=2.5, pull_seconds=1.5),
        '{"type":"ExecutionStarted","fetch_seconds":2.5,"pull_seconds":1.5}',
    ),
    (HandBack(execution_ids=(EXECUTION,)), '{"type":"HandBack","execution_ids":["e-1"]}'),
    (
        Registration(info=NodeInfo(node_id=NODE, host="build-01", version="0.1.0"), session="s", inventory=1),
        '{"type":"Registration","info":{"node_id":"n-1","host":"build-01","version":"0.1.0"},"session":"s","inventory":1}',
    ),
    (
        Registration(info=NodeInfo(node_id=NodeId("n-1"), version="0.1.0"), session="s", inventory=2, leaving=True),
        (
            '{"type":"Registration","info":{"node_id":"n-1","version":"0.1.0"},"session":"s","inventory":2,'
            '"leaving":true}'
        ),
    ),
    (
        Registration(
            info=NodeInfo(node_id=NodeId("n-1"), version="0.1.0", problems=("a mount is left",)),
            session="s",
            inventory=2,
        ),
        (
            '{"type":"Registration","info":{"node_id":"n-1","version":"0.1.0","problems":["a mount is left"]},'
            '"session":"s","inventory":2}'
        ),
    ),
    (
        Registration(
            info=NodeInfo(
                node_id=NodeId("n-1"),
                version="0.1.0",
                container_engine=ContainerEngine(
                    name="Podman", version="4.3.1", store="overlay", rootless=True, isolation=("crun", "cgroup v2")
                ),
            ),
            session="s",
            inventory=2,
        ),
        (
            '{"type":"Registration","info":{"node_id":"n-1","version":"0.1.0","container_engine":{"name":"Podman",'
            '"version":"4.3.1","store":"overlay","rootless":true,"isolation":["crun","cgroup v2"]}},"session":"s",'
            '"inventory":2}'
        ),
    ),
    (
        Registration(
            info=NodeInfo(node_id=NodeId("n-1"), version="0.1.0", isolation={"process": "bubblewrap"}),
            session="s",
            inventory=2,
        ),
        (
            '{"type":"Registration","info":{"node_id":"n-1","version":"0.1.0","isolation":{"process":"bubblewrap"}},'
            '"session":"s","inventory":2}'
        ),
    ),
    (
        Registration(
            info=NodeInfo(
                node_id=NodeId("n-1"),
                version="0.1.0",
                engine_parameters={
                    "rootfs": (ToldParameter(name="Image", required=True), ToldParameter(name="Words", kind="texts"))
                },
            ),
            session="s",
            inventory=2,
        ),
        (
            '{"type":"Registration","info":{"node_id":"n-1","version":"0.1.0","engine_parameters":{"rootfs":'
            '[{"name":"Image","required":true},{"name":"Words","kind":"texts"}]}},"session":"s","inventory":2}'
        ),
    ),
    (ExecutionCancelled(reason="Stopped"), '{"type":"ExecutionCancelled","reason":"Stopped"}'),
    (
        Report(execution_id=EXECUTION, facts=(ExecutionStarted(), ExecutionCancelled())),
        '{"type":"Report","execution_id":"e-1","facts":[{"type":"ExecutionStarted"},{"type":"ExecutionCancelled"}]}',
    ),
    (
        Reports(
            reports=(
                msgspec.Raw(b'{"type":"Report","execution_id":"e-1","facts":[{"type":"ExecutionStarted"}]}'),
                msgspec.Raw(b'{"type":"ReportOfANewerNode"}'),
            )
        ),
        '{"type":"Reports","reports":[{"type":"Report","execution_id":"e-1","facts":[{"type":"ExecutionStarted"}]},{"type":"ReportOfANewerNode"}]}',
    ),
    (
        Heartbeat(session="s", running=1, queued=2, publishing=3),
        '{"type":"Heartbeat","session":"s","running":1,"queued":2,"publishing":3}',
    ),
    (Heartbeat(session="s"), '{"type":"Heartbeat","session":"s"}'),
    (
        Heartbeat(
            session="s",
            uploads=(
                UploadProgress(execution_id=EXECUTION, done_bytes=10, total_bytes=40, bytes_per_second=5),
                UploadProgress(execution_id=EXECUTION),
            ),
        ),
        (
            '{"type":"Heartbeat","session":"s","uploads":[{"execution_id":"e-1","done_bytes":10,"total_bytes":40,'
            '"bytes_per_second":5},{"execution_id":"e-1"}]}'
        ),
    ),
    (Heartbeat(session="s", leaving=True), '{"type":"Heartbeat","session":"s","leaving":true}'),
    (
        GrantRequest(execution_id=EXECUTION, s3_code="ExpiredToken"),
        '{"type":"GrantRequest","execution_id":"e-1","s3_code":"ExpiredToken"}',
    ),
    (
        ReadOutput(execution_id=EXECUTION, stdout_from=1, stderr_from=2, tail_lines=3),
        '{"type":"ReadOutput","execution_id":"e-1","stdout_from":1,"stderr_from":2,"tail_lines":3}',
    ),
    (
        OutputRead(stdout=b"a", stderr=b"b", stdout_next=2, stderr_next=3, is_over=True),
        '{"type":"OutputRead","stdout":"YQ==","stderr":"Yg==","stdout_next":2,"stderr_next":3,"is_over":true}',
    ),
    (
        ExecutionProgressed(detail="Pulling image busybox:1.37.0: 37 % of 120 MB"),
        '{"type":"ExecutionProgressed","detail":"Pulling image busybox:1.37.0: 37 % of 120 MB"}',
    ),
    (
        IndexGrantRequest(execution_id=EXECUTION, s3_code="ExpiredToken"),
        '{"type":"IndexGrantRequest","execution_id":"e-1","s3_code":"ExpiredToken"}',
    ),
    (BeginFiles(execution_id=EXECUTION), '{"type":"BeginFiles","execution_id":"e-1"}'),
    (
        FilesRequest(execution_id=EXECUTION, files=(FileToSend("outputs/a", 5, "XUFAKrxLKna5cZ2REBfFkg=="),)),
        '{"type":"FilesRequest","execution_id":"e-1","files":[["outputs/a",5,"XUFAKrxLKna5cZ2REBfFkg=="]]}',
    ),
    (
        FilesRequest(
            execution_id=EXECUTION, files=(FileToSend("b", 0, "1B2M2Y8AsgTpgAmY7PhCfg=="),), s3_code="AccessDenied"
        ),
        (
            '{"type":"FilesRequest","execution_id":"e-1","files":[["b",0,"1B2M2Y8AsgTpgAmY7PhCfg=="]],'
            '"s3_code":"AccessDenied"}'
        ),
    ),
    (BeginUpload(execution_id=EXECUTION), '{"type":"BeginUpload","execution_id":"e-1"}'),
    (
        BeginUpload(execution_id=EXECUTION, lost="u-1"),
        '{"type":"BeginUpload","execution_id":"e-1","lost":"u-1"}',
    ),
    (
        PartsRequest(execution_id=EXECUTION, upload_id="u-1", first=17, count=16),
        '{"type":"PartsRequest","execution_id":"e-1","upload_id":"u-1","first":17,"count":16}',
    ),
    (
        BeginUpload(execution_id=EXECUTION, checksums=True),
        '{"type":"BeginUpload","execution_id":"e-1","checksums":true}',
    ),
    (
        PartsRequest(execution_id=EXECUTION, upload_id="u-1", first=3, count=1, crc32=("mTORVg==",)),
        '{"type":"PartsRequest","execution_id":"e-1","upload_id":"u-1","first":3,"count":1,"crc32":["mTORVg=="]}',
    ),
    (
        CompleteUpload(execution_id=EXECUTION, upload_id="u-1", etags=("a",), crc32=("mTORVg==",)),
        '{"type":"CompleteUpload","execution_id":"e-1","upload_id":"u-1","etags":["a"],"crc32":["mTORVg=="]}',
    ),
    (
        PartsRequest(execution_id=EXECUTION, upload_id="u-1", first=3, count=1, s3_code="ExpiredToken"),
        ('{"type":"PartsRequest","execution_id":"e-1","upload_id":"u-1","first":3,"count":1,"s3_code":"ExpiredToken"}'),
    ),
    (
        CompleteUpload(execution_id=EXECUTION, upload_id="u-1", etags=("a", "b")),
        '{"type":"CompleteUpload","execution_id":"e-1","upload_id":"u-1","etags":["a","b"]}',
    ),
    (InputsRequest(execution_id=EXECUTION), '{"type":"InputsRequest","execution_id":"e-1"}'),
    (
        InputsRequest(execution_id=EXECUTION, first=64, count=1, s3_code="ExpiredToken"),
        '{"type":"InputsRequest","execution_id":"e-1","first":64,"count":1,"s3_code":"ExpiredToken"}',
    ),
    (InputsGiven(), '{"type":"InputsGiven"}'),
    (
        InputsGiven(
            files=(
                InputFile(
                    source=0,
                    path="a/b",
                    size=5,
                    etag='"0"',
                    sha256="00",
                    content="c",
                    executable=True,
                    archive=True,
                    members=("out",),
                    url=GET,
                ),
                InputFile(source=1, size=0, url=GET),
            ),
            total=2,
            total_bytes=5,
        ),
        (
            '{"type":"InputsGiven","files":[{"source":0,"path":"a/b","size":5,"etag":"\\"0\\"","sha256":"00",'
            '"content":"c","executable":true,"archive":true,"members":["out"],"url":{"method":"GET",'
            '"url":"https://s3.example.com/b/k?X-Amz-Signature=0","headers":{},"lifetime_seconds":60}},'
            '{"source":1,"size":0,"url":{"method":"GET","url":"https://s3.example.com/b/k?X-Amz-Signature=0",'
            '"headers":{},"lifetime_seconds":60}}],"total":2,"total_bytes":5}'
        ),
    ),
    (
        InputsGiven(
            files=(
                InputFile(
                    source=0,
                    size=5,
                    archive=True,
                    members=("out",),
                    index=InputIndex(size=3, sha256="11", url=GET),
                    url=GET,
                ),
            ),
            total=1,
        ),
        (
            '{"type":"InputsGiven","files":[{"source":0,"size":5,"archive":true,"members":["out"],'
            '"index":{"size":3,"sha256":"11","url":{"method":"GET",'
            '"url":"https://s3.example.com/b/k?X-Amz-Signature=0","headers":{},"lifetime_seconds":60}},'
            '"url":{"method":"GET","url":"https://s3.example.com/b/k?X-Amz-Signature=0","headers":{},'
            '"lifetime_seconds":60}}],"total":1}'
        ),
    ),
    (
        InputsGiven(
            total=20,
            total_bytes=5,
            lists=(
                InputList(source=0, count=19, size=5, content="c", archive=True),
                InputList(source=2, count=1, size=0),
            ),
        ),
        (
            '{"type":"InputsGiven","total":20,"total_bytes":5,"lists":[{"source":0,"count":19,"size":5,"content":"c",'
            '"archive":true},{"source":2,"count":1,"size":0}]}'
        ),
    ),
    (
        IndexGrantGiven(index=SIGNED),
        (
            '{"type":"IndexGrantGiven","index":{"method":"PUT","url":"https://s3.example.com/b/k?X-Amz-Signature=0",'
            '"headers":{"if-none-match":"*"},"lifetime_seconds":3600}}'
        ),
    ),
    (
        FilesBegun(most_files=100_000, most_key_bytes=900),
        '{"type":"FilesBegun","most_files":100000,"most_key_bytes":900}',
    ),
    (
        FilesGiven(base_url="https://s3.example.com/b/", query="X-Amz-Date=1", signatures=("0f",), lifetime_seconds=9),
        (
            '{"type":"FilesGiven","base_url":"https://s3.example.com/b/","query":"X-Amz-Date=1","signatures":["0f"],'
            '"lifetime_seconds":9}'
        ),
    ),
    (
        FilesGiven(base_url="h", query="q", signatures=(), lifetime_seconds=9, create_only=True),
        ('{"type":"FilesGiven","base_url":"h","query":"q","signatures":[],"lifetime_seconds":9,"create_only":true}'),
    ),
    (UploadBegun(upload_id="u-1"), '{"type":"UploadBegun","upload_id":"u-1"}'),
    (UploadBegun(upload_id="u-1", checksums=True), '{"type":"UploadBegun","upload_id":"u-1","checksums":true}'),
    (
        PartsGiven(parts=(SIGNED,)),
        (
            '{"type":"PartsGiven","parts":[{"method":"PUT","url":"https://s3.example.com/b/k?X-Amz-Signature=0",'
            '"headers":{"if-none-match":"*"},"lifetime_seconds":3600}]}'
        ),
    ),
    (
        Assignment(
            execution_id=EXECUTION,
            job_id=JOB,
            job_name="a-job",
            job_type="batch",
            namespace="default",
            job_version=1,
            task=Task(name="main", engine=SpecConfig(type="noop")),
            resources=Capacity(),
            beside={"manifest": SIGNED},
        ),
        (
            '{"type":"Assignment","execution_id":"e-1","job_id":"j-1","job_name":"a-job","job_type":"batch",'
            '"namespace":"default","job_version":1,"task":{"Name":"main","Engine":{"Type":"noop"},"Publisher":{}},'
            '"resources":{},"beside":{"manifest":{"method":"PUT","url":"https://s3.example.com/b/k?X-Amz-Signature=0",'
            '"headers":{"if-none-match":"*"},"lifetime_seconds":3600}}}'
        ),
    ),
    (
        Assignment(
            execution_id=EXECUTION,
            job_id=JOB,
            job_name="a-job",
            job_type="batch",
            namespace="default",
            job_version=1,
            task=Task(name="main", engine=SpecConfig(type="noop")),
            resources=Capacity(),
            spec_digest="f0",
        ),
        (
            '{"type":"Assignment","execution_id":"e-1","job_id":"j-1","job_name":"a-job","job_type":"batch",'
            '"namespace":"default","job_version":1,"task":{"Name":"main","Engine":{"Type":"noop"},"Publisher":{}},'
            '"resources":{},"spec_digest":"f0"}'
        ),
    ),
    (
        OutputPublished(size_bytes=1, md5="m", sha256="s", entries=2, raw_bytes=3, provenance='{"payload":"p"}'),
        (
            '{"type":"OutputPublished","size_bytes":1,"md5":"m","sha256":"s","entries":2,"raw_bytes":3,'
            '"provenance":"{\\"payload\\":\\"p\\"}"}'
        ),
    ),
    (
        BesideRequest(execution_id=EXECUTION, beside=Beside.PROVENANCE),
        '{"type":"BesideRequest","execution_id":"e-1","beside":"provenance"}',
    ),
    (
        BesideRequest(execution_id=EXECUTION, beside=Beside.MANIFEST),
        '{"type":"BesideRequest","execution_id":"e-1","beside":"manifest"}',
    ),
    (
        BesideRequest(execution_id=EXECUTION, beside=Beside.MANIFEST, s3_code="ExpiredToken"),
        '{"type":"BesideRequest","execution_id":"e-1","beside":"manifest","s3_code":"ExpiredToken"}',
    ),
    (
        BesideGiven(url=SIGNED),
        (
            '{"type":"BesideGiven","url":{"method":"PUT","url":"https://s3.example.com/b/k?X-Amz-Signature=0",'
            '"headers":{"if-none-match":"*"},"lifetime_seconds":3600}}'
        ),
    ),
    (
        OutputPublished(
            size_bytes=1,
            md5="m",
            sha256="s",
            entries=2,
            raw_bytes=3,
            content_digest="d",
            manifest_bytes=4,
            manifest_sha256="n",
            manifest_md5="m-3",
        ),
        (
            '{"type":"OutputPublished","size_bytes":1,"md5":"m","sha256":"s","entries":2,"raw_bytes":3,'
            '"content_digest":"d","manifest_bytes":4,"manifest_sha256":"n","manifest_md5":"m-3"}'
        ),
    ),
    (UploadCompleted(), '{"type":"UploadCompleted"}'),
    (UploadLost(), '{"type":"UploadLost"}'),
    (StoreRequest(), '{"type":"StoreRequest"}'),
    (StoreTold(), '{"type":"StoreTold"}'),
    (StoreTold(url="https://s3.example.com:8333"), '{"type":"StoreTold","url":"https://s3.example.com:8333"}'),
    (UploadLost(message="404 NoSuchUpload"), '{"type":"UploadLost","message":"404 NoSuchUpload"}'),
    (
        OutputPublished(
            size_bytes=1,
            md5="m-2",
            sha256="s",
            entries=2,
            raw_bytes=3,
            archive_seconds=4.5,
            parts=2,
            index_bytes=5,
            index_sha256="i",
        ),
        (
            '{"type":"OutputPublished","size_bytes":1,"md5":"m-2","sha256":"s","entries":2,"raw_bytes":3,'
            '"archive_seconds":4.5,"parts":2,"index_bytes":5,"index_sha256":"i"}'
        ),
    ),
    (
        Heartbeat(session="s", inputs=("0123456789abcdef",)),
        '{"type":"Heartbeat","session":"s","inputs":["0123456789abcdef"]}',
    ),
    (
        Heartbeat(session="s", sent_at=1764547200.5, disk_free=5, disk_size=9),
        '{"type":"Heartbeat","session":"s","sent_at":1764547200.5,"disk_free":5,"disk_size":9}',
    ),
    (Heartbeat(session="s", inputs=()), '{"type":"Heartbeat","session":"s","inputs":[]}'),
    (
        Heartbeat(session="s", publishing=3, waiting_for_s3=2),
        '{"type":"Heartbeat","session":"s","publishing":3,"waiting_for_s3":2}',
    ),
]

DIRECTIONS: list[tuple[Any, Any]] = [
    (messages.orders, Order),
    (messages.order_answers, OrderAnswer),
    (messages.assignment_answers, AssignmentsAnswered),
    (messages.output_answers, OutputAnswer),
    (messages.node_requests, NodeRequest),
    (messages.node_request_answers, NodeRequestAnswer),
    (messages.reports, AnyReport),
    (messages.heartbeats, Heartbeat),
    (msgspec.json.Decoder(AnyFact), AnyFact),
]
"""A fact travels in a report alone; here each is read by itself too."""


def members(union: Any) -> tuple[type[Message], ...]:
    return get_args(union) or (union,)


def decoder_of(kind: type[Message]) -> Any:
    return next(decoder for decoder, union in DIRECTIONS if kind in members(union))


@pytest.mark.parametrize(("message", "text"), GOLDEN, ids=lambda value: type(value).__name__)
def test_a_message_is_written_and_read_as_it_always_was(message: Message, text: str) -> None:
    assert encode(message).decode() == text
    assert decode(decoder_of(type(message)), text.encode()) == message


def concrete(kind: type[Message]) -> set[type[Message]]:
    below = kind.__subclasses__()
    return {kind} if not below else set().union(*(concrete(each) for each in below))


def test_every_message_has_a_golden_text_and_a_direction() -> None:
    """A message that was added needs both; see the checklist in CONTRIBUTING.md."""
    known = concrete(Message)
    assert {type(message) for message, _ in GOLDEN} == known
    assert {kind for _, union in DIRECTIONS for kind in members(union)} == known
    assert {kind.__struct_config__.tag for kind in known} == {kind.__name__ for kind in known}


def test_every_field_that_may_be_absent_is_present_in_a_golden_text() -> None:
    for kind in concrete(Message):
        texts = [msgspec.json.decode(text) for message, text in GOLDEN if type(message) is kind]
        written = set().union(*texts)
        assert written >= set(kind.__struct_fields__) - {"age_seconds"}, kind


@pytest.mark.parametrize(("decoder", "union"), DIRECTIONS[:-1], ids=lambda value: "")
def test_a_direction_reads_its_own_messages_and_no_others(decoder: Any, union: Any) -> None:
    for message, text in GOLDEN:
        if type(message) in members(union):
            assert decode(decoder, text.encode()) == message
        else:
            with pytest.raises(UnknownMessage):
                decode(decoder, text.encode())


@pytest.mark.parametrize("message", [message for message, _ in GOLDEN], ids=lambda value: type(value).__name__)
def test_a_field_that_a_newer_program_adds_is_ignored(message: Message) -> None:
    newer = msgspec.json.decode(encode(message)) | {"added_later": {"deep": [1, 2]}}
    assert decode(decoder_of(type(message)), msgspec.json.encode(newer)) == message


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"{}",
        b'{"type":null}',
        b'{"type":"ShutDown"}',
        b'{"type":"Heartbeat"}',
        b'{"type":"Heartbeat","session":7}',
        b'{"type":"Heartbeat","session":"s","running":"many"}',
        b'{"type":"Heartbeat","session":"s","running":1e400}',
        b'{"type":"Heartbeat","session":"\\ud800"}',
        b'{"type":"Heartbeat","session":"s"} and more',
        b"\xff\xfe\x00",
        b'{"type":"Heartbeat","session":"\xff"}',
        b"\0" * 100,
    ],
)
def test_garbage_is_an_unknown_message_in_every_direction(payload: bytes) -> None:
    for decoder, _ in DIRECTIONS:
        with pytest.raises(UnknownMessage):
            decode(decoder, payload)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_whatever_arrives_is_a_message_or_unknown(payload: bytes) -> None:
    for decoder, _ in DIRECTIONS:
        with pytest.raises(UnknownMessage):
            decode(decoder, payload)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([text for _, text in GOLDEN]), st.data())
def test_a_message_that_was_damaged_is_a_message_or_unknown(text: str, data: st.DataObject) -> None:
    payload = bytearray(text.encode())
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    for decoder, union in DIRECTIONS:
        with contextlib.suppress(UnknownMessage):
            assert isinstance(decode(decoder, bytes(payload)), members(union))


@pytest.mark.parametrize("depth", [10_000, 200_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_without_end_is_an_unknown_message_and_no_crash(opening: str, closing: str, depth: int) -> None:
    deep = opening * depth + ("1" if opening != "[" else "") + closing * depth
    text = GOLDEN[1][1].replace('["true"]', deep)
    for payload in (text, deep, f'{{"type":"Register","added_later":{deep}}}'):
        with pytest.raises(UnknownMessage):
            decode(messages.orders, payload.encode())


def test_an_unknown_message_tells_its_size_and_never_its_content() -> None:
    secret = "5ec4e7"
    for text in (f'{{"type":"GrantGiven","archive":"{secret}"}}', f'{{"type":"GrantGiven","archive":{{"{secret}"'):
        with pytest.raises(UnknownMessage) as caught:
            decode(messages.node_request_answers, text.encode())
        assert f"{len(text)} bytes are not a message that is expected here" in caught.value.message
        assert secret not in caught.value.message
        assert caught.value.__cause__ is None


def test_an_unknown_message_stays_short_whatever_it_names() -> None:
    with pytest.raises(UnknownMessage) as caught:
        decode(messages.orders, b'{"type":"' + b"x" * 500_000 + b'"}')
    assert len(caught.value.message) < 300


def test_a_reason_or_a_type_that_a_newer_program_adds_is_data() -> None:
    failed = decode(
        messages.report,
        b'{"type":"Report","execution_id":"e-1","facts":[{"type":"ExecutionFailed","reason":"EatenByADog"}]}',
    )
    assert failed.facts == (ExecutionFailed(reason="EatenByADog"),)


def test_a_fact_that_a_newer_program_adds_makes_its_report_unknown_and_not_a_part_of_it() -> None:
    with pytest.raises(UnknownMessage):
        decode(
            messages.reports,
            b'{"type":"Report","execution_id":"e-1","facts":[{"type":"ExecutionStarted"},{"type":"TaskPaused"}]}',
        )


class TestJobs:
    """A job is a message too: people write it, and other programs send it."""

    JOB = Job(
        name="a-job",
        namespace="default",
        type="batch",
        priority=1,
        count=2,
        constraints=(Constraint(key="zone", operator="in", values=("a", "b")),),
        meta={"m": "n"},
        labels={"l": "v"},
        tasks=(TASK,),
    )
    # NEVER EDIT THIS TEXT.
    TEXT = (
        '{"Name":"a-job","Namespace":"default","Type":"batch","Priority":1,"Count":2,"Constraints":[{"Key":"zone",'
        '"Operator":"in","Values":["a","b"]}],"Meta":{"m":"n"},"Labels":{"l":"v"},"Tasks":[{"Name":"main",'
        '"Engine":{"Type":"process","Params":{"Command":["true"]}},"Publisher":{"Type":"s3managed"},"Env":{"A":"b"},'
        '"Meta":{"m":"n"},"InputSources":[{"Source":{"Type":"inline","Params":{"Data":"x"}},"Alias":"in",'
        '"Target":"/in"}],"ResultPaths":[{"Name":"out","Path":"/out"}],"Resources":{"CPU":"500m","Memory":"512mb",'
        '"Disk":"1gb","GPU":"1"},"Network":{"Type":"None","Domains":["example.com"]},"Timeouts":'
        '{"ExecutionTimeout":1,"QueueTimeout":2,"TotalTimeout":3}}]}'
    )

    SPREAD = msgspec.structs.replace(JOB, max_parallel=5, tasks=())
    # NEVER EDIT THIS TEXT.
    SPREAD_TEXT = (
        '{"Name":"a-job","Namespace":"default","Type":"batch","Priority":1,"Count":2,"Constraints":[{"Key":"zone",'
        '"Operator":"in","Values":["a","b"]}],"Meta":{"m":"n"},"Labels":{"l":"v"},"Tasks":[],"MaxParallel":5}'
    )

    RETRIED = msgspec.structs.replace(
        JOB,
        tasks=(
            Task(
                name="main",
                fail_on_exit_code=True,
                retries=Retries(max=3, on_exit_codes=(75, 137), back_off="30s"),
            ),
        ),
    )
    # NEVER EDIT THIS TEXT.
    RETRIED_TEXT = (
        '{"Name":"a-job","Namespace":"default","Type":"batch","Priority":1,"Count":2,"Constraints":[{"Key":"zone",'
        '"Operator":"in","Values":["a","b"]}],"Meta":{"m":"n"},"Labels":{"l":"v"},"Tasks":[{"Name":"main",'
        '"Engine":{},"Publisher":{},"FailOnExitCode":true,"Retries":{"Max":3,"OnExitCodes":[75,137],"BackOff":"30s"}}]}'
    )

    def test_a_job_is_written_and_read_as_it_always_was(self) -> None:
        assert msgspec.json.encode(self.JOB).decode() == self.TEXT
        assert msgspec.json.decode(self.TEXT, type=Job) == self.JOB

    def test_a_job_of_which_some_parts_run_at_once_is_written_and_read_as_it_always_was(self) -> None:
        assert msgspec.json.encode(self.SPREAD).decode() == self.SPREAD_TEXT
        assert msgspec.json.decode(self.SPREAD_TEXT, type=Job) == self.SPREAD

    def test_a_job_with_retries_is_written_and_read_as_it_always_was(self) -> None:
        assert msgspec.json.encode(self.RETRIED).decode() == self.RETRIED_TEXT
        assert msgspec.json.decode(self.RETRIED_TEXT, type=Job) == self.RETRIED
