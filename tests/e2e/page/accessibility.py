"""What axe-core says of what a page shows just now (no tests in here)."""

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
RULES: dict[str, dict[str, list[str]]] = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
"""A theme changes colours and nothing else."""
GRAVE = {"serious", "critical"}


def assert_usable_by_all(page: Page) -> None:
    """In the light and in the dark theme nothing that axe-core finds is serious."""
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        found = Axe().run(page, options={"resultTypes": ["violations"], **RULES[theme]})
        grave = [each["id"] for each in found.response["violations"] if each["impact"] in GRAVE]
        assert not grave, f"{theme}: {found.generate_report()}"
