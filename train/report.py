"""One self-contained HTML page from headings, sentences, tables and pictures."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; } figcaption { color: #555; font-size: .9rem; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; } tr.best { font-weight: 600; }
pre { background: #f4f4f4; padding: .7rem; overflow-x: auto; font-size: .85rem; }
"""


class Page:
    """An HTML page built from top to bottom; pictures are embedded, so that the file can be mailed."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._body: list[str] = [f"<h1>{html.escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        self._body.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        self._body.append(f"<p>{html.escape(text)}</p>")

    def commands(self, lines: Sequence[str]) -> None:
        self._body.append(f"<pre>{html.escape(chr(10).join(lines))}</pre>")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]], best: int | None = None) -> None:
        """Rows of cells as text; row `best` is set in bold."""
        cells = "".join(f"<th>{html.escape(str(name))}</th>" for name in header)
        lines = [f"<tr>{cells}</tr>"]
        for i, row in enumerate(rows):
            cells = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row)
            lines.append(f'<tr class="best">{cells}</tr>' if i == best else f"<tr>{cells}</tr>")
        self._body.append(f"<table>{''.join(lines)}</table>")

    def figure(self, figure: Any, caption: str) -> None:
        """A matplotlib Figure."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        self._picture(buffer.getvalue(), caption)

    def picture(self, path: str | Path, caption: str) -> None:
        """A PNG file."""
        self._picture(Path(path).read_bytes(), caption)

    def photograph(self, jpeg: bytes, caption: str) -> None:
        """A picture as a JPEG file's bytes: a tenth of a PNG of the same micrograph."""
        self._picture(jpeg, caption, "jpeg")

    def write(self, path: str | Path) -> None:
        """Write the page; a reader never meets half of it."""
        head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(self._title)}</title>'
        text = f"{head}<style>{STYLE}</style></head><body>{''.join(self._body)}</body></html>"
        temporary = Path(f"{path}.partial")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)

    def _picture(self, content: bytes, caption: str, kind: str = "png") -> None:
        source = base64.b64encode(content).decode("ascii")
        alternative = html.escape(caption, quote=True)
        self._body.append(
            f'<figure><img src="data:image/{kind};base64,{source}" alt="{alternative}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )
