"""Problems of networks: why an address could not be reached, in words that tell what to look at.

Each goes on from "HOST cannot be reached: ". None quotes the text of an error, in which a URL may stand.
"""

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator

UNKNOWN_HOST = "no such host: nobody knows this name"
NOT_LOOKED_UP = "its name cannot be looked up at present, because no name server answers"
REFUSED = "the connection is refused: nothing listens at this port, or a firewall turns it away"
TIMED_OUT = "nothing answers: the machine is off, or a firewall drops what is sent to it"
UNREACHABLE = "there is no way to it from this machine: its network is down or not routed"
FORBIDDEN = "this machine does not let connections out to it"
CLOSED = "the connection was closed at the other end"
NO_TLS = "what listens there speaks no TLS, or there is a proxy between"
SPEAKS_TLS = "what listens there speaks TLS, and this address begins with http://"
REFUSED_CERTIFICATE = "its certificate is refused"
OTHER_NAME = "its certificate is for another name"
NOT_TRUSTED = "its certificate is signed by nobody whom this machine trusts"
OUT_OF_DATE = "its certificate has expired, or this machine's clock is wrong"

WANTS_CERTIFICATE = "it lets nobody in without a certificate of its operator's authority, and was shown none"
OF_A_STRANGER = "it refuses the certificate that was shown to it, which is of an authority that it does not trust"
SHOWN_EXPIRED = "it refuses the certificate that was shown to it, which has expired by its clock or has not begun"
SHOWN_UNFIT = "it refuses the certificate that was shown to it, which is not one for clients"
SHOWN_REFUSED = (
    "it refuses the certificate that was shown to it: of an authority that it does not trust, out of date by its clock,"
    " or not one for clients"
)
_BY_ALERT = {
    "CERTIFICATE_REQUIRED": WANTS_CERTIFICATE,
    "UNKNOWN_CA": OF_A_STRANGER,
    "CERTIFICATE_EXPIRED": SHOWN_EXPIRED,
    "BAD_CERTIFICATE": SHOWN_UNFIT,
    "UNSUPPORTED_CERTIFICATE": SHOWN_UNFIT,
}
"""How the other end refuses what it was shown (RFC 8446, section 6.2), by what follows _ALERT_ in OpenSSL's reasons."""
OF_OWN_CERTIFICATE = frozenset({*_BY_ALERT.values(), SHOWN_REFUSED})

_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL})
_BY_NUMBER = {
    errno.ECONNREFUSED: REFUSED,
    errno.ETIMEDOUT: TIMED_OUT,
    errno.EACCES: FORBIDDEN,
    errno.EPERM: FORBIDDEN,
    errno.ECONNRESET: CLOSED,
    errno.EPIPE: CLOSED,
    errno.ECONNABORTED: CLOSED,
} | dict.fromkeys(_UNREACHABLE, UNREACHABLE)
_NUMBERS = re.compile(r"\[Errno (\d{1,4})\]")

# OpenSSL's X509_V_ERR_...: name and address; not valid yet, expired; self-signed, and no chain to an authority.
_OTHER_NAME, _OUT_OF_DATE, _NOT_TRUSTED = {62, 64}, {9, 10}, {18, 19, 20, 21}
_LONGEST_CHAIN = 8
_HANGING_UP = frozenset({"ServerDisconnectedError", "ConnectionClosedError"})
"""Of libraries that are not loaded for this; what they raise is no OSError."""


def why_unreachable(error: BaseException) -> str:
    """By the innermost error that says something; else the kind of `error` alone."""
    found = [told for each in _with_causes(error) if (told := _told(each))]
    return found[0] if found else type(error).__name__


def _told(error: BaseException) -> str:
    if hasattr(
        error, "os_error"
    ):  # one of aiohttp's, which are of several kinds at once, and wrap what has more to tell
        return ""
    if type(error).__name__ in _HANGING_UP:
        return CLOSED
    match error:
        case ssl.SSLCertVerificationError():
            return _of_certificate(error)
        case ssl.SSLError() if told := of_own_certificate(error):
            return told
        case ssl.SSLError():
            return NO_TLS if error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"} else f"TLS fails ({error.reason})"
        case socket.gaierror():
            return NOT_LOOKED_UP if error.errno == socket.EAI_AGAIN else UNKNOWN_HOST
        case TimeoutError():
            return TIMED_OUT
        case EOFError():
            return CLOSED
        case ConnectionRefusedError():
            return REFUSED
        case OSError():
            return _of_number(error)
        case _:
            return ""


def of_own_certificate(error: BaseException) -> str:
    """What the other end has against the certificate that it was shown, or was not; empty for any other error."""
    reason = error.reason if isinstance(error, ssl.SSLError) else ""
    return _BY_ALERT.get((reason or "").partition("_ALERT_")[2], "")


def is_out_of_date(error: ssl.SSLCertVerificationError) -> bool:
    """Whether its time has passed or not come, by this machine's clock."""
    return error.verify_code in _OUT_OF_DATE


def _of_certificate(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _OTHER_NAME:
        return OTHER_NAME
    if error.verify_code in _OUT_OF_DATE:
        return OUT_OF_DATE
    return NOT_TRUSTED if error.verify_code in _NOT_TRUSTED else f"{REFUSED_CERTIFICATE} ({error.verify_message})"


def _of_number(error: OSError) -> str:
    """Of several addresses of one name that failed in different ways, what a refusal tells is the most."""
    numbers = [error.errno] if error.errno else [int(each) for each in _NUMBERS.findall(str(error))]
    known = [_BY_NUMBER[each] for each in numbers if each in _BY_NUMBER]
    if known:
        return REFUSED if REFUSED in known else known[0]
    return os.strerror(numbers[0]) if numbers else ""


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it wraps, and what it came of. Libraries for HTTP keep the first cause in one of these places."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(seen) < _LONGEST_CHAIN:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or any(each is one for one in seen):
            continue
        seen.append(each)
        waiting += [getattr(each, name, None) for name in ("certificate_error", "os_error", "reason")]
        waiting += [each.__cause__, each.__context__]
    return reversed(seen)
