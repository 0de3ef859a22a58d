"""Sources of settings: files, the environment and `-c`, which of them wins, and what is wrong with them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from shared.data.decoding import close_match, load_yaml
from shared.errors import ConfigurationInvalid, InvalidDocument
from shared.settings.checks import setting_problems
from shared.settings.config import Config
from shared.settings.keys import (
    ENVIRONMENT_PREFIX,
    asks_for_protection,
    environment_name,
    fields_of,
    plain_type,
    settings,
    unsupported,
    unsupported_keys,
)
from shared.settings.publisher import validate_publisher
from shared.settings.values import expanded, setting_value

DEFAULT_FILE = "config.yaml"
COMMAND_LINE = "-c"

# What Tarpon itself puts into the environment of tasks and gives to integrations; a tarpon command may run there.
OWN_VARIABLES = (
    "TARPON_API_KEY",
    "TARPON_API_USERNAME",
    "TARPON_API_PASSWORD",
    "TARPON_API_TLS_PLAINTEXT",
    "TARPON_API_SUBJECT",
    "TARPON_AUTHORITY",
    "TARPON_EXECUTION_ID",
    "TARPON_JOB_",
    "TARPON_PARTITION_",
    "TARPON_NODE_ID",
    "TARPON_HOST_PORT_",
    "TARPON_PORT_",
)


class LoadedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, where each came from (`default`, `environment NAME`, `file PATH` or `-c`), and warnings."""

    config: Config
    origins: dict[str, str]
    warnings: tuple[str, ...] = ()


def load(
    *, sets: Sequence[str] = (), env: Mapping[str, str], default_file: bool = True, check_publisher: bool = True
) -> LoadedConfig:
    """Raise ConfigurationInvalid with every problem in the one message.

    `sets` are the values of `-c`: a file if it ends in .yaml or .yml, otherwise `key=value`, where a bare key of a
    yes/no setting means true. What wins: `-c key=value`, the environment, files (the later), defaults.
    `<DataDir>/config.yaml` is read if `default_file` and no file was named. `check_publisher=False` is for commands
    that must work while the managed publisher is only half configured.
    """
    loading = _Loading(home=_home(env))
    pairs = [text for text in sets if not loading.is_file(text)]
    files = [Path(expanded(text, loading.home)) for text in sets if loading.is_file(text)]
    if files:
        for file in files:
            loading.read(file, required=True)
    elif default_file:
        loading.read(_data_dir(pairs, env, loading.home) / DEFAULT_FILE, required=False)
    loading.take_environment(env)
    loading.take_pairs(pairs)
    return loading.finish(check_publisher=check_publisher)


