"""The documentation: `make docs`. Nothing is fetched, neither to build it nor to read it."""

import sys
from pathlib import Path

import spectrum_ft

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "spectrum-ft"
author = "the authors of spectrum-ft"
release = version = spectrum_ft.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "generated_pages",
    "mathml",
    "plain_docstrings",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

# Types of other projects have no page here, and none is asked for over a network.
nitpick_ignore_regex = [("py:.*", r"(?!spectrum_ft).*")]

highlight_language = "none"
smartquotes = False  # they make one dash of the two before an option
html_theme = "furo"
html_title = f"spectrum-ft {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
# A summary is fetched from the page that was found, which a browser refuses for a file on disk.
html_show_search_summary = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0759a8",
        "color-brand-content": "#0759a8",
        "color-brand-visited": "#0759a8",
    },
    "dark_css_variables": {
        "color-brand-primary": "#58a6ff",
        "color-brand-content": "#58a6ff",
        "color-brand-visited": "#58a6ff",
    },
}
