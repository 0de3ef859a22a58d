"""Environment variables that tell where the orchestrator is: Tarpon's own, and those of Bacalhau."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tarpon.http.addresses import FOREIGN

if TYPE_CHECKING:
    from shared.settings.loading import LoadedConfig


def load_settings(sets: Sequence[str], env: Mapping[str, str], *, check_publisher: bool) -> "LoadedConfig":
    """As shared.settings.loading.load, with the FOREIGN names taken for ours where ours are not set."""
    from msgspec.structs import replace

    from shared.errors import ConfigurationInvalid
    from shared.settings.loading import load

    taken = {ours: foreign for foreign, ours in FOREIGN.items() if env.get(foreign) and not env.get(ours)}
    completed = {**env, **{ours: env[foreign] for ours, foreign in taken.items()}}

    def as_given(text: str) -> str:
        for ours, foreign in taken.items():
            text = text.replace(ours, foreign)
        return text

    try:
        loaded = load(sets=sets, env=completed, check_publisher=check_publisher)
    except ConfigurationInvalid as error:
        if not taken:
            raise
        raise ConfigurationInvalid(map(as_given, error.problems), hint=error.hint) from error
    return replace(loaded, origins={key: as_given(origin) for key, origin in loaded.origins.items()})
