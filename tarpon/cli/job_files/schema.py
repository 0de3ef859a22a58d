"""The JSON Schema of job files, for editors: what is known of each key, and what the parser would refuse.

It is made from the types by which job files are read, and as lenient as these: keys in any case, null for what is left
out, numbers where texts belong and texts with numbers where numbers belong. What no schema can tell it accepts.
It is of draft 7, which all editors know. `make docs` writes it into deploy/job.schema.json.
"""

import re
from collections.abc import Mapping

from shared.data.json_schemas import Schema, schemas_of
from shared.jobs.constraints import OPERATORS
from shared.jobs.engine_params import ENGINES, EngineParams
from shared.jobs.publisher_params import MANAGED, ManagedParams
from shared.jobs.rules import MAX_COUNT
from shared.jobs.several import MAX_JOBS
from shared.jobs.spec import Job

DRAFT = "http://json-schema.org/draft-07/schema#"
_REFERENCE = "#/definitions/{name}"
_NUMBER = r"^\s*[-+]?[0-9]+\s*$|\{\{"
"""A text that is a number, or becomes one when a template is filled in."""

DESCRIPTIONS: Mapping[str, Mapping[str, str]] = {
    "Job": {
        "Name": "A job that is submitted again under the same name becomes a new version of it.",
        "Namespace": "Names are unique within one; `default` if it is left out.",
        "Type": "`batch`, also if it is left out.",
        "Priority": "Of the jobs of a namespace, those with a higher one are started first.",
        "Count": "How many parts the job has, each with a result of its own; 1 if it is left out.",
        "Constraints": "What the labels of nodes must be like on which it may run.",
        "Meta": "Texts of your own that are kept with the job.",
        "Labels": "Labels of the job, by which `tarpon job list -l` finds it.",
        "Tasks": "What is run: one task.",
        "MaxParallel": "How many of the parts may run at once; without it as many as there is room for.",
        "Needs": "Jobs that have to have ended, with exit code 0 in every part, before this one begins: their names.",
        "Verification": "How many nodes of different owners run each part, and how many of them have to agree.",
        "Schedule": "When the job is run, again and again; without one it is run once, at once.",
    },
    "Verification": {
        "Replicas": "How many nodes of different owners run each part: 2 to 9.",
        "Quorum": "How many of them have to agree: more than half, which it is without.",
        "Of": "What they have to agree about: the whole result, its paths alone, or what is written on stdout.",
    },
    "Need": {
        "Job": "The name of another job of the same file, or the name or id of one that there is.",
        "On": "`completed`: it may end with any exit code.",
    },
    "Constraint": {
        "Key": "The name of a label. One that begins with `favour_` rules no node out; who fulfils it comes first.",
        "Operator": f"One of {' '.join(sorted(OPERATORS))}.",
        "Values": "What the label is compared with.",
    },
    "Task": {
        "Name": "The name of the task, such as `main`.",
        "Engine": "What runs the task.",
        "Publisher": "What publishes the result. Without one only the beginning of the output is kept.",
        "Env": "Environment variables. `secret:NAME` is a secret, `env:NAME` the node's own NAME, if it permits that.",
        "Meta": "Texts of your own that are kept with the task.",
        "InputSources": "Not supported yet.",
        "ResultPaths": "Folders of the task that are published.",
        "Resources": "What one part reserves on a node, and may use at most.",
        "Network": "The task's access to networks.",
        "Timeouts": "How long things may take, in whole seconds; 0 is without a limit.",
        "FailOnExitCode": "Whether an exit code other than 0 makes the execution a failed one.",
        "Retries": "How often a task that has failed by its exit code is run again.",
        "Secrets": "Files that hold secrets while the task runs.",
        "Reproducible": "Whether the task finds the same host name, locale, time zone and umask on each node.",
        "OnUnreadable": "What becomes of a result that lacks what the task wrote: `warn`, as without it, or `fail`.",
    },
    "Schedule": {
        "Cron": "Five fields, as `30 2 * * *`, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.",
        "TimeZone": "A name of the IANA database, such as `Europe/Berlin`; UTC without.",
        "Missed": "What becomes of missed runs: `once` (as without it), `skip` or `all`.",
        "Overlap": "What becomes of a run while an earlier one goes on: `skip` (as without it), `allow` or `replace`.",
        "StartingDeadline": "How late a run may begin, such as `6h`; 24h without.",
        "Keep": "How many ended runs stay; without it as long as other jobs.",
    },
    "SpecConfig": {"Type": "Which one.", "Params": "What it is told."},
    "InputSource": {
        "Source": "Not supported yet.",
        "Alias": "Not supported yet.",
        "Target": "Not supported yet.",
    },
    "ResultPath": {
        "Name": "The folder's name in the result.",
        "Path": "The folder: in a container its path there, else a path below the task's own folder.",
    },
    "Resources": {
        "CPU": "Cores, such as `2` or `500m`.",
        "Memory": "Such as `512Mb` or `4Gi`.",
        "Disk": "What the task's files may take, such as `10Gb`.",
        "GPU": "How many, such as `1`.",
    },
    "Network": {
        "Type": "`None`, `Bridge` or `Host`; without one a process has the node's, all else none. A module has none.",
        "Domains": "Not supported: a task with a network reaches all of it.",
        "Ports": "Not supported yet.",
    },
    "Timeouts": {
        "ExecutionTimeout": "Of the task's run, from when it begins.",
        "QueueTimeout": "From the submit until something of the job is placed on a node.",
        "TotalTimeout": "Of the job in all: waiting, attempts and publishing included.",
    },
    "Retries": {
        "Max": "How often at most, of each part.",
        "OnExitCodes": "After which exit codes; without them after any but 0.",
        "BackOff": "The first wait, such as `30s`; it doubles from one to the next.",
    },
    "SecretFile": {
        "Name": "The name of the secret, as `tarpon secret put NAME` stored it.",
        "Path": "In a container this path, else one below the task's own folder, which is its HOME.",
    },
    "ProcessParams": {
        "Entrypoint": "The first words of the command.",
        "Parameters": "The words that follow.",
        "EnvironmentVariables": "Each as `NAME=value`.",
        "WorkingDirectory": "Below the task's own folder, in which it starts otherwise.",
    },
    "DockerParams": {
        "Image": "Such as `busybox:1.37.0`.",
        "Entrypoint": "In place of the image's own.",
        "Parameters": "The words that follow, in place of the image's own command.",
        "EnvironmentVariables": "Each as `NAME=value`.",
        "WorkingDirectory": "An absolute path in the container.",
    },
    "WasmParams": {
        "EntryModule": "The module to run: the Target or Alias of an input, or a path below the Target of a folder.",
        "Entrypoint": "The function that is called; `_start` without one.",
        "Parameters": "The arguments of the module.",
        "ImportModules": "Modules that others import, named as EntryModule is, in the order in which they are linked.",
        "EnvironmentVariables": "Each as `NAME=value`.",
    },
    "EngineParams": {},
    "ManagedParams": {
        "Encoding": "What a result is in the bucket: one archive (`gzip`), or an object for each file (`plain`).",
        "HardLinks": "What becomes of further names of the same file: `keep` them as links, or `copy` it.",
    },
}
"""By type and key. A test holds it to the types."""

