"""calculate: sums as people write them; what must not be computed is refused at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

pytest_plugins = ("tool_fixtures",)

Ask = Callable[..., dict[str, Any]]
Refuse = Callable[..., str]


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2 + 2", 4), ("15% of 80", 12), ("sqrt(2)", 1.41421356237), ("3 × 4", 12), ("10 ÷ 4", 2.5), ("2^10", 1024), ("7 % 3", 1),
        ("50%", 0.5), ("50% * 3", 1.5), ("1,000 + 2", 1002), ("max(1,200)", 200), ("2(3+4)", 14), ("√16", 4), ("12 squared", 144),
        ("square root of 81", 9), ("What is 3 plus 4?", 7), ("3 x 4", 12), ("10 percent of 50", 5), ("0.1 + 0.2", 0.3),
        ("100 - 20% of 50", 90), ("-3 − 4", -7), ("7 // 2", 3), ("log(100)", 2), ("ln(e)", 1), ("round(2.347, 2)", 2.35),
        ("factorial(5)", 120), ("10% of 20% of 50", 1), ("2**-1", 0.5), ("9 divided by 2 =", 4.5), ("1e3", 1000), ("(-2)^3", -8),
        ("12345678901234567890 + 1", 12345678901234567891), ("1^100000000", 1),
    ],
)  # fmt: skip
def test_sums(ask: Ask, expression: str, result: float) -> None:
    answer = ask("calculate", expression=expression)
    assert answer == {"summary": answer["summary"], "expression": expression, "result": result}
    assert type(answer["result"]) is type(result)


@pytest.mark.parametrize(
    ("expression", "summary"),
    [
        ("15% of 80", "15% of 80 is 12."), ("What is  3 plus 4?", "3 plus 4 is 7."), ("9 times  2 =", "9 times 2 is 18."),
        ("sqrt(2)", "sqrt(2) is about 1.41421."), ("-2/3", "-2/3 is about -0.666667."), ("1/80000", "1/80000 is 0.0000125."),
        ("2^16", "2^16 is 65,536."), ("123456.78 + 1", "123456.78 + 1 is 123,457.78."), ("10^20", "10^20 is about 1 × 10^20."),
        ("5 / 10^9", "5 / 10^9 is about 5 × 10^-9."), ("5 - 5", "5 - 5 is 0."), ("100 * 1000", "100 * 1000 is 100,000."),
        ("1 + " * 15 + "1", "The result is 16."),
    ],
)  # fmt: skip
def test_the_sentence_repeats_the_sum_and_rounds_the_result(ask: Ask, expression: str, summary: str) -> None:
    assert ask("calculate", expression=expression)["summary"] == summary


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("1/0", "divides by zero"), ("5 % 0", "divides by zero"), ("0 ** -1", "divides by zero"), ("sqrt(-1)", "no real result"),
        ("log(0)", "no real result"), ("(-8)^(1/3)", "no real, finite result"), ("1e308 * 10", "no real, finite result"),
        ("10.5 ** 1000", "too big"), ("80 + 10%", "'10% of' a number"), ("2 +", "no sum"), ("apples", "no sum"),
        ("5 apples", "no sum"),
        ("'a' * 9", "no sum"), ("[1, 2]", "no sum"), ("1 if 2 else 3", "no sum"), ("2 == 2", "no sum"), ("True", "no sum"),
        ("1j", "no sum"), ("...", "no sum"), ("sqrt()", "no sum"), ("sqrt(x=2)", "no sum"), ("x = 3", "no sum"),
        ("1; 2", "no sum"),
        ("factorial(1000)", "0 to 150"), ("factorial(2.5)", "0 to 150"), ("(" * 200, "no sum"), ("5 5", "no sum"),
        (" ", "no sum"),
    ],
)  # fmt: skip
def test_what_is_no_sum_is_an_error(refuse: Refuse, expression: str, says: str) -> None:
    assert says in refuse("calculate", expression=expression)


@pytest.mark.parametrize(
    "expression",
    [
        "2**100000", "9**9**9", "9**9**9**9", "10**200 * 10**200", "round(5, -1000000000)", "factorial(factorial(20))",
        "(9**300)**300",
        "__import__('os').system('id')", "().__class__.__bases__", "open('/etc/passwd')", "lambda: 1", "sqrt.__globals__",
        "[x for x in (1,)]", "1<<10**9", "'a'*10**9", "eval('1')", "-" * 199 + "1", "(" * 95 + "1" + ")" * 95,
    ],
)  # fmt: skip
def test_hostile_sums_cost_no_time(call: Callable[..., Any], expression: str) -> None:
    start = time.process_time()
    result = call("calculate", expression=expression)
    assert time.process_time() - start < 0.5
    assert result.error is None or "unexpectedly" not in result.error
    assert len(result.text) < 400


def test_the_biggest_numbers_have_three_hundred_digits(ask: Ask, refuse: Refuse) -> None:
    assert ask("calculate", expression="10**299")["result"] == 10**299
    assert "more than 300 digits" in refuse("calculate", expression="10**299 * 100")


def test_an_expression_has_two_hundred_characters(refuse: Refuse) -> None:
    assert "at most 200" in refuse("calculate", expression="1+" * 100 + "1")
    assert "at least 1" in refuse("calculate", expression="")
