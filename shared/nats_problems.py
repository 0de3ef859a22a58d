"""Why a process cannot use a NATS server, in words that say what to change."""

import ssl

from shared.nats_client import NotEncrypted


def why_not(error: Exception) -> str:
    """Goes on from "NATS at <address> is ..."."""
    if isinstance(error, NotEncrypted):
        return (
            "not used: it does not encrypt, though its address begins with tls://, so no secret was sent to it"
            " (give the server a `tls` block, or write nats:// where the network is yours alone)"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"not trusted: {error.verify_message.rstrip('.')} (name the file with the certificate of its authority in"
            " SSL_CERT_FILE, and the server by a name that is in its certificate)"
        )
    if "authorization violation" in str(error).lower():
        return "refused: wrong secret, or no orchestrator ready"
    return f"not reachable ({type(error).__name__})"
