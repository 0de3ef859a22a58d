"""The site: the Markdown files of the checkout, as code hosts show them, built by `make docs`."""

project = "Tarpon"
author = "the Tarpon authors"

# The source is the whole checkout, so that links between the README, these pages and the code are the same everywhere.
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "benchmarks/README.md",
    "deploy/README.md",
    "docs/*.md",
    "findings/README.md",
]
exclude_patterns = [".*", "build", "dist", "tests"]  # not looked through

extensions = ["myst_parser"]
myst_heading_anchors = 4
highlight_language = "text"

html_theme = "furo"
html_title = "Tarpon"
html_show_copyright = False
html_copy_source = False
html_additional_pages = {"index": "start.html"}
templates_path = ["templates"]
