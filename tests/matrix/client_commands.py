"""The commands of Bacalhau's client that the matrix tries, as people type them.

Words in capitals are filled in: JOB, NAME and SHORT are an ended job by its id, its name and the beginning of its id;
VERSIONED has two versions; RUNNING runs, and STOPPABLE too, a new one each time; EXECUTION is one of JOB, NODE a
compute node, NODE_BEGINNING what its id begins with, TOKEN a token for the next page of a list, FOLDER a new folder.
"""

from typing import NamedTuple

IMAGE = "busybox:1.37.0"


class Command(NamedTuple):
    """`shows` is a regular expression that is found in what it prints, `stdin` a file of FILES that it reads."""

    line: str
    shows: str = ""
    stdin: str = ""


_HELLO = f"""\
Name: NAME
Type: batch
Count: 1
Labels: {{team: matrix}}
Tasks:
  - Name: main
    Engine:
      Type: docker
      Params:
        Image: {IMAGE}
        Entrypoint: [sh, -c]
        Parameters: ["WORDS"]
    Publisher: {{Type: s3managed}}
    ResultPaths: [{{Name: outputs, Path: /outputs}}]
    Resources: {{CPU: 100m, Memory: 20Mb}}
    Network: {{Type: None}}
"""


def job_file(name: str, words: str) -> str:
    return _HELLO.replace("NAME", name).replace("WORDS", words)


FILES = {
    "hello.yaml": job_file("", "echo hello; echo file > /outputs/file"),
    "hello.json": (
        '{"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "docker", "Params": {"Image": "'
        + IMAGE
        + '", "Entrypoint": ["echo", "hello"], "Parameters": null}}, "Publisher": {"Type": "s3managed"},'
        ' "Resources": {"CPU": "100m"}, "Network": {"Type": "None"}}]}'
    ),
    "template.yaml": job_file("", "echo {{.greeting}} {{.whom}}"),
    "plain.yaml": job_file("", "echo '{{.greeting}}'"),
    "named.yaml": job_file("forced", "echo forced"),
    "changed.yaml": job_file("versioned", "echo third"),
    "wasm.yaml": """\
Type: batch
Tasks:
  - Name: main
    Engine: {Type: wasm, Params: {EntryModule: /app/main.wasm, Entrypoint: _start}}
    InputSources: [{Source: {Type: s3, Params: {Bucket: b, Key: main.wasm}}, Target: /app/main.wasm}]
    Publisher: {Type: s3managed}
""",
}

WASM = bytes.fromhex(
    "0061736d0100000001040160000003020100070a01065f73746172740000"  # _start takes and gives nothing
    "0a040102000b000c046e616d650005046d61696e"
)
"""A program that does nothing, as the file main.wasm."""

_RUN = f"docker run --network none --cpu 0.1 --memory 20Mb {IMAGE}"
_ENDS = "(Completed successfully|exit code 0)"
"""In whose words a task has ended well."""
_ID = r"\Aj-[0-9a-f-]{36}\s*\Z"


def _docker(flags: str, words: str = "echo hello", shows: str = "") -> Command:
    return Command(f"docker run --network none --cpu 0.1 --memory 20Mb {flags} {IMAGE} {words}", shows)


