"""The settings of the audit log: where it is, how much of it is kept, and what happens when it cannot be written."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from shared.settings.tls.declared import FilePath


class AuditSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    output: Annotated[
        Literal["file", "stdout"], Meta(description="Where the audit log goes: to File, or to standard output.")
    ] = "file"
    file: Annotated[FilePath, Meta(description="The file of the audit log; in DataDir if empty.")] = FilePath()
    max_size: Annotated[
        str, Meta(description="How large that file becomes before another one is begun, such as 100MB.")
    ] = "100MB"
    keep: Annotated[
        int, Meta(ge=0, description="How many of the files before it are kept, the oldest ones go; 0 keeps all.")
    ] = 20
    sync_interval: Annotated[
        str,
        Meta(
            description="How often it is written through to disk: `always`, before each answer, or a duration such as"
            " 1s, whose lines a power cut may take."
        ),
    ] = "1s"
    on_failure: Annotated[
        Literal["refuse", "continue"],
        Meta(
            description="What happens while it cannot be written: `refuse` changes nothing and signs no URL, `continue`"
            " goes on without it."
        ),
    ] = "refuse"
