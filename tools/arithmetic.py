"""calculate: sums as people write them, worked out by simpleeval on numbers alone.

Knows no variables, no texts and no units; big numbers are refused before they are computed.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field
from simpleeval import InvalidExpression, SimpleEval

from tools.sentences import number
from tools.tool import ToolError

MAX_DIGITS = 300
_MAX_BITS = int(MAX_DIGITS * math.log2(10))
_TOO_BIG = f"A number in this sum has more than {MAX_DIGITS} digits: that is too big."

_DECIMALS = 5
_NUMBER = r"\d+(?:\.\d+)?"
_QUESTION, _END = r"^\s*(?:what is|what's|calculate|compute)\s", r"[=?\s]+$"
# In this order: each line makes the text more like Python.
_REWRITES: tuple[tuple[str, str], ...] = (
    (r"[×✕·∙]", "*"), (r"÷", "/"), (r"[−–]", "-"), (r"\^", "**"), (r"π", "pi"), (r"²|\bsquared\b", "**2"),
    (r"³|\bcubed\b", "**3"),
    (r"\bmultiplied by\b|\btimes\b", "*"), (r"\bdivided by\b", "/"), (r"\bplus\b", "+"), (r"\bminus\b", "-"),
    (r"\bto the power of\b", "**"), (r"√|\b(?:the )?square root of\b", " sqrt "), (r"\bpercent\b|\bper cent\b", "%"),
    (_END, ""), (_QUESTION, ""),
    (rf"({_NUMBER})\s*%\s*of\b", r"(\1/100)*"), (rf"({_NUMBER})\s*%\s*(?![\d(.a-z\s])", r"(\1/100)"),
    (r"\)\s*%\s*of\b", ")/100*"),
    (rf"\bsqrt\s*({_NUMBER})", r"sqrt(\1)"), (r"(?<=[\d)])\s*x\s*(?=[\d(.]|pi|sqrt)", "*"),
    (rf"(?<![a-z\d.])({_NUMBER})\s*\(", r"\1*("),
)  # fmt: skip
_THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?![\d,])")
_TWO_READINGS = re.compile(rf"[\d)]\s*[+-]\s*({_NUMBER})\s*%(?!\s*(?:of\b|[\d(]))")
_ALLOWED = re.compile(r"[0-9a-z_.,+\-*/%() ]+")


def calculate(expression: Annotated[str, Field(min_length=1, max_length=200)]) -> dict[str, Any]:
    """Work out an arithmetic expression.

    Args:
        expression: The sum to work out, such as 12 * (3 + 4), 15% of 80 or sqrt(2)
    """
    text = _as_python(expression)
    try:
        value = _evaluator().eval(text)
    except ToolError:
        raise
    except ZeroDivisionError:
        raise ToolError(f"{expression!r} divides by zero.") from None
    except OverflowError:
        raise ToolError(f"The result of {expression!r} is too big.") from None
    except ValueError:
        raise ToolError(f"{expression!r} has no real result (a root or logarithm of a negative number, for example).") from None
    except (InvalidExpression, SyntaxError, TypeError, RecursionError, MemoryError):
        raise ToolError(_unreadable(expression)) from None
    result = _tidy(expression, value)
    return {"summary": _sentence(expression, result), "expression": expression, "result": result}


def _sentence(expression: str, result: int | float) -> str:
    asked = " ".join(re.sub(_QUESTION, "", re.sub(_END, "", expression), flags=re.IGNORECASE).split())
    asked = asked if len(asked) <= 60 else "The result"
    said = number(result, _DECIMALS)
    exact = "×" not in said and float(said.replace(",", "")) == result
    return f"{asked} is {'' if exact else 'about '}{said}."


def _unreadable(expression: str) -> str:
    return f"{expression[:60]!r} is no sum that I can read. Use numbers, + - * / ^ %, brackets and functions such as sqrt or log."


def _as_python(expression: str) -> str:
    text = expression.lower()
    if ambiguous := _TWO_READINGS.search(text.replace("percent", "%")):
        raise ToolError(f"'{ambiguous[1]}%' after + or - can be read in two ways. Write '{ambiguous[1]}% of' a number.")
    if not re.search(r"[a-z]\w*\s*\(", text):  # in max(1,200) the comma separates
        text = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text)
    for pattern, replacement in _REWRITES:
        text = re.sub(pattern, replacement, text)
    text = text.strip()
    if not _ALLOWED.fullmatch(text):
        raise ToolError(_unreadable(expression))
    return text


def _tidy(expression: str, value: Any) -> int | float:
    """The number without the noise of binary fractions: 12 significant digits, whole numbers as such."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, float) or not math.isfinite(value):
        raise ToolError(f"{expression!r} has no real, finite result.")
    rounded = float(f"{value:.12g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse a whole number of too many digits as soon as it arises, so that no later step can multiply it further."""

    @functools.wraps(function)
    def checked(*values: Any) -> Any:
        result = function(*values)
        if isinstance(result, int) and result.bit_length() > _MAX_BITS:
            raise ToolError(_TOO_BIG)
        return result

    return checked


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and math.log2(abs(base)) * exponent > _MAX_BITS:
        raise ToolError(_TOO_BIG)
    return base**exponent


def _round(value: Any, digits: Any = 0) -> Any:
    if not isinstance(digits, int) or abs(digits) > 15:  # round(5, -10**9) would compute a number of a thousand million digits
        raise ToolError("round takes a number and, if you like, from -15 to 15 decimal places.")
    return round(value, digits)


def _factorial(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value <= 150:
        raise ToolError("factorial takes a whole number from 0 to 150.")
    return math.factorial(value)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": math.sqrt, "abs": abs, "round": _round, "min": min, "max": max, "exp": math.exp, "ln": math.log, "log": math.log10,
    "log10": math.log10, "log2": math.log2, "sin": math.sin, "cos": math.cos, "tan": math.tan, "factorial": _factorial,
}  # fmt: skip
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: _power, ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip
_SYNTAX = (ast.Expr, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name)


def _number(node: ast.Constant) -> int | float:
    if type(node.value) not in (int, float):
        raise SyntaxError("only numbers")
    return node.value  # type: ignore[return-value]  # the line above lets no other type through


def _evaluator() -> Any:
    """A fresh evaluator, since simpleeval keeps the expression in it. Only the syntax of sums is left in."""
    evaluator = SimpleEval(
        operators={kind: _bounded(function) for kind, function in _OPERATORS.items()},
        functions={name: _bounded(function) for name, function in _FUNCTIONS.items()},
        names={"pi": math.pi, "e": math.e},
    )
    evaluator.nodes = {kind: handler for kind, handler in evaluator.nodes.items() if kind in _SYNTAX} | {ast.Constant: _number}
    return evaluator
