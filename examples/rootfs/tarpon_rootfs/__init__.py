"""The engine `rootfs`: tasks in a root file system from a tar, as on machines where nobody may have a container engine.

`docker export $(docker create debian:12) > debian.tar` makes such a tar, and so does `mmdebstrap`. A job names one that
is among its inputs, or one that the node's operator keeps in a folder (`Engines.Plugins=rootfs.images=/srv/images`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compute.engines.plugin import EngineHost, EnginePlugin
from tarpon_rootfs.engine import RootfsEngine
from tarpon_rootfs.images import Images

MOST_IMAGES = 8
MOST_BYTES = 10 << 30
MOST_PROCESSES = 1024


@contextmanager
def open_engine(host: EngineHost) -> Iterator[RootfsEngine]:
    """Raises OSError, ValueError, RuntimeError: the node shows their words to its operator."""
    known = {"images", "most_images", "most_bytes", "most_processes"}
    if unknown := sorted(host.settings.keys() - known):
        raise ValueError(f"the setting rootfs.{unknown[0]} is not known; there are {', '.join(sorted(known))}")
    settings = host.settings
    images = Images(
        host.folder,
        Path(settings["images"]) if "images" in settings else None,
        most_images=int(settings.get("most_images", MOST_IMAGES)),
        most_bytes=int(settings.get("most_bytes", MOST_BYTES)),
    )
    engine = RootfsEngine(images, most_processes=int(settings.get("most_processes", MOST_PROCESSES)))
    try:
        yield engine
    finally:
        engine.close()


PLUGIN = EnginePlugin(protocol=1, open=open_engine)
