"""Values that only the chat's own tools ask for: sums, units and currencies in pairs, days off, tasks and times as they are said.

A value is the very words that were said: these tools read them as people write them. Knows no tools and no phrases.
"""

from __future__ import annotations

from collections.abc import Callable

from flywheel.local.base.values import NOTHING_AROUND, Around, Value, Values
from flywheel.local.base.words import WORDS

_PARTNER = {"from_unit": "to_unit", "to_unit": "from_unit", "from_currency": "to_currency", "to_currency": "from_currency"}


class ChatValues(Values):
    """Draws the kinds of `Values` and those of the chat's own tools. A `to_unit` fits the `from_unit` before it."""

    _other: Value | None = None

    def draw(self, kind: str, around: Around = NOTHING_AROUND, form: str = "") -> Value:
        """One value of this kind; see `Values.draw`."""
        if kind in _PARTNER:
            return self._pair("unit" in kind)
        if kind in _OWN:
            return _OWN[kind](self, around)
        return super().draw(kind, around, form)

    def begin(self) -> None:
        """A new request begins: nothing of the last one is waiting for its partner."""
        self._other = None

    def _pair(self, units: bool) -> Value:
        """The other one of a pair that was begun, or the first of a new one."""
        if self._other is not None:
            other, self._other = self._other, None
            return other
        listed = self._draw.pick(list(WORDS["units"].values())).split(", ") if units else WORDS["currencies"]
        first, second = (self._same(self._draw.pick(name.split("|"))) for name in self._draw.some(listed, 2))
        self._other = second
        return first

    def _amount(self, around: Around) -> Value:
        draw = self._draw
        amount: float = draw.pick(
            [draw.between(1, 99), 10 * draw.between(1, 100), draw.between(100, 5000), draw.real(0.5, 300, 2)]
        )
        return self._number(amount, around)

    def _expression(self, around: Around) -> Value:
        draw = self._draw
        a, b, c = draw.between(2, 999), draw.between(2, 99), draw.between(2, 20)
        real, other = draw.real(0.5, 99, draw.pick([1, 2])), draw.real(0.5, 40, draw.pick([1, 2]))
        sign, word = draw.pick(["+", "-", "*", "/", "x", "+", "*"]), draw.pick(["plus", "minus", "times", "divided by"])
        space = "" if draw.chance(0.25) else " "
        forms = [
            f"{a}{space}{sign}{space}{b}", f"{a}{space}{sign}{space}{b}", f"{b} {word} {c}", f"{a} {word} {b}", f"{c}% of {a}",
            f"{real}{space}{sign}{space}{c}", f"{real} + {other}", f"({a} + {b}) * {c}", f"{c} * ({a} - {b})", f"{b} + {c} + {a}",
            f"{b} * {c} * 2", f"sqrt({a})", f"the square root of {a}", f"{c}^{draw.between(2, 4)}", f"{c} squared",
            f"{a} / ({b} + {c})", f"{real}% of {a}", f"{a} - {b} - {c}", f"{c} percent of {a}", f"{a} * {b} + {c}",
        ]  # fmt: skip
        return self._same(draw.pick(forms))

    def _year(self, around: Around) -> Value:
        year = self._draw.between(2019, 2034)
        return Value(year, str(year))

    def _task(self, around: Around) -> Value:
        return self._same(self.words.compose(self._one("tasks")))

    def _clock_as_said(self, around: Around) -> Value:
        said = self._clock().said
        return self._with_preposition(self._same(said), around, "at")


_OWN: dict[str, Callable[[ChatValues, Around], Value]] = {
    "amount": ChatValues._amount,
    "expression": ChatValues._expression,
    "year": ChatValues._year,
    "month": lambda values, around: values._same(values._cased(values._one("months"))),
    "task": ChatValues._task,
    "clock": ChatValues._clock_as_said,
}
CHAT_KINDS = frozenset(_OWN) | frozenset(_PARTNER)
