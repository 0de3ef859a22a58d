"""The base of all messages between the orchestrator and its nodes."""

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Whatever travels over NATS between our own processes."""