_SUGGESTED: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("Constraint", "Operator"): tuple(sorted(OPERATORS)),
    ("Need", "On"): ("success", "completed"),
    ("Network", "Type"): ("None", "Bridge", "Host"),
    ("Task", "OnUnreadable"): ("warn", "fail"),
    ("ManagedParams", "Encoding"): ("gzip", "plain"),
    ("ManagedParams", "HardLinks"): ("keep", "copy"),
}
"""What editors offer; other values are not refused, since blanks and case do not count."""


def job_schema() -> Schema:
    """As plain data."""
    types = (Job, *ENGINES.values(), ManagedParams)
    _, found = schemas_of(types, ref_template=_REFERENCE)
    definitions = {name: _object(name, schema) for name, schema in sorted(found.items())}
    definitions["Engine"] = _kinds(
        "Engine", {kind: _name(params) for kind, params in ENGINES.items()}, "The kind of engine."
    )
    definitions["Publisher"] = _kinds("Publisher", {MANAGED: "ManagedParams"}, "The kind of publisher.")
    definitions["ManagedParams"]["additionalProperties"] = True  # others are warned of and ignored
    _set("Task", definitions["Task"], "Engine", _reference("Engine", DESCRIPTIONS["Task"]["Engine"]))
    _set("Task", definitions["Task"], "Publisher", _reference("Publisher", DESCRIPTIONS["Task"]["Publisher"]))
    _set("Task", definitions["Task"], "Name", _described(_text(minLength=1), DESCRIPTIONS["Task"]["Name"]))
    _set("Job", definitions["Job"], "Type", _described(_any({"enum": ["batch", ""]}), DESCRIPTIONS["Job"]["Type"]))
    count = {"type": "integer", "minimum": 1, "maximum": MAX_COUNT}
    number = {"type": "string", "pattern": _NUMBER}
    _set("Job", definitions["Job"], "Count", _described(_any(count, number), DESCRIPTIONS["Job"]["Count"]))
    definitions["JobFile"] = _several()
    has_none = {"type": "object", "patternProperties": {f"^{_any_case('Jobs')}$": False}}
    either = {"if": has_none, "then": {"$ref": "#/definitions/Job"}, "else": {"$ref": "#/definitions/JobFile"}}
    return {"$schema": DRAFT, "title": "A job of Tarpon, or several", **either, "definitions": definitions}


