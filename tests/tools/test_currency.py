"""convert_currency: offline rates with their date."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from tools.currency import _NAMES, rates

pytest_plugins = ("tool_fixtures",)

Ask = Callable[..., dict[str, Any]]


def test_the_answer_names_the_date_and_the_source_of_the_rate(ask: Ask) -> None:
    answer = ask("convert_currency", amount=100, from_currency="EUR", to_currency="USD")
    assert answer["rate_date"] == rates().bounds["USD"].last_date.isoformat()
    assert date.fromisoformat(answer["rate_date"]) >= date(2025, 1, 1)
    assert answer["source"] == "European Central Bank"
    assert (answer["amount"], answer["from_currency"], answer["to_currency"]) == (100, "EUR", "USD")
    assert 50 < answer["result"] < 300
    day = date.fromisoformat(answer["rate_date"])
    rate = f"European Central Bank rate of {day.day} {day:%B %Y}"
    assert answer["summary"] == f"100 EUR is {answer['result']:.2f} USD ({rate})."


def test_the_sentence_writes_money_as_people_do(ask: Ask) -> None:
    yen = ask("convert_currency", amount=99.5, from_currency="GBP", to_currency="JPY")
    assert yen["summary"].startswith(f"99.50 GBP is {yen['result']:,.2f} JPY (")
    assert ask("convert_currency", amount=0, from_currency="GBP", to_currency="JPY")["summary"].startswith("0 GBP is 0 JPY (")
    small = ask("convert_currency", amount=1, from_currency="IDR", to_currency="GBP")
    assert float(small["summary"].split(" is ")[1].split()[0]) == pytest.approx(small["result"], rel=0.01)


def test_there_and_back_again(ask: Ask) -> None:
    there = ask("convert_currency", amount=1000, from_currency="GBP", to_currency="JPY")["result"]
    assert ask("convert_currency", amount=there, from_currency="JPY", to_currency="GBP")["result"] == pytest.approx(
        1000, abs=0.02
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("euros", "EUR"), ("Dollars", "USD"), ("us dollars", "USD"), ("$", "USD"), ("€", "EUR"), ("pounds", "GBP"),
        ("quid", "GBP"),
        ("yen", "JPY"), ("swiss francs", "CHF"), ("canadian  dollars", "CAD"), ("rupees", "INR"), ("eur", "EUR"),
        ("zloty", "PLN"),
        ("australian dollar", "AUD"), ("yuan", "CNY"), ("pesos", "MXN"),
    ],
)  # fmt: skip
def test_names(ask: Ask, text: str, code: str) -> None:
    assert ask("convert_currency", amount=1, from_currency=text, to_currency="SEK")["from_currency"] == code


def test_every_currency_with_a_rate_has_a_name() -> None:
    assert rates().currencies <= set(_NAMES)
    assert len(rates().currencies) >= 25


def test_small_results_keep_their_digits(ask: Ask) -> None:
    assert 0 < ask("convert_currency", amount=1, from_currency="IDR", to_currency="GBP")["result"] < 0.001
    assert ask("convert_currency", amount=0, from_currency="IDR", to_currency="GBP")["result"] == 0


@pytest.mark.parametrize(
    ("amount", "source", "says"),
    [
        (1, "bitcoin", "'bitcoin' is no currency that I have a rate for. Known are AUD"),
        (1, "eurro", "Did you mean euro"),
        (-1, "EUR", "argument 'amount'"),
        (1e308, "GBP", "too big"),
        (1, " ", "no currency"),
        ("1", "EUR", "argument 'amount'"),
    ],
)
def test_errors(refuse: Callable[..., str], amount: object, source: str, says: str) -> None:
    assert says in refuse("convert_currency", amount=amount, from_currency=source, to_currency="IDR")
