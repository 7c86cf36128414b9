"""The demo's three pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from datatrust.demo.hospitals import EDGES
from datatrust.demo.report import ACCENT, INK, MUTED, drawn
from datatrust.demo.sentences import ages_title
from datatrust.demo.story import COEFFICIENTS, Story
from datatrust.demo.words import Words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

__all__ = ["Picture", "ages", "risk", "seed_picture"]


@dataclass(frozen=True)
class Picture:
    """A title that is a sentence, and the picture."""

    title: str
    svg: Markup


def seed_picture(story: Story, words: Words) -> Picture:
    """For each case the correlation from averages and the federated one, on one line."""

    def draw(ax: Axes) -> None:
        for index, case in enumerate(story.cases):
            y = len(story.cases) - 1 - index
            low = 0.0 if case.local is None else case.local
            ax.plot(
                [low, case.federated], [y, y], color=MUTED, linewidth=1.2, linestyle=":" if case.local is None else "-"
            )
            ax.plot([case.federated], [y], "o", color=ACCENT, markersize=8)
            label = words.number(case.federated, 4)
            ax.annotate(label, (case.federated, y), (8, 0), textcoords="offset points", va="center", color=ACCENT)
            if case.local is None:
                ax.annotate(words("undefined"), (0, y), (0, 6), textcoords="offset points", color=MUTED)
                continue
            ax.plot([low], [y], "o", color=MUTED, markersize=8, markerfacecolor="none")
            ax.annotate(words.number(low, 4), (low, y), (0, 8), textcoords="offset points", ha="center", color=INK)
        ax.set_yticks(range(len(story.cases)), [words("case_n", n=n) for n in range(len(story.cases), 0, -1)])
        ax.set_ylim(-0.5, len(story.cases) - 0.2)
        ax.set_xlim(-0.03, 1.22)
        ax.set_xticks([0, 0.5, 1], [words.number(x, 1) for x in (0, 0.5, 1)])
        ax.set_xlabel(f"{words('correlation')}  (○ {words('local')}   ● {words('federated')})")
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)

    values_shown = ", ".join(words("undefined") if c.local is None else words.number(c.local, 4) for c in story.cases)
    title = words("seed_picture")
    description = words("seed_picture_alt", locals=values_shown)
    return Picture(title, drawn(draw, title=title, description=description, name="seed", size=(4.3, 2.2)))


def ages(story: Story, words: Words) -> Picture:
    """The histogram; hidden bins are hatched."""

    def draw(ax: Axes) -> None:
        story.ages.plot(ax=ax)
        for text in list(ax.texts):  # where a bin is hidden: in the page's language, above the hatched bar
            x, _ = text.get_position()
            text.remove()
            top = max(bar.get_height() for bar in hatched(ax))
            ax.annotate(words("hidden"), (x, top), (0, 4), textcoords="offset points", ha="center", rotation=90)
        ax.set_xticks(EDGES[::2])
        ax.set_xlabel(words("ages_unit"))
        ax.set_ylabel(words("patients"))

    def hatched(ax: Axes) -> list[Rectangle]:
        return [bar for bars in ax.containers for bar in bars if bar.get_hatch()]

    title = ages_title(story, words)
    bins = zip(EDGES, EDGES[1:], story.bins, strict=False)
    lines = [
        words("ages_bin", low=low, high=high, count=words("hidden") if n is None else words.count(n))
        for low, high, n in bins
    ]
    description = words("ages_alt", bins="; ".join(lines))
    return Picture(title, drawn(draw, title=title, description=description, name="ages"))


def risk(story: Story, words: Words) -> Picture:
    """Odds ratios with their intervals."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    fit = story.fit
    ratios = np.exp(fit.params)

    def draw(ax: Axes) -> None:
        fit.plot(ax=ax)
        ax.set_yticks(ax.get_yticks(), [words(COEFFICIENTS[label.get_text()]) for label in ax.get_yticklabels()])
        ax.xaxis.set_major_locator(FixedLocator([0.25, 0.5, 1, 2, 4, 8, 16]))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: words.number(x, 0 if x >= 1 else len(f"{x:g}") - 2)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel(words("odds_ratio_scale"), loc="right")
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)

    labels = {name: words(key) for name, key in COEFFICIENTS.items() if key}
    largest = max(labels, key=lambda name: float(ratios[name]))
    title = words("risk_picture", largest=_capital(labels[largest]) if words.lang == "en" else labels[largest])
    listing = "; ".join(f"{label} {words.number(float(ratios[name]), 2)}" for name, label in labels.items())
    description = words("risk_alt", ratios=listing)
    return Picture(title, drawn(draw, title=title, description=description, name="risk"))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
