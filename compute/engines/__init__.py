"""How tasks are run: one module per engine, all with the interface of `engine`."""

from compute.engines.engine import Broken, Engine, Exited, Run, RunEnd
from compute.engines.noop import NoopEngine
from compute.engines.process import ProcessEngine

__all__ = ["Broken", "Engine", "Exited", "NoopEngine", "ProcessEngine", "Run", "RunEnd"]
