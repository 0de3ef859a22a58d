"""How tasks are run: one module per engine, all with the interface of `engine`."""

from compute.engines.docker import DockerEngine
from compute.engines.engine import Broken, Engine, Exited, OutlivingEngine, Run, RunEnd
from compute.engines.noop import NoopEngine
from compute.engines.process import ProcessEngine

__all__ = [
    "Broken",
    "DockerEngine",
    "Engine",
    "Exited",
    "NoopEngine",
    "OutlivingEngine",
    "ProcessEngine",
    "Run",
    "RunEnd",
]
