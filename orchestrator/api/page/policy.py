"""What a browser may do on behalf of the page: nothing but ask the orchestrator that sent it, and the bucket.

`Content-Security-Policy` is the browser's own guard against what a job's author or a node writes into a name, a log
or a result: scripts and styles come from this address alone, and texts never become markup (Trusted Types).
"""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit


def headers_of_page(buckets: Iterable[str]) -> Mapping[str, str]:
    """Of an answer that a browser shows. `buckets` are the URLs under which results are read."""
    origins = " ".join(sorted({origin for each in buckets if (origin := _origin(each))}))
    policy = (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        f"connect-src 'self' {origins}".rstrip(),
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
    }


def _origin(url: str) -> str:
    """Of an http(s) URL; empty for what names no host, and for what would end a directive."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host or any(char in host for char in " ;,'\""):
        return ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
