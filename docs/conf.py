"""The documentation's build: `make docs`."""

from importlib.metadata import version as _version

project = "datatrust"
author = "the datatrust contributors"
project_copyright = author
release = _version("datatrust-federation")
version = release

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "datatrust"
html_show_sphinx = False
