"""HTML that a notebook shows: tables and folded lines, styled by the book's own sheet."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Html", "table"]


class Html:
    """A piece of HTML that a notebook shows as such."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_html_(self) -> str:
        return self.text

    def __add__(self, other: Html) -> Html:
        return Html(self.text + other.text)


def table(head: Sequence[str], lines: Sequence[Sequence[str]], caption: str) -> Html:
    """A plain HTML table in the book's style; cells are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in lines)
    text = f"<caption>{caption}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return Html(f'<div class="table-box"><table class="book-table">{text}</table></div>')
