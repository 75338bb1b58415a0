"""find_orders, order_status, request_return: a small shop whose orders live in home/shop.db.

The catalogue is made up; the orders behave like real ones: each person has their own, returns are kept, and rules are checked.
Knows no payments and no real post.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from tools.database import transaction
from tools.sentences import counted, listed, on_day
from tools.tool import ToolContext, ToolError

Status = Literal["processing", "shipped", "delivered", "cancelled", "returning"]
Reason = Literal["damaged", "wrong_item", "does_not_fit", "not_needed", "other"]
OrderId = Annotated[str, Field(min_length=1, max_length=20)]

RETURN_DAYS = 30

_TABLES = """
CREATE TABLE IF NOT EXISTS orders (
    person TEXT NOT NULL, order_id TEXT NOT NULL, product TEXT NOT NULL, price TEXT NOT NULL, status TEXT NOT NULL,
    ordered TEXT NOT NULL, arrival TEXT, PRIMARY KEY (person, order_id)
) STRICT;
CREATE TABLE IF NOT EXISTS returns (
    person TEXT NOT NULL, order_id TEXT NOT NULL, reason TEXT NOT NULL, requested TEXT NOT NULL, PRIMARY KEY (person, order_id)
) STRICT
"""


class _Seed(NamedTuple):
    """One order that everybody starts with; `arrival` counts days from the first use, negative = delivered that long ago."""

    order_id: str
    product: str
    price: str
    status: Status
    ordered: int
    arrival: int | None


_SEEDS = (
    _Seed("A1001", "desk lamp", "34.90 EUR", "delivered", -52, -48),
    _Seed("A1002", "running shoes", "89.00 EUR", "delivered", -14, -10),
    _Seed("A1003", "coffee grinder", "59.50 EUR", "delivered", -9, -6),
    _Seed("A1004", "rain jacket", "119.00 EUR", "shipped", -3, 1),
    _Seed("A1005", "wireless headphones", "149.00 EUR", "shipped", -2, 2),
    _Seed("A1006", "yoga mat", "27.00 EUR", "processing", -1, 5),
    _Seed("A1007", "bread knife", "42.00 EUR", "cancelled", -20, None),
    _Seed("A1008", "hiking backpack", "95.00 EUR", "delivered", -7, -2),
)


def find_orders(
    context: ToolContext, status: Status | None = None, product: Annotated[str, Field(min_length=1, max_length=60)] | None = None
) -> dict[str, Any]:
    """List your shop orders.

    Args:
        status: Only orders in this state
        product: Only orders of this product, such as shoes
    """
    with _orders(context) as connection:
        rows = connection.execute(
            "SELECT order_id, product, status FROM orders WHERE person = ? AND (? IS NULL OR status = ?)"
            " AND (? IS NULL OR instr(product, ?) > 0) ORDER BY order_id DESC",
            (context.person, status, status, product, (product or "").strip().lower().removesuffix("s")),
        ).fetchall()
    return {
        "summary": _found(rows, status, product),
        "count": len(rows),
        "orders": [{"order_id": row[0], "product": row[1], "status": row[2]} for row in rows],
    }


def _found(rows: list[tuple[str, str, str]], status: str | None, product: str | None) -> str:
    start = f"You have {counted(len(rows), f'{status} order' if status else 'order')}"
    start += f" of “{product.strip()}”" if product else ""
    orders = [f"{number} ({name})" if status else f"{number} ({name}, {state})" for number, name, state in rows]
    return f"{start}: {listed(orders, len(orders))}." if orders else f"{start}."


def order_status(context: ToolContext, order_id: OrderId) -> dict[str, Any]:
    """Tell where an order is.

    Args:
        order_id: The order number, such as A1004
    """
    with _orders(context) as connection:
        order = _order(connection, context.person, order_id)
    arrival = {"delivered" if order.status in ("delivered", "returning") else "expected": order.arrival} if order.arrival else {}
    return {
        "summary": _whereabouts(order),
        "order_id": order.order_id,
        "product": order.product,
        "status": order.status,
        "ordered": order.ordered,
        **arrival,
        "price": order.price,
    }


def _whereabouts(order: _Order) -> str:
    day = on_day(date.fromisoformat(order.arrival)) if order.arrival else "a day not yet known"
    state = {
        "processing": f"is being prepared and should arrive on {day}",
        "shipped": f"has been shipped and should arrive on {day}",
        "delivered": f"was delivered on {day}",
        "cancelled": "was cancelled",
        "returning": f"was delivered on {day} and is on its way back",
    }[order.status]
    return f"Order {order.order_id} ({order.product}) {state}."


def request_return(context: ToolContext, order_id: OrderId, reason: Reason) -> dict[str, Any]:
    """Send an order back to the shop.

    Args:
        order_id: The order number, such as A1002
        reason: Why it goes back
    """
    today = context.now().date()
    with _orders(context) as connection:
        order = _order(connection, context.person, order_id)
        if order.status == "returning":
            raise ToolError(f"The return of order {order.order_id} ({order.product}) has been requested before.")
        if order.status != "delivered" or order.arrival is None:
            raise ToolError(f"Order {order.order_id} ({order.product}) is {order.status}: only a delivered order can go back.")
        last = date.fromisoformat(order.arrival) + timedelta(days=RETURN_DAYS)
        if today > last:
            raise ToolError(f"Order {order.order_id} ({order.product}) could go back until {last.isoformat()}: that is over.")
        key = (context.person, order.order_id)
        connection.execute("UPDATE orders SET status = 'returning' WHERE person = ? AND order_id = ?", key)
        connection.execute("INSERT INTO returns VALUES (?, ?, ?, ?)", (*key, reason, today.isoformat()))
    outcome = {"would": f"request the return of order {order.order_id}"} if context.dry_run else {"status": "returning"}
    done = "This would request the return" if context.dry_run else "I requested the return"
    return {
        "summary": f"{done} of order {order.order_id} ({order.product}), to be sent back by {on_day(last)}.",
        "order_id": order.order_id,
        "product": order.product,
        "reason": reason,
        **outcome,
        "send_back_by": last.isoformat(),
    }


class _Order(NamedTuple):
    order_id: str
    product: str
    price: str
    status: str
    ordered: str
    arrival: str | None


@contextmanager
def _orders(context: ToolContext) -> Iterator[sqlite3.Connection]:
    """A transaction in which the person has their orders, and what should have arrived by today has arrived."""
    today = context.now().date()
    with transaction(context, "shop", _TABLES) as connection:
        if not connection.execute("SELECT 1 FROM orders WHERE person = ? LIMIT 1", (context.person,)).fetchone():
            connection.executemany(
                "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", [_seeded(context.person, s, today) for s in _SEEDS]
            )
        connection.execute(
            "UPDATE orders SET status = 'delivered' WHERE person = ? AND status IN ('processing', 'shipped') AND arrival <= ?",
            (context.person, today.isoformat()),
        )
        yield connection


def _seeded(person: str, seed: _Seed, today: date) -> tuple[str | None, ...]:
    arrival = None if seed.arrival is None else (today + timedelta(days=seed.arrival)).isoformat()
    ordered = (today + timedelta(days=seed.ordered)).isoformat()
    return (person, seed.order_id, seed.product, seed.price, seed.status, ordered, arrival)


def _order(connection: sqlite3.Connection, person: str, text: str) -> _Order:
    """The person's order with this number, written with or without the A, # or blanks. Raises ToolError with the known ones."""
    number = text.strip().lstrip("#").strip().upper().removeprefix("ORDER").strip().lstrip("#")
    number = f"A{number}" if number.isdecimal() else number
    row = connection.execute(
        "SELECT order_id, product, price, status, ordered, arrival FROM orders WHERE person = ? AND order_id = ?",
        (person, number),
    ).fetchone()
    if row is None:
        known = [found for (found,) in connection.execute("SELECT order_id FROM orders WHERE person = ? ORDER BY 1", (person,))]
        raise ToolError(f"You have no order {text!r}. Your orders are {', '.join(known)}.")
    return _Order(*row)
