import enum
from typing import Annotated, Any, Literal

import msgspec
import pytest

from shared.data.decoding import MAX_PROBLEMS, MAX_SUGGESTIONS, UnknownKey, canonical, decode, load_yaml
from shared.errors import InvalidDocument


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Engine(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    type: str
    params: dict[str, Any] = {}


class Task(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    name: str = ""
    engine: Engine | None = None
    env: dict[str, str] = {}
    cpu: str = msgspec.field(default="", name="CPU")
    colour: Colour = Colour.RED


class Job(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    name: str = ""
    count: Annotated[int, msgspec.Meta(ge=0)] = 1
    kind: Literal["batch", "ops"] = "batch"
    urgent: bool = False
    tasks: tuple[Task, ...] = ()
    engines: dict[str, Engine] = {}
    either: list[Task] | dict[str, str] | None = None


def read(data: Any, **options: Any) -> Job:
    job, warnings = decode(data, Job, what="job.yaml", unknown="refuse", **options)
    assert warnings == ()
    return job


def refusal(data: Any) -> str:
    with pytest.raises(InvalidDocument) as caught:
        read(data)
    return caught.value.message


def yaml_refusal(text: str) -> str:
    with pytest.raises(InvalidDocument) as caught:
        load_yaml(text, what="job.yaml")
    return caught.value.message


class Query(msgspec.Struct, frozen=True, kw_only=True):
    order: Literal["", "created_at", "modified_at"] = ""


class TestKeys:
    def test_keys_match_whatever_their_case_at_every_level(self) -> None:
        job = read({"NAME": "a", "tasks": [{"eNgine": {"TYPE": "docker"}, "cpu": "1"}]})
        assert job == Job(name="a", tasks=(Task(engine=Engine(type="docker"), cpu="1"),))

    def test_keys_of_maps_stay_as_they_are(self) -> None:
        job = read({"tasks": [{"env": {"Type": "x", "type": "y"}, "engine": {"type": "t", "params": {"Image": "i"}}}]})
        assert job.tasks[0].env == {"Type": "x", "type": "y"}
        assert job.tasks[0].engine == Engine(type="t", params={"Image": "i"})

    def test_structs_inside_of_a_map_are_matched_too(self) -> None:
        assert read({"engines": {"MyOwn": {"type": "wasm"}}}).engines == {"MyOwn": Engine(type="wasm")}

    def test_the_member_of_a_union_that_has_the_form_of_the_data_is_meant(self) -> None:
        assert read({"either": [{"name": "a"}]}).either == [Task(name="a")]
        assert read({"either": {"name": "a"}}).either == {"name": "a"}

    def test_keys_that_differ_only_in_case_are_refused(self) -> None:
        assert refusal({"Name": "a", "name": "b"}) == (
            "job.yaml is not valid: Name is given twice, as keys that differ in case"
        )
        with pytest.raises(InvalidDocument):
            canonical({"Name": "a", "name": "b"}, Job)

    def test_an_unknown_key_comes_with_its_path_and_what_was_probably_meant(self) -> None:
        data, unknown = canonical({"tasks": [{"Engin": {"type": "docker"}, "zzz": 1, "name": "a"}]}, Job)
        assert data == {"Tasks": [{"Name": "a"}]}
        assert unknown == [UnknownKey(path="Tasks[0].Engin", suggestion="Engine"), UnknownKey(path="Tasks[0].zzz")]

    def test_all_unknown_keys_are_refused_in_one_message(self) -> None:
        assert refusal({"nam": "a", "tasks": [{"Engin": 1}], "xyz": 1}) == (
            "job.yaml is not valid:"
            "\n  - nam is not known; did you mean Name?"
            "\n  - Tasks[0].Engin is not known; did you mean Engine?"
            "\n  - xyz is not known"
        )

    def test_of_many_unknown_keys_only_the_first_are_looked_into(self) -> None:
        _, unknown = canonical({f"nam{number}": 1 for number in range(1000)}, Job)
        assert [key.suggestion for key in unknown] == ["Name"] * MAX_SUGGESTIONS + [""] * (1000 - MAX_SUGGESTIONS)

    def test_of_many_problems_the_first_are_told_and_that_there_are_more(self) -> None:
        said = refusal({"tasks": [{"env": {str(number): [] for number in range(1000)}}]}).splitlines()
        assert len(said) == 1 + MAX_PROBLEMS + 1
        assert said[1] == "  - Tasks[0].Env.0: expected a text, found a list"
        assert said[-1] == "  - there are more problems than these"

    def test_unknown_keys_can_be_left_out_with_a_warning(self) -> None:
        job, warnings = decode({"nam": "a", "count": 2}, Job, what="the job", unknown="report")
        assert job == Job(count=2)
        assert warnings == ("nam is not known and was ignored; did you mean Name?",)

    def test_the_data_that_was_given_is_not_changed(self) -> None:
        data = {"tasks": [{"name": "a", "nope": 1}]}
        canonical(data, Job)
        assert data == {"tasks": [{"name": "a", "nope": 1}]}


class TestValues:
    def test_null_is_the_same_as_leaving_the_key_out(self) -> None:
        assert read({"name": None, "tasks": None, "count": None}) == Job()

    def test_null_is_the_same_also_for_an_unknown_key_and_an_entry_of_a_map(self) -> None:
        data = {"nope": None, "NAME": None, "name": "a", "tasks": [{"env": {"A": None, "B": "b"}}]}
        assert read(data) == Job(name="a", tasks=(Task(env={"B": "b"}),))

    def test_a_number_counts_where_a_text_belongs(self) -> None:
        task = read({"name": 7, "tasks": [{"cpu": 0.5, "env": {"PORT": 8080}}]}).tasks[0]
        assert (task.cpu, task.env) == ("0.5", {"PORT": "8080"})

    def test_a_text_that_is_a_number_counts_where_a_number_belongs_unless_strict(self) -> None:
        assert read({"count": "3"}).count == 3
        with pytest.raises(InvalidDocument):
            read({"count": "3"}, strict=True)

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            ({"tasks": [{"name": []}]}, "Tasks[0].Name: expected a text, found a list"),
            ({"tasks": [{"name": True}]}, "Tasks[0].Name: expected a text, found true; write it in quotes"),
            ({"tasks": [{"env": {"A": {}}}]}, "Tasks[0].Env.A: expected a text, found a mapping"),
            ({"tasks": {"name": "a"}}, "Tasks: expected a list, found a mapping"),
            ({"tasks": [None]}, "Tasks[0]: expected a mapping, found nothing"),
            ({"count": "many"}, "Count: expected a whole number, found a text"),
            ({"count": 1.5}, "Count: expected a whole number, found a number with a fraction"),
            ({"count": -1}, "Count: must be at least 0"),
            ({"kind": "Batch"}, "Kind: must be one of batch, ops"),
            ({"urgent": "maybe"}, "Urgent: expected true or false, found a text"),
            ({"tasks": [{"colour": "green"}]}, "Tasks[0].Colour: must be one of red, blue"),
            ({"tasks": [{"engine": {}}]}, "Tasks[0].Engine.Type is missing"),
            ({"either": 5}, "Either: expected a mapping or a list, found a number"),
            ([], "expected a mapping, found a list"),
        ],
    )
    def test_a_wrong_value_is_told_with_its_path_in_plain_words(self, data: Any, problem: str) -> None:
        assert refusal(data) == f"job.yaml is not valid: {problem}"

    def test_an_empty_choice_is_not_offered(self) -> None:
        with pytest.raises(InvalidDocument, match=r"must be one of created_at, modified_at$"):
            decode({"order": "x"}, Query, what="The query", unknown="report")

    def test_wrong_values_and_unknown_keys_are_told_together(self) -> None:
        message = refusal({"count": [], "nam": "a", "tasks": [{"engine": {"params": 1}}, {"name": {}}]})
        assert message.splitlines()[1:] == [
            "  - nam is not known; did you mean Name?",
            "  - Count: expected a whole number, found a list",
            "  - Tasks[0].Engine.Type is missing",
            "  - Tasks[0].Engine.Params: expected a mapping, found a number",
            "  - Tasks[1].Name: expected a text, found a mapping",
        ]


class TestYaml:
    def test_scalars_are_what_they_look_like(self) -> None:
        text = "{a: 1, b: -2, c: 0.5, d: true, e: False, f: null, g: ~, h: x y, i: '1', j: [1, 'b'], k: , l: 0}"
        assert load_yaml(text, what="x") == {
            "a": 1,
            "b": -2,
            "c": 0.5,
            "d": True,
            "e": False,
            "f": None,
            "g": None,
            "h": "x y",
            "i": "1",
            "j": [1, "b"],
            "k": None,
            "l": 0,
        }

    @pytest.mark.parametrize(
        "text",
        ["yes", "No", "on", "2024-01-31", "2024-01-31T00:00:00Z", "012", "12:30:00", "1.10", "1e3", "0x1F", "1_000"],
    )
    def test_what_could_lose_its_spelling_stays_text(self, text: str) -> None:
        assert load_yaml(f"a: {text}", what="x") == {"a": text}

    def test_json_is_yaml(self) -> None:
        assert load_yaml('{"a": [1, {"b": "\\u00e9"}]}', what="x") == {"a": [1, {"b": "\u00e9"}]}

    def test_block_text_keeps_its_lines(self) -> None:
        assert load_yaml("a: |\n  one\n  two\n", what="x") == {"a": "one\ntwo\n"}

    def test_keys_are_text_as_it_is_written(self) -> None:
        assert load_yaml("1: a\ntrue: b\n", what="x") == {"1": "a", "true": "b"}

    def test_aliases_and_merges_repeat_what_was_written_once(self) -> None:
        text = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\na: *b\nc:\n  <<: [*b, *m]\n  x: 9\nd: {<<: *m}\n"
        document = load_yaml(text, what="x")
        assert document["a"] == {"x": 1, "y": 2}
        assert document["c"] == {"x": 9, "y": 2, "z": 4}
        assert document["d"] == {"y": 3, "z": 4}

    def test_a_text_tag_and_a_byte_order_mark_do_no_harm(self) -> None:
        assert load_yaml("\ufeffa: !!str 5", what="x") == {"a": "5"}

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "is empty."),
            ("# only a comment\n", "is empty."),
            ("- a\n", "is a list, not a mapping of names to values."),
            ("just words", "is a single value, not a mapping of names to values."),
            ("a: 1\n---\nb: 2\n", "holds more than one document; keep one and no `---` after it."),
            ("a: b: c\n", "cannot be read at line 1, column 5: mapping values are not allowed in this context."),
            (
                "a:\n  b: 1\n c: 2\n",
                "cannot be read at line 3, column 2: this line, or one before it, is indented otherwise than",
            ),
            ("a:\n\tb: 1\n", "cannot be read at line 2, column 1: a tab stands where only spaces may indent."),
            ("a: 1\nb: 2\na: 3\n", "cannot be read at line 3, column 1: the key 'a' is given twice in one mapping."),
            (
                "a: !!python/object:os.system {}",
                "the tag 'tag:yaml.org,2002:python/object:os.system' is not supported.",
            ),
            ("a: !!timestamp 2024-01-31", "the tag 'tag:yaml.org,2002:timestamp' is not supported."),
            ("a: *b\n", "cannot be read at line 1, column 4: the alias *b refers to nothing that ends before it."),
            ("a: &a [*a]\n", "the alias *a refers to nothing that ends before it."),
            ("a: {{ x }}: 1", "a key must be a text; quote a value that begins with a brace or bracket."),
            ("&a x: 1\n*a : 2\n", "a key must be a text written out, not an alias."),
            ("<<: 5\n", "`<<` takes a mapping or a list of mappings."),
            ("a: \x01", "cannot be read as text: unacceptable character"),
        ],
    )
    def test_what_is_no_single_mapping_is_refused_with_the_place(self, text: str, problem: str) -> None:
        message = yaml_refusal(text)
        assert message.startswith("job.yaml ")
        assert problem in message

    def test_aliases_that_expand_without_end_are_refused(self) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
        assert yaml_refusal("\n".join(lines)) == (
            "job.yaml is too large: more than 100,000 values once its aliases are written out."
        )

    def test_a_long_text_repeated_by_aliases_is_refused(self) -> None:
        assert "too large" in yaml_refusal(f"a: &a {'x' * 1_000_000}\nb: [{'*a, ' * 200}]\n")

    @pytest.mark.parametrize("opening", ["[", "- ", "{a: "])
    @pytest.mark.parametrize("levels", [150, 2_000, 50_000])
    def test_nesting_without_end_is_refused_by_our_bound(self, opening: str, levels: int) -> None:
        assert "nested more than 100 deep" in yaml_refusal(f"a:\n  {opening * levels}")
