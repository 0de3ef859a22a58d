"""Calls as what is sent to those who run them: packed one by one, and a batch of them as a folder."""

import hashlib
import io
import json
import pickle
import sys
import sysconfig
import threading
import uuid
import weakref
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cloudpickle

LEAST_SHARED_BYTES = 64 << 10
"""From this size on bytes, texts, and buffers of arrays and tables are sent once, however many calls have them."""
_INSTALLED = tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_registering = threading.Lock()
"""Whom cloudpickle packs by value is known to the whole process."""

PYTHON = sys.version_info[:2]
PROGRAM = "run_calls.py"


class Shared:
    """What is large in arguments, once for all that have the same content."""

    __slots__ = ("__weakref__", "content", "digest")

    def __init__(self, digest: str, content: bytes) -> None:
        self.digest = digest
        self.content = content


class PackedCall(NamedTuple):
    """A function and its arguments, by cloudpickle; `buffers` are the digests of those that it has, in their order.

    `new_bytes` is what it takes here beside calls that were packed before.
    """

    content: bytes
    buffers: tuple[str, ...] = ()
    shared: tuple[Shared, ...] = ()
    new_bytes: int = 0


class Packer:
    """Packs calls in any thread. What is large is kept once, and as long as one of its calls is."""

    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[str, Shared] = weakref.WeakValueDictionary()

    def packed(self, function: Callable[..., Any], arguments: Sequence[Any], named: dict[str, Any]) -> PackedCall:
        """What is of a module that was not installed travels with it, as no node has that; others are named alone.

        Raises what cannot be packed raises, such as TypeError for a lock.
        """
        own, file = _own_package(function), io.BytesIO()
        with _registering:
            is_new = own is not None and own.__name__ not in cloudpickle.list_registry_pickle_by_value()
            if is_new:
                cloudpickle.register_pickle_by_value(own)
            try:
                pickler = _SharingPickler(file, self._known)
                pickler.dump((function, tuple(arguments), named))
            finally:
                if is_new:
                    cloudpickle.unregister_pickle_by_value(own)
        content = file.getvalue()
        return PackedCall(
            content, tuple(pickler.buffers), tuple(pickler.shared.values()), len(content) + pickler.new_bytes
        )


class _SharingPickler(cloudpickle.Pickler):  # type: ignore[misc]  # it publishes no types
    """Leaves out what is large; the other side finds it by its digest."""

    def __init__(self, file: io.BytesIO, known: "weakref.WeakValueDictionary[str, Shared]") -> None:
        super().__init__(file, protocol=5, buffer_callback=self._is_kept)
        self._known = known
        self.buffers: list[str] = []
        self.shared: dict[str, Shared] = {}
        self.new_bytes = 0

    def persistent_id(self, obj: Any) -> Any:
        kind = type(obj)
        if kind not in {bytes, str} or len(obj) < LEAST_SHARED_BYTES:
            return None
        return kind.__name__, self._share(obj if kind is bytes else obj.encode("utf-8", "surrogatepass"))

    def _is_kept(self, buffer: pickle.PickleBuffer) -> bool:
        """Within the pickle, because it is small."""
        with buffer.raw() as view:
            if view.nbytes < LEAST_SHARED_BYTES:
                return True
            self.buffers.append(self._share(view))
        return False

    def _share(self, content: bytes | memoryview) -> str:
        digest = hashlib.sha256(content).hexdigest()
        found = self._known.get(digest)
        if found is None:
            self._known[digest] = found = Shared(digest, bytes(content))
            self.new_bytes += len(found.content)
        self.shared[digest] = found
        return digest


def _own_package(function: Callable[..., Any]) -> ModuleType | None:
    """The outermost package of the function, or its module, where that is nowhere that programs are installed."""
    name = getattr(function, "__module__", None) or ""
    module = sys.modules.get(name.partition(".")[0]) or sys.modules.get(name)
    places = [getattr(sys.modules.get(name), "__file__", None) or "", *getattr(module, "__path__", ())]
    place = next((each for each in places if each), "")
    if module is None or not place or any(Path(place).is_relative_to(each) for each in _INSTALLED):
        return None
    return module


def write_batch(folder: Path, calls: Sequence[PackedCall], *, pickles: bool) -> None:
    """Program, calls and cloudpickle itself, so that a node needs Python alone. Blocks.

    No other batch has the same digest, so that it can be deleted when its job has ended.
    """
    for each in files("tarpon.executor.remote").iterdir():
        if each.name in {PROGRAM, "values.py"}:
            (folder / each.name).write_bytes(each.read_bytes())
    library = folder / "cloudpickle"
    library.mkdir()
    for each in Path(str(cloudpickle.__file__)).parent.glob("*.py"):
        (library / each.name).write_bytes(each.read_bytes())
    listed = [(len(call.content), call.buffers) for call in calls]
    told = {"batch": uuid.uuid4().hex, "python": list(PYTHON), "calls": listed, "pickles": pickles}
    (folder / "calls.json").write_text(json.dumps(told), encoding="utf-8")
    with (folder / "calls.bin").open("wb") as file:
        file.writelines(call.content for call in calls)
    (folder / "shared").mkdir()
    for digest, shared in {each.digest: each for call in calls for each in call.shared}.items():
        (folder / "shared" / digest).write_bytes(shared.content)
