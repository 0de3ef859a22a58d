"""What makes a job valid, each rule with what it tells the author, and what normalising does."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from shared.errors import InvalidDuration, InvalidJob, InvalidQuantity, PayloadTooLarge
from shared.jobs.capacity import Capacity
from shared.jobs.rules import MAX_JOB_BYTES, MAX_SECONDS, capacity_of, check, dropped, normalised, problems, unsaid
from shared.jobs.spec import (
    Constraint,
    InputSource,
    Job,
    Network,
    Resources,
    ResultPath,
    Retries,
    SpecConfig,
    Task,
    Timeouts,
)

ENGINE, MANAGED = SpecConfig(type="noop"), SpecConfig(type="s3managed")
PATH, OTHER_PATH = "Tasks[0].ResultPaths[0].Path", "Tasks[0].ResultPaths[1].Path"


def task(**fields: Any) -> Task:
    return replace(Task(name="main", engine=ENGINE, publisher=MANAGED), **fields)


def job(*, tasks: tuple[Task, ...] | None = None, **fields: Any) -> Job:
    return replace(Job(name="a-job", type="batch", tasks=(task(),) if tasks is None else tasks), **fields)


def found(**fields: Any) -> list[str]:
    return list(problems(normalised(job(**fields))))


def in_task(**fields: Any) -> list[str]:
    return found(tasks=(task(**fields),))


def constrained(key: str, operator: str, *values: str) -> list[str]:
    return found(constraints=(Constraint(key=key, operator=operator, values=values),))


def publishing(*paths: tuple[str, str]) -> list[str]:
    return in_task(result_paths=tuple(ResultPath(name=name, path=path) for name, path in paths))


def reading(*sources: tuple[str, str]) -> list[str]:
    return in_task(
        input_sources=tuple(InputSource(source=SpecConfig(type=kind), target=target) for kind, target in sources)
    )


def test_a_plain_job_is_valid() -> None:
    check(normalised(job()))


class TestCount:
    def test_none_means_one(self) -> None:
        assert normalised(job(count=None)).count == 1

    def test_zero_is_refused(self) -> None:
        assert found(count=0) == ["Count is 0; it must be between 1 and 10,000."]

    def test_a_negative_one_is_refused(self) -> None:
        assert found(count=-1) == ["Count is -1; it must be between 1 and 10,000."]

    def test_a_thousand_million_is_refused(self) -> None:
        assert found(count=1_000_000_000) == ["Count is 1000000000; it must be between 1 and 10,000."]

    @pytest.mark.parametrize("count", [1, 10_000])
    def test_the_limits_themselves_are_accepted(self, count: int) -> None:
        assert found(count=count) == []


class TestMaxParallel:
    def test_without_it_there_is_no_limit_and_nought_is_none_either(self) -> None:
        assert normalised(job()).max_parallel is UNSET
        assert normalised(job(max_parallel=0)).max_parallel is UNSET
        assert "MaxParallel" not in msgspec.to_builtins(normalised(job()))

    @pytest.mark.parametrize("number", [1, 10_000])
    def test_the_limits_themselves_are_accepted(self, number: int) -> None:
        assert found(max_parallel=number) == []

    @pytest.mark.parametrize("number", [-1, 10_001])
    def test_what_is_beyond_them_is_refused(self, number: int) -> None:
        assert found(max_parallel=number) == [
            f"MaxParallel is {number}; it must be between 1 and 10,000, or 0 for no limit."
        ]


class TestNames:
    @pytest.mark.parametrize("name", ["a/b", "..", "../../etc", "two words", "Größe 数据 🐟", "*.>", "n" * 255, ""])
    def test_a_name_may_be_any_line_of_text(self, name: str) -> None:
        assert found(name=name) == []

    @pytest.mark.parametrize("name", ["n" * 300, "two\nlines", "a\0b", "\x1b[31mred", "half \ud800 of a pair"])
    def test_a_name_that_is_too_long_or_not_one_line_is_refused(self, name: str) -> None:
        assert found(name=name) == ["Name may have at most 255 printable characters."]

    @pytest.mark.parametrize("namespace", ["a/b", "a.b", "*", ">", "..", "two words", "ü", "n" * 65])
    def test_a_namespace_is_a_safe_id(self, namespace: str) -> None:
        assert found(namespace=namespace) == [
            f"Namespace {namespace!r} may have 1 to 64 characters out of A-Z a-z 0-9 _ and -."
        ]


class TestType:
    @pytest.mark.parametrize("kind", ["", " ", " batch "])
    def test_a_job_that_names_no_type_is_a_batch_job(self, kind: str) -> None:
        assert normalised(Job(type=kind)).type == "batch"

    @pytest.mark.parametrize(("kind", "instead"), [("service", "batch"), ("daemon", "ops")])
    def test_other_types_of_the_reference_are_not_supported(self, kind: str, instead: str) -> None:
        (problem,) = found(type=kind)
        told = f"Type {kind} is not supported yet: Tarpon runs batch and ops jobs. Write `Type: {instead}`"
        assert problem.startswith(told)

    @pytest.mark.parametrize("count", [None, 0, 1])
    def test_how_many_parts_an_ops_job_has_its_nodes_decide(self, count: int | None) -> None:
        assert normalised(Job(type="ops", count=count)).count == 0
        assert found(type="ops", count=count) == []

    @pytest.mark.parametrize("count", [2, -1])
    def test_an_ops_job_has_no_count(self, count: int) -> None:
        told = f"Count is {count}; an ops job has none: it runs once on each node that fulfils its Constraints."
        assert found(type="ops", count=count) == [told]

    def test_an_ops_job_does_not_divide_its_inputs(self) -> None:
        params = {"Bucket": "b", "Key": "k/", "Partition": {"Type": "object"}}
        source = InputSource(source=SpecConfig(type="s3", params=params), target="/in")
        (problem,) = found(type="ops", tasks=(task(input_sources=(source,)),))
        assert problem.startswith("Tasks[0].InputSources[0].Source.Params.Partition divides an input between parts")

    @pytest.mark.parametrize("kind", ["Batch", "cron"])
    def test_anything_else_is_no_type(self, kind: str) -> None:
        told = f"Type {kind!r} is not a type of job; write `Type: batch`, or `Type: ops` to run on each node."
        assert found(type=kind) == [told]


class TestSize:
    def test_a_job_of_two_megabytes_is_refused_with_the_limit(self) -> None:
        large = normalised(job(tasks=(task(env={"DATA": "x" * 2_000_000}),)))
        with pytest.raises(PayloadTooLarge, match=r"at most 262,144 are possible") as caught:
            check(large)
        assert "bucket" in caught.value.hint
        assert MAX_JOB_BYTES == 262_144

    @pytest.mark.parametrize("field", ["labels", "meta"])
    def test_ten_thousand_labels_are_refused(self, field: str) -> None:
        many = {f"k{number}": "v" for number in range(10_000)}
        assert found(**{field: many}) == [f"{field.title()} has 10,000 entries; at most 256 are possible."]
        assert found(**{field: dict(list(many.items())[:256])}) == []


class TestConstraints:
    def test_a_key_is_needed(self) -> None:
        assert constrained("", "exists") == ["Constraints[0] has no Key."]

    def test_an_unknown_operator_is_refused_with_those_that_there_are(self) -> None:
        assert constrained("zone", "~", "a") == [
            "Constraints[0] on 'zone': '~' is not an operator; there are !, !=, =, ==, exists, gt, in, lt, notin."
        ]

    @pytest.mark.parametrize("operator", ["exists", "!"])
    def test_operators_without_value_take_none(self, operator: str) -> None:
        assert constrained("zone", operator) == []
        assert constrained("zone", operator, "a") == [f"Constraints[0] on 'zone': {operator} takes no Values."]

    @pytest.mark.parametrize("operator", ["=", "==", "!=", "gt", "lt"])
    def test_operators_of_one_value_take_exactly_one(self, operator: str) -> None:
        message = f"Constraints[0] on 'zone': {operator} takes exactly one of Values."
        assert constrained("zone", operator) == constrained("zone", operator, "1", "2") == [message]
        assert constrained("zone", operator, "1") == []

    @pytest.mark.parametrize("value", ["many", "", "nan", "1e400", "-inf", "0x10"])
    @pytest.mark.parametrize("operator", ["gt", "LT"])
    def test_what_compares_needs_a_number(self, operator: str, value: str) -> None:
        told = f"Constraints[0] on 'disk': {operator.lower()} takes a number, and {value!r} is none."
        assert constrained("disk", operator, value) == [told]
        assert constrained("disk", operator, "-1.5") == []

    @pytest.mark.parametrize("operator", ["in", "notin", "IN", "NotIn"])
    def test_operators_of_sets_need_a_value(self, operator: str) -> None:
        assert constrained("zone", operator) == [
            f"Constraints[0] on 'zone': {operator.lower()} needs at least one of Values."
        ]
        assert constrained("zone", operator, "a", "b") == []


class TestTask:
    def test_a_job_needs_a_task(self) -> None:
        assert found(tasks=()) == ["Tasks is empty; a job needs one task."]

    def test_a_task_needs_a_name(self) -> None:
        assert in_task(name=" ") == ["Tasks[0].Name is missing."]

    def test_a_task_needs_an_engine(self) -> None:
        assert in_task(engine=SpecConfig(type=" ")) == ["Tasks[0].Engine.Type is missing."]

    def test_the_engine_that_a_misspelt_one_was_meant_to_be_is_told(self) -> None:
        assert in_task(engine=SpecConfig(type="proces", params={"Entrypoint": ["true"]})) == [
            "Tasks[0].Engine.Type 'proces' is not an engine; did you mean process?"
        ]
        assert in_task(engine=SpecConfig(type="spaceship")) == [], "a node may have it"

    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            (
                {"publisher": SpecConfig(type="s3manged")},
                "Publisher.Type 's3manged' is not a publisher; did you mean s3",
            ),
            (
                {"network": Network(type="brigde")},
                "Network.Type 'brigde' is not a kind of network; did you mean Bridge?",
            ),
        ],
    )
    def test_the_near_name_of_another_misspelt_kind_is_told_too(self, fields: dict[str, Any], told: str) -> None:
        (problem,) = in_task(**fields)
        assert told in problem

    def test_result_paths_need_a_publisher(self) -> None:
        paths = (ResultPath(name="out", path="/out"),)
        assert in_task(publisher=SpecConfig(type=""), result_paths=paths) == [
            "Tasks[0].ResultPaths needs a publisher to publish them; write `Publisher: {Type: s3managed}`."
        ]

    @pytest.mark.parametrize("publisher", ["noop", "NOOP"])
    def test_who_wants_nothing_published_is_told_that_result_paths_are_not(self, publisher: str) -> None:
        paths = (ResultPath(name="out", path="/out"),)
        assert in_task(publisher=SpecConfig(type=publisher), result_paths=paths) == []
        task = Task(
            name="main", engine=SpecConfig(type="noop"), publisher=SpecConfig(type=publisher), result_paths=paths
        )
        (told,) = unsaid(normalised(Job(type="batch", tasks=(task,))))
        assert told.startswith("Tasks[0].ResultPaths are not published")

    @pytest.mark.parametrize("text", ["fail", "Fail", " WARN ", ""])
    def test_what_becomes_of_a_result_that_is_not_whole_is_a_word_in_any_case(self, text: str) -> None:
        assert in_task(on_unreadable=text) == []

    def test_what_becomes_of_a_result_that_is_not_whole_is_one_of_two(self) -> None:
        assert in_task(on_unreadable="ignore") == ["Tasks[0].OnUnreadable 'ignore' is neither warn nor fail."]


class TestEnvironment:
    @pytest.mark.parametrize("name", ["", "1A", "A-B", "A=B", "Ä", "A B", "A\n"])
    def test_a_name_must_be_one(self, name: str) -> None:
        assert in_task(env={name: "x"}) == [f"Tasks[0].Env: {name!r} is not the name of an environment variable."]

    @pytest.mark.parametrize("name", ["BACALHAU_JOB_ID", "TARPON_X", "tarpon_x"])
    def test_reserved_names_are_refused(self, name: str) -> None:
        assert in_task(env={name: "x"}) == [
            f"Tasks[0].Env: {name} begins with a reserved prefix (BACALHAU_ or TARPON_)."
        ]

    def test_a_value_has_no_nul(self) -> None:
        assert in_task(env={"A": "x\0y"}) == ["Tasks[0].Env: the value of A contains a NUL character."]

    def test_anything_else_is_a_value(self) -> None:
        assert in_task(env={"A": "", "_b1": "two\nlines", "C": "env:HOME"}) == []


class TestTimeouts:
    @pytest.mark.parametrize("field", ["execution_timeout", "queue_timeout", "total_timeout"])
    @pytest.mark.parametrize("seconds", [-1, MAX_SECONDS + 1])
    def test_a_timeout_is_between_none_and_a_year(self, field: str, seconds: int) -> None:
        name = field.title().replace("_", "")
        expected = f"Tasks[0].Timeouts.{name} is {seconds}; it must be between 0 (none) and 31,536,000 seconds."
        assert expected in in_task(timeouts=replace(Timeouts(), **{field: seconds}))

    def test_the_whole_is_no_less_than_its_parts(self) -> None:
        parts = Timeouts(execution_timeout=6, queue_timeout=5, total_timeout=10)
        assert in_task(timeouts=parts) == [
            "Tasks[0].Timeouts: ExecutionTimeout (6) and QueueTimeout (5) together exceed TotalTimeout (10)."
        ]
        assert in_task(timeouts=replace(parts, total_timeout=11)) == []
        assert in_task(timeouts=replace(parts, total_timeout=0)) == [], "none"


class TestResources:
    @pytest.mark.parametrize(
        ("field", "name", "text", "what"),
        [
            ("cpu", "CPU", "lots", "CPU"),
            ("cpu", "CPU", "-1", "CPU"),
            ("memory", "Memory", "1 parsec", "bytes"),
            ("disk", "Disk", "1e400", "bytes"),
            ("gpu", "GPU", "0.5", "GPUs"),
        ],
    )
    def test_an_amount_that_is_none_is_told_with_a_hint(self, field: str, name: str, text: str, what: str) -> None:
        (problem,) = in_task(resources=replace(Resources(), **{field: text}))
        assert problem.startswith(f"Tasks[0].Resources.{name}: {text!r} is not an amount of {what}. Write ")

    def test_an_amount_is_short_because_what_it_means_is_remembered(self) -> None:
        (problem,) = in_task(resources=Resources(memory="0" * 64 + "1"))
        assert problem == "Tasks[0].Resources.Memory has 65 characters; at most 64 are possible."

    def test_amounts_become_capacity(self) -> None:
        asked = Resources(cpu="500m", memory="512Mb", disk="1Gi", gpu="2")
        assert capacity_of(asked) == Capacity(cpu=0.5, memory=512_000_000, disk=1 << 30, gpu=2)
        assert capacity_of(Resources()) == Capacity()

    def test_what_no_check_has_passed_raises(self) -> None:
        with pytest.raises(InvalidQuantity):
            capacity_of(Resources(cpu="lots"))


class TestWhatIsNotSupportedYet:
    def test_inputs_of_any_kind_are_told_with_what_to_do_instead(self) -> None:
        (problem,) = reading(("s3", "/in"), ("ipfs", "/in2"))
        assert problem.startswith("Tasks[0].InputSources: inputs (ipfs) are not supported yet;")
        assert problem.endswith("A container reaches the network with `Network: {Type: Bridge}`.")
        assert reading() == []

    @pytest.mark.parametrize("kind", ["local", "ipfs", "IPFS", "s3"])
    def test_publishers_of_the_reference_are_told_with_the_line_that_replaces_them(self, kind: str) -> None:
        (problem,) = in_task(publisher=SpecConfig(type=kind))
        assert problem.startswith(f"Tasks[0].Publisher.Type {kind.lower()} is not supported yet; write `Publisher: ")
        assert "`tarpon job get`" in problem

    @pytest.mark.parametrize("key", ["Bucket", "bucket"])
    def test_the_bucket_of_a_publisher_is_told_to_be_a_setting(self, key: str) -> None:
        (problem,) = in_task(publisher=SpecConfig(type="s3", params={key: "my-bucket", "Key": "{jobID}/"}))
        assert "'Publishers.Types.S3Managed.Bucket=my-bucket'" in problem

    def test_a_publisher_that_nobody_has_is_told_those_that_there_are(self) -> None:
        assert in_task(publisher=SpecConfig(type="ftp")) == [
            "Tasks[0].Publisher.Type 'ftp' is not a publisher; there are s3managed and noop."
        ]

    def test_ports_are_told(self) -> None:
        (problem,) = in_task(network=Network(type="Bridge", ports=({"Name": "http", "Static": 8080},)))
        assert problem.startswith("Tasks[0].Network.Ports: ports are not supported yet; leave them out.")

    @pytest.mark.parametrize("network", [Network(type="HTTP"), Network(type="http", domains=("a.example",))])
    def test_a_network_of_some_domains_is_told(self, network: Network) -> None:
        (problem,) = in_task(network=network)
        assert problem.startswith("Tasks[0].Network: a network of some domains (HTTP, Domains) is not supported yet;")

    def test_a_network_that_nobody_has_is_told_those_that_there_are(self) -> None:
        assert in_task(network=Network(type="wifi")) == [
            "Tasks[0].Network.Type 'wifi' is not a kind of network; there are None, Host and Bridge."
        ]


class TestResultPaths:
    def test_several_folders_are_possible(self) -> None:
        assert publishing(("out", "/out"), ("logs.d", "/var/log/"), ("_x-1", "/out/deeper")) == []

    @pytest.mark.parametrize("path", ["/", "//", "/.", "/./"])
    def test_the_whole_file_system_is_refused(self, path: str) -> None:
        assert publishing(("out", path)) == [f"{PATH} {path!r} is the whole file system; name a folder."]

    @pytest.mark.parametrize("path", ["", "out", "./out", "/a/../b", "/..", "/a\0b"])
    def test_a_path_is_absolute_and_stays_where_it_says(self, path: str) -> None:
        assert publishing(("out", path)) == [f"{PATH} {path!r} must be absolute and without `..`."]

    @pytest.mark.parametrize("path", ["/proc", "/proc/", "/./proc/self/fd", "/sys", "/sys/kernel", "/dev", "//dev/"])
    def test_what_belongs_to_the_kernel_is_refused(self, path: str) -> None:
        assert publishing(("out", path)) == [f"{PATH} {path!r} is the kernel's; name a folder of the task's own."]

    def test_folders_that_only_look_so_are_possible(self) -> None:
        assert publishing(("a", "/process"), ("b", "/data/proc"), ("c", "/dev/shm")) == []

    @pytest.mark.parametrize("path", ["/" + "n" * 256, "/" + "\N{EURO SIGN}" * 86, "/aaaaaaa" * 129])
    def test_a_path_that_no_file_system_takes_is_refused(self, path: str) -> None:
        assert publishing(("out", path)) == [
            f"{PATH} {path[:80]!r} is too long; 1,024 bytes are possible, and 255 for each folder in it."
        ]
        assert publishing(("out", "/aaaaaaa" * 128), ("two", "/" + "n" * 255)) == []

    @pytest.mark.parametrize("again", ["/out", "/out/", "//out", "/./out", "/out/."])
    def test_a_path_is_there_once_however_it_is_written(self, again: str) -> None:
        assert publishing(("one", "/out"), ("two", again)) == [f"{OTHER_PATH} {again!r} is there twice."]

    @pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-flag", "a/b", "a b", "ä", "n" * 101, "a\n"])
    def test_a_name_is_a_plain_file_name(self, name: str) -> None:
        assert publishing((name, "/out")) == [
            f"Tasks[0].ResultPaths[0].Name {name[:80]!r} may have letters, digits, _ - and inner dots alone."
        ]

    @pytest.mark.parametrize("name", ["stdout", "stderr", "exitCode", "STDOUT"])
    def test_the_names_that_tarpon_writes_are_taken(self, name: str) -> None:
        assert publishing((name, "/out")) == [
            f"Tasks[0].ResultPaths[0].Name {name!r} is one of those that Tarpon itself writes."
        ]

    def test_a_name_is_there_once_whatever_its_case(self) -> None:
        assert publishing(("out", "/a"), ("OUT", "/b")) == ["Tasks[0].ResultPaths[1].Name 'OUT' is there twice."]


class TestMessage:
    def test_one_problem_is_one_line(self) -> None:
        with pytest.raises(InvalidJob, match=r"^The job is not valid: Count is 0; [^\n]*$"):
            check(normalised(job(count=0)))

    def test_all_problems_are_told_at_once(self) -> None:
        with pytest.raises(InvalidJob) as caught:
            check(normalised(job(count=0, type="cron", tasks=(task(name="", env={"1": ""}),))))
        assert len(caught.value.problems) == 4
        assert caught.value.message.count("\n  - ") == 4

    def test_what_is_wrong_is_quoted_in_part(self) -> None:
        endless = "x" * 100_000
        texts = [
            *found(namespace=endless, type=endless, constraints=(Constraint(key=endless, operator=endless),)),
            *in_task(env={"1" + endless: "", "TARPON_" + endless: "", endless: "\0"}),
            *in_task(resources=Resources(cpu=endless, memory=endless, disk=endless, gpu=endless)),
            *reading(("", endless), ("", endless)),
            *publishing((endless, endless), (endless, endless)),
        ]
        assert len(texts) >= 16
        assert max(map(len, texts)) < 300


class TestNormalising:
    def test_blanks_go_and_gaps_are_filled(self) -> None:
        untidy = job(
            name=" a-job ",
            namespace="  ",
            tasks=(
                task(
                    name=" main ",
                    engine=SpecConfig(type=" noop ", params={"Keep": " this "}),
                    publisher=SpecConfig(type=" S3Managed "),
                    resources=Resources(cpu=" 500 M ", memory="1 GB", disk="1Gi", gpu=" 1 "),
                ),
            ),
        )
        tidy = normalised(untidy)
        assert (tidy.name, tidy.namespace, tidy.count) == ("a-job", "default", 1)
        assert tidy.task == task(
            engine=SpecConfig(type="noop", params={"Keep": " this "}),
            publisher=SpecConfig(type="S3Managed"),
            resources=Resources(cpu="500m", memory="1gb", disk="1gi", gpu="1"),
        )

    def test_normalising_again_changes_nothing(self) -> None:
        once = normalised(job(name=" x ", tasks=(task(resources=Resources(cpu="1 ")),)))
        assert normalised(once) == once

    def test_a_count_that_was_given_is_kept(self) -> None:
        assert normalised(job(count=0)).count == 0

    def test_only_the_first_task_is_kept_and_the_author_is_told(self) -> None:
        two = job(tasks=(task(name="one"), task(name="two")))
        assert [each.name for each in normalised(two).tasks] == ["one"]
        assert dropped(two) == ("The job has 2 tasks; only the first is run.",)
        assert dropped(job()) == ()


class TestRetries:
    def test_a_task_that_fails_by_its_exit_code_may_be_retried(self) -> None:
        retries = Retries(max=100, on_exit_codes=(255, 75, 75), back_off=" 24h ")
        assert in_task(fail_on_exit_code=True, retries=retries) == []
        (plain,) = normalised(job(tasks=(task(fail_on_exit_code=True, retries=retries),))).tasks
        assert plain.retries == Retries(max=100, on_exit_codes=(75, 255), back_off="24h")

    def test_one_that_never_fails_so_is_told_what_is_missing(self) -> None:
        assert in_task(retries=Retries(max=1)) == [
            "Tasks[0].Retries are for tasks that fail by their exit code; write `FailOnExitCode: true` beside them."
        ]

    @pytest.mark.parametrize(
        ("retries", "problem"),
        [
            (Retries(max=101), "Tasks[0].Retries.Max is 101; it must be between 1 and 100."),
            (Retries(max=-1), "Tasks[0].Retries.Max is -1; it must be between 1 and 100."),
            (Retries(on_exit_codes=(75,)), "Tasks[0].Retries.Max is 0; it must be between 1 and 100."),
            (Retries(max=1, on_exit_codes=(0,)), "Tasks[0].Retries.OnExitCodes may have codes from 1 to 255 alone."),
            (Retries(max=1, on_exit_codes=(256,)), "Tasks[0].Retries.OnExitCodes may have codes from 1 to 255 alone."),
            (
                Retries(max=1, back_off="30"),
                f"Tasks[0].Retries.BackOff: '30' is not a duration. {InvalidDuration('30').hint}",
            ),
            (Retries(max=1, back_off="-1s"), "Tasks[0].Retries.BackOff is -1s; it must be between 0s and 24h."),
            (Retries(max=1, back_off="25h"), "Tasks[0].Retries.BackOff is 25h; it must be between 0s and 24h."),
        ],
    )
    def test_what_makes_no_sense_is_told(self, retries: Retries, problem: str) -> None:
        assert in_task(fail_on_exit_code=True, retries=retries) == [problem]
