"""Amounts of CPU, memory, disk space and GPUs, as they are written: `500m`, `512Mb`, `1.5GiB`, `80%`.

CPU follows Kubernetes quantities, bytes follow go-humanize: `kB`, `MB` and `M` count in thousands, `KiB`, `MiB` and
`Mi` in 1024. Case and spaces do not matter.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from shared.errors import InvalidQuantity

_CPU = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(m?)", re.ASCII)
_BYTES = re.compile(r"(\d{1,24})(?:\.(\d{0,24}))?(?:([kmgtpe])(i?))?b?", re.ASCII)
_GPU = re.compile(r"\d{1,9}", re.ASCII)
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)%", re.ASCII)
_PREFIXES = "kmgtpe"
_MOST_BYTES = 2**63 - 1

_CPU_HINT = "Write cores, such as 2 or 0.5, or thousandths of a core, such as 500m."
_BYTES_HINT = "Write a number and a unit, such as 512MB, 1.5GiB or 2Gi; a plain number is bytes."
_GPU_HINT = "Write a whole number, such as 1."
_SHARE_HINT = "A share is between 0% and 100%."

Amount = TypeVar("Amount", int, float)


def parse_cpu(text: str) -> float:
    """Cores. Raise InvalidQuantity unless `text` is such an amount."""
    found = _CPU.fullmatch(_normal(text))
    if found is None:
        raise InvalidQuantity("CPU", text, _CPU_HINT)
    return float(found[1]) / 1000 if found[2] else float(found[1])


def parse_bytes(text: str) -> int:
    """Bytes, of memory or disk, rounded down. Raise InvalidQuantity unless `text` is such an amount."""
    found = _BYTES.fullmatch(_normal(text).replace(",", ""))
    if found is None:
        raise InvalidQuantity("bytes", text, _BYTES_HINT)
    whole, fraction, prefix, binary = found[1], found[2] or "", found[3], found[4]
    factor = (1024 if binary else 1000) ** (_PREFIXES.index(prefix) + 1) if prefix else 1
    size: int = int(whole + fraction) * factor // 10 ** len(fraction)
    if size > _MOST_BYTES:
        raise InvalidQuantity("bytes", text, _BYTES_HINT)
    return size


def parse_gpu(text: str) -> int:
    """Devices. Raise InvalidQuantity unless `text` is a whole number."""
    if _GPU.fullmatch(_normal(text)) is None:
        raise InvalidQuantity("GPUs", text, _GPU_HINT)
    return int(_normal(text))


def share_or_amount(text: str, total: Amount, parse: Callable[[str], Amount]) -> Amount:
    """`80%` is that share of `total`, rounded down where it counts whole things; anything else is for `parse`.

    An amount may exceed `total`. Raise InvalidQuantity where `text` is neither.
    """
    if "%" not in text:
        return parse(text)
    found = _SHARE.fullmatch(_normal(text))
    if found is None or float(found[1]) > 100:
        raise InvalidQuantity("capacity", text, _SHARE_HINT)
    return type(total)(total * float(found[1]) / 100)


def format_bytes(size_bytes: int) -> str:
    """For people: `512 B`, `1.2 GiB`."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    size, steps = size_bytes / 1024, 0
    while round(size, 1) >= 1024 and steps < len(_PREFIXES) - 1:
        size, steps = size / 1024, steps + 1
    return f"{size:.1f} {_PREFIXES[steps].upper()}iB"


def format_cpu(cores: float) -> str:
    """For people, to a thousandth of a core: `0.5`, `2`."""
    return f"{cores:.3f}".rstrip("0").rstrip(".")


def _normal(text: str) -> str:
    return text.replace(" ", "").lower()
