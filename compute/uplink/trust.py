"""Trust of a node: by whose certificates it knows its orchestrators, and whether it may do without."""

import ssl
from collections.abc import Sequence

from shared.runtime.tls.trust import authorities_from_text, authorities_in, trusting, trusting_system
from shared.settings.tls.declared import ComputeTls


def trust_of(settings: ComputeTls, told: Sequence[bytes] = ()) -> ssl.SSLContext | None:
    """None where nobody asked for TLS but for addresses with tls://, which are trusted as this machine does.

    `told` are the certificates, as DER, of an authority that the node was given with what it joins by; a setting goes
    before them. Raises AuthorityUnreadable. Blocks.
    """
    if settings.ca_cert:
        return trusting(authorities_in(settings.ca_cert))
    if settings.authority:
        return trusting(authorities_from_text(settings.authority))
    if told:
        return trusting(told)
    return trusting_system() if settings.require_tls else None
