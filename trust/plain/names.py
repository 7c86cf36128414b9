"""What columns, levels and units are called: by their label where that says which one is meant, in quotes always."""

from __future__ import annotations

from collections import Counter
from functools import cached_property

from trust.dataset.dataset import PARTNER, Column, Dataset
from trust.words.speech import Speech

__all__ = ["Names"]


class Names:
    """A dataset's columns in words.  Two columns, or two levels of one, are never called the same."""

    def __init__(self, dataset: Dataset, partners: tuple[str, ...], speech: Speech) -> None:
        """`partners` are the levels of the reserved column `partner`."""
        self.dataset, self.partners, self.speech = dataset, partners, speech

    @cached_property
    def hidden(self) -> frozenset[str]:
        """Columns that are not part of the dataset, and that only a derived column reads."""
        return frozenset(s for c in self.dataset.columns for s in c.sources if s not in self.dataset)

    @cached_property
    def _labels(self) -> Counter[str]:
        labels = [column.label or column.name for column in self.dataset.columns]
        return Counter(label.casefold() for label in [*labels, *self.hidden])

    def of(self, name: str) -> Column:
        """The column; one that only a derived column reads is a number.  Raises: StudyInvalid."""
        return Column(name=name, type="number") if name in self.hidden else self.dataset.column(name)

    def column(self, name: str) -> str:
        """A column's label, with its name where another has the same.  Raises: StudyInvalid."""
        if name == PARTNER:
            return self.speech("partner")
        label = self.of(name).label or name
        if self._labels[label.casefold()] == 1:
            return self.speech.quoted(label)
        return self.speech("level_named", label=self.speech.quoted(label), value=name)

    def columns(self, names: tuple[str, ...]) -> str:
        """Several columns."""
        return self.speech.listed(map(self.column, names))

    def level(self, name: str, value: bool | int | str) -> str:
        """What a level means, with its value where another means the same or it is none that the dataset has."""
        if isinstance(value, bool):
            return self.speech("yes" if value else "no")
        levels = () if name == PARTNER else self.of(name).levels
        called = {level.value: level.label or str(level.value) for level in levels}
        label = called.get(value, str(value))
        if [label_text.casefold() for label_text in called.values()].count(label.casefold()) < 2:
            return self.speech.quoted(label)
        return self.speech("level_named", label=self.speech.quoted(label), value=self.speech.quoted(str(value)))

    def levels(self, name: str) -> str:
        """All levels of a column, each with its value."""
        texts = []
        for level in self.of(name).levels:
            value = self.speech.quoted(str(level.value))
            label = self.speech.quoted(level.label)
            texts.append(self.speech("level_named", label=label, value=value) if level.label else value)
        return self.speech.listed(texts)

    def unit(self, name: str) -> str:
        """A column's unit in this language, in quotes where the catalogue does not know it."""
        unit = self.of(name).unit
        unit_words = self.speech.of_table("units", unit)
        if unit_words is not None:
            return str(unit_words).replace(" ", "\N{NO-BREAK SPACE}")
        return self.speech.quoted(unit) if unit else ""