def _several() -> Schema:
    made: Schema = {"type": "object", "properties": {}, "patternProperties": {}, "additionalProperties": False}
    jobs = {"type": "array", "items": {"$ref": "#/definitions/Job"}, "minItems": 1, "maxItems": MAX_JOBS}
    _set("JobFile", made, "Jobs", _described(jobs, "Jobs that are submitted together, all of them or none."))
    return made


def _name(params: type[EngineParams]) -> str:
    return params.__name__


def _object(name: str, schema: Schema) -> Schema:
    made: Schema = {"type": "object", "properties": {}, "patternProperties": {}, "additionalProperties": False}
    about = DESCRIPTIONS.get(name, {})
    for key, value in schema.get("properties", {}).items():
        suggested = _SUGGESTED.get((name, key))
        lenient = _any({"enum": list(suggested)}, {"type": "string"}) if suggested else _lenient(value)
        _set(name, made, key, _described(lenient, about.get(key, "")))
    return made


def _set(name: str, made: Schema, key: str, schema: Schema) -> None:
    """The key as it is spelled, which editors offer, and the same in any other case."""
    made["properties"][key] = schema
    same = {"$ref": f"{_REFERENCE.format(name=name)}/properties/{key}"}
    made["patternProperties"][f"^(?!{key}$){_any_case(key)}$"] = same


def _any_case(key: str) -> str:
    return "".join(f"[{char.upper()}{char.lower()}]" if char.isalpha() else re.escape(char) for char in key)


def _lenient(schema: Schema) -> Schema:
    match schema:
        case {"$ref": str(reference)}:
            return _any({"$ref": reference})
        case {"anyOf": list(members)}:
            return _any(*(_lenient(each) for each in members if each != {"type": "null"}))
        case {"type": "string"}:
            return _text()
        case {"type": "integer"}:
            return _any({"type": "integer"}, {"type": "string", "pattern": _NUMBER})
        case {"type": "array", "items": items}:
            return _any({"type": "array", "items": _without_null(_lenient(items))})
        case {"type": "object", "additionalProperties": dict(values)}:
            return _any({"type": "object", "additionalProperties": _lenient(values)})
        case _:
            return _any({name: value for name, value in schema.items() if name != "default"})


def _text(**bounds: int) -> Schema:
    return {"type": ["string", "number", "null"], **bounds}


def _any(*members: Schema) -> Schema:
    return {"anyOf": [*members, {"type": "null"}]}


def _without_null(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), list):
        return schema | {"type": [each for each in schema["type"] if each != "null"]}
    members = [each for each in schema["anyOf"] if each != {"type": "null"}]
    return members[0] if len(members) == 1 else {"anyOf": members}


def _described(schema: Schema, description: str) -> Schema:
    return {"description": description, **schema} if description else schema


def _reference(name: str, description: str) -> Schema:
    return _described(_any({"$ref": _REFERENCE.format(name=name)}), description)


def _kinds(what: str, kinds: Mapping[str, str], description: str) -> Schema:
    """An engine or a publisher, whose Params are those of its Type."""
    made: Schema = {"type": "object", "properties": {}, "patternProperties": {}, "additionalProperties": False}
    offered = [*kinds] if what == "Engine" else [*kinds, "noop"]
    _set(what, made, "Type", _described(_any({"enum": offered}, {"type": "string"}), description))
    _set(what, made, "Params", _described(_any({"type": "object"}), DESCRIPTIONS["SpecConfig"]["Params"]))
    made["allOf"] = [
        {"if": _is_kind(kind), "then": _params(params)} for kind, params in kinds.items() if DESCRIPTIONS[params]
    ]
    return made


def _is_kind(kind: str) -> Schema:
    named = {"type": "string", "pattern": rf"^\s*{_any_case(kind)}\s*$"}
    return {"anyOf": [{"properties": {key: named}, "required": [key]} for key in ("Type", "type", "TYPE")]}


def _params(name: str) -> Schema:
    wanted = _any({"$ref": _REFERENCE.format(name=name)})
    return {"properties": {"Params": wanted}, "patternProperties": {f"^{_any_case('Params')}$": wanted}}