class _Loading:
    """What has been given so far, least important first."""

    def __init__(self, *, home: Path) -> None:
        self.home = home
        self._settings = {setting.key.lower(): setting for setting in settings()}
        self._sections = set(_parents([*self._settings, *(key.lower() for key in unsupported_keys())]))
        self._values: dict[str, Any] = {}
        self._origins = {setting.key: "default" for setting in self._settings.values()}
        self._failed: set[str] = set()
        self._problems: list[str] = []
        self._warnings: list[str] = []

    def is_file(self, text: str) -> bool:
        """Whether a value of `-c` names a file; a setting's value may end like a file's name too."""
        key, equals, _ = text.partition("=")
        return text.endswith((".yaml", ".yml")) and not (equals and self._is_known(key.strip()))

    def read(self, path: Path, *, required: bool) -> None:
        try:
            document = load_yaml(path.read_text(encoding="utf-8"), what=f"the file {path}")
        except (FileNotFoundError, NotADirectoryError):
            if required:
                self._problems.append(f"the file {path} does not exist")
        except OSError as error:
            self._problems.append(f"the file {path} cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self._problems.append(f"the file {path} cannot be read: it is not UTF-8 text")
        except InvalidDocument as error:
            self._problems.append(error.message)
        else:
            self._take_document(document, f"file {path}")

    def take_environment(self, env: Mapping[str, str]) -> None:
        """Empty variables count as not set, because that is how compose files and units pass on what nobody set."""
        foreign = {environment_name(key): key for key in unsupported_keys()}
        names = foreign | {environment_name(setting.key): setting.key for setting in self._settings.values()}
        if env.get("TARPON_DIR"):
            self._take("DataDir", env["TARPON_DIR"], "environment TARPON_DIR")
        for name in sorted(env):
            if not name.startswith(ENVIRONMENT_PREFIX) or not env[name] or name == "TARPON_DIR":
                continue
            key = names.get(name) or next((foreign[known] for known in foreign if name.startswith(f"{known}_")), None)
            if key is not None:
                self._take(key, env[name], f"environment {name}")
            elif not name.startswith(OWN_VARIABLES):
                self._warnings.append(_advised(f"the environment variable {name} belongs to no setting", name, names))

    def take_pairs(self, pairs: Sequence[str]) -> None:
        for pair in pairs:
            key, equals, value = pair.partition("=")
            setting = self._settings.get(key.strip().lower())
            if equals or setting is None:
                self._take(key.strip(), value, COMMAND_LINE)
            elif plain_type(setting.type) is bool:
                self._take(key.strip(), "true", COMMAND_LINE)
            else:
                self._fail(setting.key, f"{setting.key} has no value; write -c {setting.key}=VALUE")
            if equals and setting is not None and setting.is_secret:
                self._warnings.append(
                    f"{setting.key} was given on the command line, where other users of this machine can read it in the"
                    f" list of processes; use the environment ({environment_name(setting.key)}) or {setting.key}File"
                )

    def finish(self, *, check_publisher: bool) -> LoadedConfig:
        values = {setting.key: setting.default for setting in self._settings.values()} | self._values
        values["DataDir"] = Path(expanded(str(values["DataDir"]), self.home))
        config = _build(Config, values, "")
        found = [*setting_problems(config), *(validate_publisher(config) if check_publisher else ())]
        failed = tuple(self._failed)
        self._problems += [problem for problem in found if not (failed and problem.startswith(failed))]
        if self._problems:
            raise ConfigurationInvalid(
                dict.fromkeys(self._problems), hint="`tarpon config list` shows every setting and where it comes from."
            )
        return LoadedConfig(config=config, origins=self._origins, warnings=tuple(self._warnings))

    def _take_document(self, document: Mapping[str, Any], origin: str) -> None:
        seen: set[str] = set()
        for key, value in self._flat(document, ""):
            if key.lower() in seen:
                self._problems.append(f"{key} is given twice, as keys that differ in case ({origin})")
            seen.add(key.lower())
            self._take(key, value, origin)

    def _flat(self, document: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        """Each setting with its whole key; a key without a value counts as left out."""
        for name, value in document.items():
            key = f"{prefix}{name}"
            if isinstance(value, dict) and key.lower() in self._sections:
                yield from self._flat(value, f"{key}.")
            elif value is not None:
                yield key, value

    def _take(self, written: str, value: Any, origin: str) -> None:
        setting = self._settings.get(written.lower())
        if setting is None:
            self._take_unknown(written, value, origin)
            return
        try:
            self._values[setting.key] = setting_value(setting.key, value, setting.type, home=self.home)
            self._origins[setting.key] = origin
        except ConfigurationInvalid as error:
            for problem in error.problems:
                self._fail(setting.key, f"{problem} ({origin})")

    def _take_unknown(self, written: str, value: Any, origin: str) -> None:
        known_elsewhere = unsupported(written)
        if known_elsewhere is None:
            self._problems.append(self._unknown(written, origin))
        elif asks_for_protection(known_elsewhere, value):
            self._problems.append(
                f"{known_elsewhere} is not supported, and starting without it would leave you less protected than you"
                f" asked ({origin})"
            )
        else:
            self._warnings.append(f"{known_elsewhere} is not supported by Tarpon and has no effect ({origin})")

    def _unknown(self, written: str, origin: str) -> str:
        if written.lower() in self._sections:
            return f"{written} is a group of settings, not a setting ({origin})"
        keys = [setting.key for setting in self._settings.values()]
        ending = next((key for key in keys if key.lower().endswith(f".{written.lower()}")), None)
        advice = f"; did you mean {ending}?" if ending else ""
        problem = f"{written[:80]} is not a setting ({origin})"
        return problem + advice if ending else _advised(problem, written, keys)

    def _is_known(self, key: str) -> bool:
        return key.lower() in self._settings or unsupported(key) is not None

    def _fail(self, key: str, problem: str) -> None:
        self._failed.add(key)
        self._problems.append(problem)


def _home(env: Mapping[str, str]) -> Path:
    """Where `~` is; where nobody knows, as for a container's nameless user, `~` stays and is no absolute path."""
    try:
        return Path(env["HOME"]) if env.get("HOME") else Path.home()
    except RuntimeError:
        return Path("~")


def _data_dir(pairs: Sequence[str], env: Mapping[str, str], home: Path) -> Path:
    """DataDir as it is known before any file is read; its problems are found later."""
    given = [env.get("TARPON_DIR"), env.get("TARPON_DATADIR")]
    given += [value for key, _, value in (pair.partition("=") for pair in pairs) if key.strip().lower() == "datadir"]
    chosen = [text for text in given if text] or [str(Config().data_dir)]
    return Path(expanded(chosen[-1], home))


def _build(section: Any, values: Mapping[str, Any], prefix: str) -> Any:
    parts = {}
    for part in fields_of(section):
        key = prefix + part.encode_name
        parts[part.name] = values[key] if key in values else _build(part.type, values, f"{key}.")
    return section(**parts)


def _parents(keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        parts = key.split(".")
        yield from (".".join(parts[:length]) for length in range(1, len(parts)))


def _advised(problem: str, word: str, names: Sequence[str] | Mapping[str, str]) -> str:
    suggestion = close_match(word, names)
    return f"{problem}; did you mean {suggestion}?" if suggestion else problem
