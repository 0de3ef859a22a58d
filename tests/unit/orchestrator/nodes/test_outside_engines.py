"""Parameters of an engine from outside are checked by what nodes tell that the job may go to, and by no other's."""

import pytest

from orchestrator.nodes.outside_engines import check_outside_engine
from orchestrator.rules.records import BindingRecord, NodeRecord
from orchestrator.state.model import Model
from shared.errors import InvalidJob
from shared.ids import NodeId
from shared.jobs.spec import Job, SpecConfig, Task
from shared.protocol import subjects
from shared.protocol.messages import NodeInfo
from shared.protocol.nodes.engine_parameters import ToldParameter

IMAGE, WORDS = ToldParameter(name="Image", required=True), ToldParameter(name="Words", kind="texts")


def told_by(model: Model, name: str, *told: ToldParameter, namespace: str = "", unapproved: bool = False) -> None:
    node = NodeId(name)
    info = NodeInfo(node_id=node, version="1", engines=("rootfs",), engine_parameters={"rootfs": told})
    model.apply(subjects.node_record(node), NodeRecord(info=info), len(model.nodes) + 1)
    namespaces = (namespace,) if namespace else ()
    model.bindings[node] = BindingRecord(public_key="U", namespaces=namespaces, unapproved=unapproved)


def job(**params: object) -> Job:
    task = Task(name="main", engine=SpecConfig(type="Rootfs", params=params))
    return Job(type="batch", namespace="ours", tasks=(task,))


@pytest.fixture
def model() -> Model:
    return Model(max_attempts=3)


def test_what_no_node_would_take_is_refused_with_its_path(model: Model) -> None:
    told_by(model, "n-1", IMAGE)
    check_outside_engine(model, job(image="a"))
    with pytest.raises(InvalidJob) as caught:
        check_outside_engine(model, job(Imag="a"))
    assert caught.value.problems == (
        "Tasks[0].Engine.Params.Imag is not known to the engine Rootfs; did you mean Image?",
        "Tasks[0].Engine.Params.Image is missing",
    )


def test_a_node_that_knows_more_is_enough(model: Model) -> None:
    told_by(model, "n-1", IMAGE)
    told_by(model, "n-2", IMAGE, WORDS)
    check_outside_engine(model, job(Image="a", Words=["b"]))


def test_nodes_that_the_job_may_not_go_to_have_no_say(model: Model) -> None:
    told_by(model, "n-1", IMAGE, namespace="theirs")
    told_by(model, "n-2", IMAGE, unapproved=True)
    check_outside_engine(model, job(Anything=1))


def test_an_engine_of_tarpon_s_own_is_not_what_a_node_says_of_it(model: Model) -> None:
    node = NodeId("n-1")
    info = NodeInfo(node_id=node, version="1", engines=("noop",), engine_parameters={"noop": (IMAGE,)})
    model.apply(subjects.node_record(node), NodeRecord(info=info), 1)
    check_outside_engine(model, Job(type="batch", tasks=(Task(name="main", engine=SpecConfig(type="noop")),)))
