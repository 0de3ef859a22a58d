"""Which version this is."""

from importlib.metadata import PackageNotFoundError, version


def version_text() -> str:
    """Of the installed distribution, such as `0.1.0`; `0.0.0` when running from sources that were never installed."""
    try:
        return version("tarpon-jobs")
    except PackageNotFoundError:
        return "0.0.0"
