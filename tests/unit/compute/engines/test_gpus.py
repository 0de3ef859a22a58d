"""Which GPUs a task has, and how it is told. No GPU is here: tested is who gets which id, and by which words."""

from hypothesis import given
from hypothesis import strategies as st

from compute.engines.gpus import for_container, for_process
from compute.executions.slots import Slot, Slots
from shared.jobs.capacity import Capacity

TWO = Capacity(cpu=100, gpu=2)


def admitted(slots: Slots, gpu: int) -> Slot:
    slot = slots.admit(Capacity(cpu=1, gpu=gpu))
    assert slot is not None
    return slot


def test_every_task_has_gpus_of_its_own_and_the_next_gets_what_is_given_back() -> None:
    slots = Slots(TWO, queue_capacity=9)
    first, second, third = (admitted(slots, 1) for _ in range(3))
    assert (first.devices, second.devices, third.devices) == (("0",), ("1",), ())
    second.release()
    assert third.is_granted
    assert third.devices == ("1",)
    assert admitted(slots, 0).devices == ()


def test_what_ran_before_the_node_was_started_again_keeps_its_gpus() -> None:
    slots = Slots(TWO, queue_capacity=9)
    slots.occupy(Capacity(gpu=1), ("1",))
    assert admitted(slots, 1).devices == ("0",)


def test_a_task_of_an_earlier_version_has_the_first_gpus() -> None:
    slots = Slots(TWO, queue_capacity=9)
    slots.occupy(Capacity(gpu=1))
    assert admitted(slots, 1).devices == ("1",)


@given(
    st.integers(min_value=1, max_value=5),
    st.lists(st.one_of(st.integers(0, 3), st.integers(0, 9).map(lambda number: -1 - number)), max_size=40),
)
def test_no_gpu_is_given_twice_whoever_comes_and_goes(count: int, steps: list[int]) -> None:
    slots, held = Slots(Capacity(cpu=1000, gpu=count), queue_capacity=100), list[Slot]()
    for step in steps:
        if step < 0 and held:
            held.pop((-1 - step) % len(held)).release()
        elif 0 <= step <= count:
            held.append(admitted(slots, step))
        granted = [slot for slot in held if slot.is_granted]
        given_out = [device for slot in granted for device in slot.devices]
        assert len(given_out) == len(set(given_out))
        assert set(given_out) <= set(map(str, range(count)))
        assert all(len(slot.devices) == slot.wanted.gpu for slot in granted)


def test_a_process_sees_its_own_gpus_alone_whatever_the_job_says() -> None:
    said = {"CUDA_VISIBLE_DEVICES": "0", "ROCR_VISIBLE_DEVICES": "0", "A": "b"}
    assert for_process(said, ("1", "3")) == {
        "A": "b",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "1,3",
        "HIP_VISIBLE_DEVICES": "1,3",
        "NVIDIA_VISIBLE_DEVICES": "1,3",
    }


def test_a_process_that_asked_for_no_gpu_sees_none() -> None:
    seen = for_process({}, ())
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["HIP_VISIBLE_DEVICES"]) == ("-1", "-1")


def test_no_job_gives_its_container_more_gpus_than_it_asked_for() -> None:
    said = {"NVIDIA_VISIBLE_DEVICES": "all"}
    assert for_container(said, ("1",)) == {"NVIDIA_VISIBLE_DEVICES": "1"}
    assert for_container(said, ()) == {"NVIDIA_VISIBLE_DEVICES": "void"}


def test_a_node_that_gives_no_gpus_changes_nothing() -> None:
    said = {"NVIDIA_VISIBLE_DEVICES": "all", "CUDA_VISIBLE_DEVICES": "0"}
    assert for_container(said, None) == for_process(said, None) == said
