"""What else one would publish and fetch a folder with: tar, a compressor, and curl or rclone, in one line of shell.

Each rival has the settings with which it is fastest: rclone compares sizes and no digests, tar sets no owners.
"""

import os
import shutil
from pathlib import Path

import msgspec

PACKAGES = {"curl": "curl", "pigz": "pigz", "igzip": "isal", "rclone": "rclone", "tar": "tar", "bash": "bash"}
"""Where Debian has these programs."""

_CURL = 'curl -q -fsS -o /dev/null -T "$TEMPORARY" "$URL"'
_RCLONE = 'rclone -q --config "" rcat --s3-no-check-bucket --ignore-checksum --size-only "$OBJECT"'
_TAR = 'tar -C "$FOLDER" -cf - .'
_GET = 'curl -q -fsS "$URL"'
_UNTAR = 'tar -C "$FOLDER" --no-same-owner'


class Rival(msgspec.Struct, frozen=True, kw_only=True):
    """`shell` finds FOLDER and URL; to publish, also a TEMPORARY file that is not there yet, and rclone's OBJECT.

    To STREAM_URL goes a body whose size nobody knows, which only the sink that discards takes.
    """

    name: str
    shell: str
    programs: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        return ["bash", "-o", "pipefail", "-c", self.shell]

    @property
    def absent(self) -> list[str]:
        """Those of its programs that are not here."""
        return [program for program in ("bash", "tar", *self.programs) if shutil.which(program) is None]


PUBLISHERS = (
    Rival(
        name="gzip+curl",
        shell=f'tar -C "$FOLDER" -czf "$TEMPORARY" . && {_CURL}',
        programs=("curl",),
    ),
    Rival(
        name="pigz+curl",
        shell=f'{_TAR} | pigz -1 > "$TEMPORARY" && {_CURL}',
        programs=("pigz", "curl"),
    ),
    Rival(
        name="igzip+curl",
        shell=f'{_TAR} | igzip -1 > "$TEMPORARY" && {_CURL}',
        programs=("igzip", "curl"),
    ),
    Rival(
        name="gzip+stream",
        shell=f'{_TAR} | gzip -6 | curl -q -fsS -H "Expect:" -o /dev/null -T - "$STREAM_URL"',
        programs=("curl",),
    ),
    Rival(
        name="pigz+rclone",
        shell=f"{_TAR} | pigz -1 | {_RCLONE}",
        programs=("pigz", "rclone"),
    ),
    Rival(
        name="igzip+rclone",
        shell=f"{_TAR} | igzip -1 | {_RCLONE}",
        programs=("igzip", "rclone"),
    ),
)

FETCHERS = (
    Rival(
        name="curl+tar",
        shell=f"{_GET} | {_UNTAR} -xzf -",
        programs=("curl",),
    ),
    Rival(
        name="curl+igzip+tar",
        shell=f"{_GET} | igzip -dc | {_UNTAR} -xf -",
        programs=("curl", "igzip"),
    ),
)


def environment(folder: Path, home: Path) -> dict[str, str]:
    """All variables but those that name a source or a sink; nothing of the user's own settings."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C", "FOLDER": str(folder)}


def hints(rivals: tuple[Rival, ...]) -> list[str]:
    """Which of them cannot run here, and what would help."""
    return [
        f"{rival.name} is left out; on Debian: apt install {' '.join(PACKAGES[program] for program in rival.absent)}"
        for rival in rivals
        if rival.absent
    ]