AGENT = (
    Command("agent alive", "OK"),
    Command("agent alive --output json", '"Status":"OK"'),
    Command("agent alive --output yaml", "Status: OK"),
    Command("agent node", "NodeID: "),
    Command("agent node --output json --pretty", '"NodeID": "'),
    Command("agent version", r"BuildDate \d{4}-"),
    Command("agent version --output json", '"GitVersion":"v'),
    Command("agent version --output yaml", "GitVersion: v"),
    Command("agent config", "NameProvider: "),
    Command("agent config --output json", '"NameProvider": "'),
    Command("version", r"SERVER"),
    Command("version --client", "CLIENT"),
    Command("version --output json", '"serverVersion"'),
    Command("auth info", "Target environment"),
    Command("config list", "(?i)orchestrator.port"),
    Command("config list --output json", '"Key":'),
)
NODES = (
    Command("node list", "Compute +APPROVED +CONNECTED"),
    Command("node list --output json", '"NodeType":"Compute"'),
    Command("node list --output yaml", "NodeType: Compute"),
    Command("node list --output csv", "Compute,APPROVED,CONNECTED"),
    Command("node list --wide", "NODE"),
    Command("node list --hide-header --no-style", "Compute"),
    Command("node list --show version", "amd64 +linux|arm64 +linux"),
    Command("node list --show features,capacity", "docker"),
    Command("node list --show labels", "os_type=linux"),
    Command("node list --order-by id", "Compute"),
    Command("node list --order-by type --order-reversed", "Compute"),
    Command("node list --order-by available_cpu", "Compute"),
    Command("node list --order-by status", "Compute"),
    Command("node list --filter-status connected", "Compute"),
    Command("node list --filter-approval approved", "Compute"),
    Command("node list --labels os_type=linux,name=NODE", "Compute"),
    Command("node list --limit 1", "APPROVED"),
    Command("node describe NODE", "NodeID: NODE"),
    Command("node describe NODE --output json --pretty", '"NodeID": "NODE"'),
    Command("node describe NODE_BEGINNING", "NodeID: NODE"),
)
RUNS = (
    Command("job run hello.yaml", f"(?s){_ENDS}.*To download the results"),
    Command("job run --wait=false hello.yaml", _ID),
    Command("job run --id-only hello.yaml", _ID),
    Command("job run --id-only --wait=false hello.yaml", _ID),
    Command("job run --follow hello.yaml", "(?m)^hello$"),
    Command("job run hello.json", _ENDS),
    Command("job run", _ENDS, stdin="hello.yaml"),
    Command("job run -V greeting=hi -V whom=you --follow template.yaml", "(?m)^hi you$"),
    Command("job run --template-vars greeting=hi,whom=you --id-only template.yaml", _ID),
    Command("job run -E .* --follow template.yaml", "(?m)^hail all$"),
    Command("job run --no-template --follow plain.yaml", r"(?m)^\{\{.greeting\}\}$"),
    Command("job run --dry-run changed.yaml", "third"),
    Command("job run --node-details hello.yaml", "Job Results By Node"),
    Command("job run --group-events hello.yaml", _ENDS),
    Command("job run --hide-warnings hello.yaml", _ENDS),
    Command("job run --wait-timeout-secs 60 hello.yaml", _ENDS),
    Command("job run --force --id-only named.yaml", _ID),
)
DOCKER = (
    Command(f"{_RUN} echo hello", _ENDS),
    _docker("--id-only", shows=_ID),
    _docker("--wait=false", shows=_ID),
    _docker("--wait=false --id-only", shows=_ID),
    _docker("--follow", shows="(?m)^hello$"),
    _docker("--follow --env WORD=spoken", "env", "(?m)^WORD=spoken$"),
    _docker("--follow --entrypoint echo", "from the entrypoint", "(?m)^from the entrypoint$"),
    _docker("--follow --workdir /tmp", "pwd", "(?m)^/tmp$"),
    _docker("--disk 1Mb --gpu 0", shows=_ENDS),
    _docker("--timeout 60", shows=_ENDS),
    _docker("--queue-timeout 30 --priority 5", shows=_ENDS),
    _docker("--name by-docker-run", shows=_ENDS),
    _docker("--labels team=matrix,part=client", shows=_ENDS),
    _docker("--constraints os_type=linux", shows=_ENDS),
    _docker("--publisher s3managed --output outputs:/outputs", "touch /outputs/file", "To download the results"),
    _docker("--namespace other --task-name only", shows=_ENDS),
    _docker("--target any --count 1", shows=_ENDS),
    _docker("--node-details --group-events", shows="Job Results By Node"),
    _docker("--dry-run", shows="Image: "),
    _docker("--target all", shows=_ENDS),
    Command("wasm run main.wasm", _ENDS),
)
LISTS = (
    Command("job list", "Completed"),
    Command("job list --output json", '"StateType":"Completed"'),
    Command("job list --output yaml", "StateType: Completed"),
    Command("job list --output csv", ",batch,Completed"),
    Command("job list --wide", r"j-[0-9a-f-]{36}"),
    Command("job list --hide-header --no-style", "docker"),
    Command("job list --limit 1", "To fetch more records"),
    Command("job list --limit 1 --next-token TOKEN", "docker"),
    Command("job list --order-by created_at --order-reversed", "docker"),
    Command("job list --labels team=matrix", "docker"),
    Command("job list --labels bacalhau_canary!=true,team", "docker"),
    Command("job list --labels team=none --output json", r"\A(\[\]|null)\s*\Z"),
)
JOBS = (
    Command("job describe JOB", "(?s)Summary.*Job History.*Executions.*Standard Output"),
    Command("job describe SHORT", "JOB"),
    Command("job describe NAME", "JOB"),
    Command("job describe JOB --output json --pretty", '"StateType": "Completed"'),
    Command("job describe JOB --output yaml", "StateType: Completed"),
    Command("job describe VERSIONED --version 1", "first"),
    Command("job describe JOB --namespace default", "JOB"),
    Command("job executions JOB", "Completed +Stopped"),
    Command("job executions JOB --output json", '"NodeID":"NODE"'),
    Command("job executions JOB --output yaml", "NodeID: NODE"),
    Command("job executions JOB --output csv", "Completed,Stopped"),
    Command("job executions JOB --wide --hide-header", "EXECUTION"),
    Command("job executions JOB --order-by created_at --order-reversed", "Completed"),
    Command("job executions JOB --order-by modified_at --limit 1", "Completed"),
    Command("job executions VERSIONED --version 1", "Completed"),
    Command("job executions VERSIONED --all-versions", "Completed"),
    Command("job history JOB", "Submission"),
    Command("job history NAME --output json", '"JobID":"JOB"'),
    Command("job history JOB --output yaml", "JobID: JOB"),
    Command("job history JOB --output csv", "Submission"),
    Command("job history JOB --event-type job", "Submission"),
    Command("job history JOB --event-type execution", "Exec"),
    Command("job history JOB --execution-id EXECUTION", "Exec"),
    Command("job history JOB --limit 2 --wide", "Submission"),
    Command("job history VERSIONED --version 1", "Submission"),
    Command("job history VERSIONED --all-versions", "Submission"),
    Command("job versions VERSIONED", "2"),
    Command("job versions VERSIONED --output json", '"Version":2'),
    Command("job versions VERSIONED --output yaml", "Version: 2"),
    Command("job versions VERSIONED --output csv", ",2"),
    Command("job logs JOB", "(?m)^hello$"),
    Command("job logs NAME --follow", "(?m)^hello$"),
    Command("job logs JOB --execution-id EXECUTION", "(?m)^hello$"),
    Command("job logs JOB --tail"),
    Command("job logs VERSIONED --version 1", "first"),
    Command("job get JOB", "have been written to"),
    Command("job get NAME --output-dir FOLDER", "have been written to"),
    Command("job get SHORT --raw", "have been written to"),
    Command("job get JOB --output-dir FOLDER --download-timeout-secs 1m", "have been written to"),
    Command("job get RUNNING", "No results found"),
    Command("job stop STOPPABLE", "Stopping "),
    Command("job stop STOPPABLE --quiet"),
    Command("job rerun JOB", _ENDS),
    Command("job rerun NAME --id-only --wait=false", _ID),
    Command("job rerun VERSIONED --version 1 --follow", "first"),
)
LOCAL = (
    Command("job validate hello.yaml", "OK"),
    Command("job validate hello.json", "OK"),
    Command("job validate wasm.yaml", "OK"),
)
COMMANDS = (*AGENT, *NODES, *LOCAL, *RUNS, *DOCKER, *LISTS, *JOBS)
