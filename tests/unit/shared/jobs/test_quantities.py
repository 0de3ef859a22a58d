from collections.abc import Callable

import pytest

from shared.errors import InvalidQuantity
from shared.jobs.quantities import format_bytes, format_cpu, parse_bytes, parse_cpu, parse_gpu, share_or_amount


@pytest.mark.parametrize(
    ("text", "cores"),
    [("500m", 0.5), ("1", 1.0), ("1.5", 1.5), (".5", 0.5), ("0", 0.0), ("250 m", 0.25), ("100M", 0.1)],
)
def test_cpu_is_cores_or_thousandths_of_a_core(text: str, cores: float) -> None:
    assert parse_cpu(text) == cores


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512Mb", 512_000_000),
        ("512MB", 512_000_000),
        ("512m", 512_000_000),
        ("512MiB", 512 * 1024**2),
        ("1Gi", 1024**3),
        ("1gib", 1024**3),
        ("1GB", 10**9),
        ("1.5 GiB", 3 * 1024**3 // 2),
        ("1.001kb", 1001),
        ("1.0019kB", 1001),
        ("2tb", 2 * 10**12),
        ("1,024", 1024),
        ("100b", 100),
        ("100", 100),
        ("0", 0),
        ("4.", 4),
    ],
)
def test_bytes_count_in_thousands_or_with_an_i_in_1024(text: str, size: int) -> None:
    assert parse_bytes(text) == size


def test_gpus_are_whole_numbers() -> None:
    assert parse_gpu(" 2 ") == 2


@pytest.mark.parametrize("text", ["", "-1", "1x", "much", "1 000 000 000 000", "NaN", "inf", "0x10", "1.2.3", "\u0661"])
@pytest.mark.parametrize("parse", [parse_cpu, parse_gpu])
def test_what_is_no_amount_is_refused(parse: Callable[[str], float], text: str) -> None:
    with pytest.raises(InvalidQuantity):
        parse(text)


@pytest.mark.parametrize("text", ["", "-1", "1x", "much", "i", "1iB", "MB", "1e3", "1.2.3", "9Ei", "10000000TB", "1%"])
def test_what_is_no_amount_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuantity):
        parse_bytes(text)


def test_a_part_of_a_gpu_is_refused() -> None:
    with pytest.raises(InvalidQuantity) as caught:
        parse_gpu("0.5")
    assert caught.value.message == "'0.5' is not an amount of GPUs."
    assert caught.value.hint == "Write a whole number, such as 1."


def test_a_share_is_taken_of_the_total() -> None:
    assert share_or_amount("80%", 10.0, parse_cpu) == 8.0
    assert share_or_amount("100%", 2**40 + 1, parse_bytes) == 2**40 + 1


def test_a_share_of_whole_things_is_rounded_down() -> None:
    assert share_or_amount("50%", 3, parse_gpu) == 1
    assert share_or_amount("29%", 100, parse_bytes) == 29


def test_an_amount_is_taken_as_it_is_even_above_the_total() -> None:
    assert share_or_amount("2GB", 10, parse_bytes) == 2_000_000_000


@pytest.mark.parametrize("text", ["101%", "-5%", "%", "a%", "5%%", "80 percent"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuantity):
        share_or_amount(text, 10.0, parse_cpu)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1288490189, "1.2 GiB"),
        (1024**2 - 1, "1.0 MiB"),
        (2**63, "8.0 EiB"),
        (2**80, "1048576.0 EiB"),
    ],
)
def test_bytes_are_shown_in_the_unit_that_reads_best(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(("cores", "text"), [(0.5, "0.5"), (2.0, "2"), (0.0, "0"), (10.0, "10"), (0.1 + 0.2, "0.3")])
def test_cores_are_shown_to_a_thousandth(cores: float, text: str) -> None:
    assert format_cpu(cores) == text
