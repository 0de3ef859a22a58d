"""Engines from outside: what a package provides so that a node has an engine that is none of Tarpon's own.

Its entry point, of the group `tarpon.engines`, has the name of the engine and leads to an `EnginePlugin`. This module,
compute/engines/engine.py and `EngineParams` of shared/jobs/engine_params.py are what such a package may count on for as
long as PROTOCOL is the same; what else it imports may be another in each release.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from compute.engines.engine import Engine

GROUP = "tarpon.engines"
PROTOCOL = 1


@dataclass(frozen=True, kw_only=True)
class EngineHost:
    """What a node gives such an engine when it opens it."""

    folder: Path
    """The engine's own, which only the node's user can enter; what is in it stays from one start to the next."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of `Engines.Plugins`, those that begin with the engine's name and a dot, without that; in small letters."""


@dataclass(frozen=True, kw_only=True)
class EnginePlugin:
    """`protocol` is the PROTOCOL that it was written for, as a number."""

    protocol: int
    open: Callable[[EngineHost], AbstractContextManager[Engine]]
    """Called once, in a thread: it has the engine while the node runs, and ends what is left of it when the node stops.
    Where it raises, the node does without, and shows the error's words to its operator."""
