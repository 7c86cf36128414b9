"""Pages that stand alone: one HTML file with its style and its pictures inside, and no request to any host.

from datatrust.demo.report import drawn, render
picture = drawn(result["risk"].plot, title="What goes with disease", description="Odds ratios …", name="risk")
page = render("demo.html.j2", words, picture=picture)
"""

from __future__ import annotations

import functools
import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from datatrust.demo.words import Words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ACCENT", "INK", "MUTED", "Cell", "ReportTable", "drawn", "render"]

Cell: TypeAlias = str | None
"""A text; None where the figure is hidden."""

INK, ACCENT, MUTED = "#1b2127", "#1f5a7a", "#5b6672"
_INHERITED = {
    INK: "currentColor",
    ACCENT: "var(--accent)",
    MUTED: "var(--muted)",
    "#6a8fa5": "var(--accent)",
    "#8a8a8a": "var(--muted)",
    "#888888": "var(--muted)",
    "#ffffff": "var(--page)",
    "#cccccc": "var(--line)",
}
"""A picture's colours, and those of the page in its place, so that a picture follows the page into the dark."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "hatch.linewidth": 0.8,
}


@dataclass(frozen=True)
class ReportTable:
    """A table in words.

    Attributes:
        labels: how many cells at the left of each row are labels; the others are numbers.
        total: whether the last row adds up the others, or is what is left of them.
        texts: whether the other cells are words instead, which stand at the left and may take several lines.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    labels: int = 1
    total: bool = False
    texts: bool = False

    @property
    def spanned(self) -> list[tuple[tuple[Cell, ...], int]]:
        """Each row with the number of rows that its first label stands for, 0 where the row above says it."""
        firsts = [row[0] for row in self.rows]
        if self.labels == 1:
            return [(row, 1) for row in self.rows]
        return [
            (row, 0 if index and firsts[index - 1] == row[0] else firsts.count(row[0]))
            for index, row in enumerate(self.rows)
        ]


def render(template: str, words: Words, **context: Any) -> str:
    """The page; `words` is `t` in the template.  Texts are escaped."""
    return _templates().get_template(template).render(t=words, **context)


@functools.cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("datatrust.demo"),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def drawn(
    draw: Callable[[Axes], object],
    *,
    title: str,
    description: str,
    name: str,
    size: tuple[float, float] = (4.3, 2.8),
) -> Markup:
    """A picture as SVG to stand in a page: `draw` fills the Axes.

    Args:
        title: a sentence; with `description` what a screen reader says.
        name: makes the ids of this picture, which are the same on each run and differ from any other's.
        size: inches.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue(), title, description, name)


def _inline(svg: str, title: str, description: str, name: str) -> Markup:
    """Without prolog, namespaces, style sheet and fonts of its own; with a name for those who do not see it."""
    body = svg[svg.index("<svg") :]
    view = re.search(r'viewBox="[^"]*"', body)
    body = body[body.index(">") + 1 :]
    body = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL
    )
    body = re.sub(r"font: (?:normal )?([\d.]+px)[^;\"]*", r"font-size: \1", body).replace("xlink:href", "href")
    body = re.sub("|".join(_INHERITED), lambda colour: _INHERITED[colour[0]], body)
    # ids that matplotlib gives by counting, such as "figure_1", would be those of every picture
    body = re.sub(r'(<g id=")', rf"\1{name}-", body)
    head = f'<svg {view[0] if view else ""} role="img" aria-labelledby="{name}-title {name}-desc">'
    markup = (
        f'<title id="{name}-title">{html.escape(title)}</title><desc id="{name}-desc">{html.escape(description)}</desc>'
    )
    # the parts come from matplotlib and from escaped texts
    return Markup(head + markup + re.sub(r"\n\s*", "\n", body))  # noqa: S704
