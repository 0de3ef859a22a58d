"""The configuration file: a setting is checked before it comes in, all else as it was, whole or not at all."""

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.data.decoding import load_yaml
from shared.errors import ConfigurationInvalid, Conflict
from shared.settings.keys import settings
from shared.settings.loading import load
from tarpon.cli.settings.yaml_editing import Plain, with_value

PRIVATE = 0o600


def write_setting(path: Path, key: str, value: Plain, env: Mapping[str, str]) -> tuple[str, ...]:
    """Set `key`, spelled as it is declared, in the file, which is made if it does not exist.

    Gives the problems that the file has had before and still has. Raises ConfigurationInvalid with those that the
    change would bring, Conflict where the file cannot be written, and what with_value raises; the file is as it was
    then. A file with a secret in it can be read by its owner only; otherwise it keeps its mode.
    """
    path = path.resolve()  # a link stays one
    before = _read(path)
    after = with_value(before or "", key.split("."), value, what=f"The file {path}")
    known = set() if before is None else set(_problems(path, path, env))
    try:
        with _staged(path, after) as staged:
            found = _problems(staged, path, env)
            if new := [problem for problem in found if problem not in known]:
                raise ConfigurationInvalid(new, hint="Nothing was changed.")
            staged.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _cannot_write(path, error) from error
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid([f"the file {path} is not UTF-8 text"]) from error


@contextlib.contextmanager
def _staged(path: Path, text: str) -> Iterator[Path]:
    """A file beside the one that it is to replace, with the same owner and mode."""
    staged = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    private = _holds_secret(load_yaml(text, what=f"The file {path}"))
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE if private else 0o666)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                mode = stat.S_IMODE(status.st_mode)
                os.fchmod(file.fileno(), mode & PRIVATE if private else mode)
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield staged
    finally:
        staged.unlink(missing_ok=True)


def _problems(file: Path, called: Path, env: Mapping[str, str]) -> tuple[str, ...]:
    """What is wrong with the settings of the file alone; only the home directory counts of the environment."""
    home = {"HOME": env["HOME"]} if "HOME" in env else {}
    try:
        load(sets=[str(file)], env=home, check_publisher=False)
    except ConfigurationInvalid as error:
        return tuple(problem.replace(str(file), str(called)) for problem in error.problems)
    return ()


def _holds_secret(document: Mapping[str, Any]) -> bool:
    return any(_is_set(document, setting.key.lower().split(".")) for setting in settings() if setting.is_secret)


def _is_set(document: Mapping[str, Any], path: list[str]) -> bool:
    for name, value in document.items():
        if name.lower() == path[0]:
            return _is_set(value, path[1:]) if path[1:] and isinstance(value, Mapping) else bool(value)
    return False


def _cannot_write(path: Path, error: OSError) -> Conflict:
    return Conflict(f"{path} cannot be written: {error.strerror or error}.", hint="Nothing was changed.")
