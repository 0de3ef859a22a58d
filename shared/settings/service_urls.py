"""URLs of S3 services in settings: what one may look like."""

from urllib.parse import urlsplit


def is_service_url(url: str) -> bool:
    """The URL is never shown when it is wrong, because its user part may be a secret."""
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and "@" not in parts.netloc
            and parts.path in {"", "/"}
            and not (set(url) & set("?#"))
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        return False
