"""The book: `tools/book.py` gathers its sources in build/book-source and calls Sphinx with this file."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from manifest import repository

from semsearch_nb import __version__

project = "Semantic search in notebooks"
author = copyright = "The semsearch-nb contributors"
version = release = __version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# Notebooks: what they hold is what they printed when they were committed; cells tagged remove-cell are left out.
nb_execution_mode = "off"
nb_merge_streams = True
myst_heading_anchors = 4  # as on GitHub, so that a link works in both places
suppress_warnings = ["ref.python"]  # a room offers a name of another room, so that two places explain it

# Interfaces: docstrings use `one` backtick for code, which becomes a link where it names something.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
add_module_names = False

html_theme = "sphinx_book_theme"
html_title = project
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_css_files = ["book.css"]
html_js_files = [("book.js", {"defer": "defer"})]
html_use_index = html_domain_indices = False  # the search finds every name
html_copy_source = False  # GitHub has the sources
html_show_sourcelink = False
html_theme_options = {
    "repository_url": repository(),
    "repository_branch": "main",
    "use_repository_button": True,
    "use_download_button": False,
    "launch_buttons": {
        "colab_url": "https://colab.research.google.com",
        "binderhub_url": "https://mybinder.org",
        "notebook_interface": "jupyterlab",
    },
    "navbar_persistent": [],  # the search stands in the sidebar
    "show_toc_level": 2,
    "navigation_with_keys": False,  # the arrows scroll
}

# python tools/book.py links
linkcheck_timeout = 20
linkcheck_retries = 3
linkcheck_workers = 4
linkcheck_allow_unauthorized = True  # a page behind a login is there
linkcheck_anchors_ignore_for_url = [r"https://github\.com/.*"]  # anchors that a script makes
linkcheck_ignore = [r"https://mybinder\.org/.*"]  # each request would start a machine


def as_rst(app, what, name, obj, options, lines):
    """Our docstrings are plain text: an indented block is shown as it stands, and |x| is an absolute value."""
    blocks = "\n".join(lines).split("\n\n")
    for number, block in enumerate(blocks):
        if block.startswith("Alias for field number"):  # Python's own words about a named tuple
            blocks[number] = ""
        elif re.match(r"    (?!>>> |[*-] )", block):
            blocks[number] = f"::\n\n{block}"
        else:
            blocks[number] = block.replace("|", r"\|")
    lines[:] = "\n\n".join(blocks).split("\n")


def setup(app):
    app.connect("autodoc-process-docstring", as_rst, priority=100)  # before napoleon reads it
