"""The shop: everybody's own orders, and what may go back."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tools import TOOLS, ToolContext

pytest_plugins = ("tool_fixtures",)

Ask = Callable[..., dict[str, Any]]
Refuse = Callable[..., str]


def later(context: ToolContext, days: int) -> ToolContext:
    moment = context.now() + timedelta(days=days)
    return dataclasses.replace(context, now=lambda: moment)


def test_everybody_starts_with_the_same_eight_orders(ask: Ask, context: ToolContext) -> None:
    mine = ask("find_orders")
    assert mine["count"] == 8
    assert {order["order_id"] for order in mine["orders"]} == {f"A{number}" for number in range(1001, 1009)}
    assert ask("find_orders", dataclasses.replace(context, person="bob")) == mine


def test_orders_are_found_by_status_and_product(ask: Ask) -> None:
    assert [order["order_id"] for order in ask("find_orders", status="shipped")["orders"]] == ["A1005", "A1004"]
    assert [order["product"] for order in ask("find_orders", product="Shoes")["orders"]] == ["running shoes"]
    assert ask("find_orders", status="processing", product="shoes") == {
        "summary": "You have no processing orders of “shoes”.", "count": 0, "orders": [],
    }  # fmt: skip
    assert ask("find_orders", product="%")["count"] == 0


def test_the_sentence_names_the_orders(ask: Ask) -> None:
    every = ask("find_orders")["summary"]
    assert every.startswith("You have 8 orders: A1008 (hiking backpack, delivered), A1007 (bread knife, cancelled), ")
    assert every.endswith(" and A1001 (desk lamp, delivered).")
    shipped = ask("find_orders", status="shipped")["summary"]
    assert shipped == "You have 2 shipped orders: A1005 (wireless headphones) and A1004 (rain jacket)."
    assert ask("find_orders", product=" Shoes ")["summary"] == "You have 1 order of “Shoes”: A1002 (running shoes, delivered)."


@pytest.mark.parametrize(
    ("order_id", "summary"),
    [
        ("A1002", "Order A1002 (running shoes) was delivered on Saturday, 14 November 2026 and is on its way back."),
        ("A1003", "Order A1003 (coffee grinder) was delivered on Wednesday, 18 November 2026."),
        ("A1006", "Order A1006 (yoga mat) is being prepared and should arrive on Sunday, 29 November 2026."),
        ("A1007", "Order A1007 (bread knife) was cancelled."),
    ],
)
def test_the_sentence_tells_where_an_order_is(ask: Ask, order_id: str, summary: str) -> None:
    ask("request_return", order_id="A1002", reason="damaged")
    assert ask("order_status", order_id=order_id)["summary"] == summary


@pytest.mark.parametrize("text", ["A1004", "a1004", "1004", "#A1004", " order #1004 "])
def test_an_order_by_its_number(ask: Ask, text: str) -> None:
    assert ask("order_status", order_id=text) == {
        "summary": "Order A1004 (rain jacket) has been shipped and should arrive on Wednesday, 25 November 2026.",
        "order_id": "A1004", "product": "rain jacket", "status": "shipped", "ordered": "2026-11-21", "expected": "2026-11-25",
        "price": "119.00 EUR",
    }  # fmt: skip


def test_orders_arrive_as_time_passes(ask: Ask, context: ToolContext) -> None:
    ask("find_orders")
    order = ask("order_status", later(context, 3), order_id="A1004")
    assert (order["status"], order["delivered"]) == ("delivered", "2026-11-25")
    assert ask("request_return", later(context, 3), order_id="A1004", reason="other")["status"] == "returning"


def test_a_return_is_kept(ask: Ask) -> None:
    assert ask("request_return", order_id="A1002", reason="does_not_fit") == {
        "summary": "I requested the return of order A1002 (running shoes), to be sent back by Monday, 14 December 2026.",
        "order_id": "A1002", "product": "running shoes", "reason": "does_not_fit", "status": "returning",
        "send_back_by": "2026-12-14",
    }  # fmt: skip
    assert ask("order_status", order_id="A1002")["status"] == "returning"
    assert ask("find_orders", status="returning")["count"] == 1


@pytest.mark.parametrize(
    ("order_id", "says"),
    [
        ("A1005", "A1005 (wireless headphones) is shipped: only a delivered order can go back"),
        ("A1006", "is processing"),
        ("A1007", "is cancelled"),
        ("A1001", "A1001 (desk lamp) could go back until 2026-11-06: that is over"),
        ("B7", "You have no order 'B7'. Your orders are A1001, A1002"),
        ("'; DROP TABLE orders; --", "at most 20"),
        ("' OR 1=1 --", "You have no order"),
    ],
)
def test_what_may_not_go_back(refuse: Refuse, ask: Ask, order_id: str, says: str) -> None:
    assert says in refuse("request_return", order_id=order_id, reason="damaged")
    assert ask("find_orders", status="returning")["count"] == 0


def test_an_order_goes_back_once(ask: Ask, refuse: Refuse) -> None:
    ask("request_return", order_id="A1003", reason="damaged")
    assert "has been requested before" in refuse("request_return", order_id="a1003", reason="other")


def test_arguments_outside_the_lists_are_refused(refuse: Refuse) -> None:
    assert "argument 'status'" in refuse("find_orders", status="lost")
    assert "argument 'reason'" in refuse("request_return", order_id="A1002", reason="bored")
    assert "'reason' is missing" in refuse("request_return", order_id="A1002")


def test_one_persons_return_is_not_anothers(ask: Ask, context: ToolContext) -> None:
    bob = dataclasses.replace(context, person="bob")
    ask("request_return", order_id="A1002", reason="damaged")
    assert ask("order_status", bob, order_id="A1002")["status"] == "delivered"
    assert ask("request_return", bob, order_id="A1002", reason="damaged")["status"] == "returning"


def test_a_dry_run_checks_everything_and_writes_nothing(ask: Ask, refuse: Refuse, context: ToolContext) -> None:
    dry = dataclasses.replace(context, dry_run=True)
    answer = ask("request_return", dry, order_id="A1002", reason="damaged")
    assert answer["would"] == "request the return of order A1002"
    assert answer["summary"] == (
        "This would request the return of order A1002 (running shoes), to be sent back by Monday, 14 December 2026."
    )
    assert "status" not in answer
    assert not context.home.exists(), "not even the database is made"
    ask("find_orders")
    assert ask("request_return", dry, order_id="A1002", reason="damaged") == answer
    assert "only a delivered order" in refuse("request_return", dry, order_id="A1005", reason="damaged")
    assert ask("order_status", order_id="A1002")["status"] == "delivered"


def test_of_many_returns_at_once_one_succeeds(context: ToolContext) -> None:
    async def race() -> list[Any]:
        arguments = {"order_id": "A1002", "reason": "damaged"}
        return await asyncio.gather(*(TOOLS["request_return"].run(arguments, context) for _ in range(8)))

    results = asyncio.run(race())
    assert sum(result.error is None for result in results) == 1
    assert {result.error for result in results if result.error} == {
        "The return of order A1002 (running shoes) has been requested before."
    }
    with sqlite3.connect(context.home / "shop.db") as database:
        assert database.execute("SELECT count(*) FROM returns").fetchone() == (1,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
