"""The executed chapters as pages for any browser: `./run book`.

    chapters.execute(chapter, folder, parameters)   a chapter's executed notebook, made anew where anything changed
    pages.write(executed, folder)                   a page for each, and their table of contents

Pages hold all that they need: pictures, formulas, style. They run no script and ask no other machine for anything.
"""

from spinkit.book.chapters import execute, find
from spinkit.book.pages import write

__all__ = ["execute", "find", "write"]
