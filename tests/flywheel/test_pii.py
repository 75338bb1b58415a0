"""What names a person in a row is masked before it trains, and nothing else is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from feedback import calling, row, saying, tool
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.pii import identifiers, mask
from flywheel.rows import Row, check_row
from flywheel.starter import load_everyday

SEND = tool("send", to="string", text="string")
DIAL = tool("dial", number="integer")
EVERYDAY_200 = Path(__file__).parent.parent / "benchmarks" / "everyday_200.jsonl"


def asked(question: str, name: str = "send", **arguments: Any) -> Row:
    return row(question, calling((name, arguments)), [SEND, DIAL])


@pytest.mark.parametrize(
    ("question", "masked", "kind"),
    [
        ("mail Bob.Smith+x@acme.co.uk now", "mail person1@example.com now", "email"),
        ("call +34 612 34 56 78", "call +1 202-555-0101", "phone"),
        ("call 0034612345678", "call +12025550101", "phone"),
        ("it is 617-253-1000 for them", "it is 202-555-0101 for them", "phone"),
        ("llama al 612 345 678", "llama al 202-555-0101", "phone"),
        ("pay DE89 3704 0044 0532 0130 00 today", "pay GB75 TEST 0000 0000 0000 01 today", "iban"),
        ("card 4111-1111-1111-1111, 12/27", "card 4000-0000-0000-0010, 12/27", "card"),
        ("ping 8.8.8.8 once", "ping 192.0.2.1 once", "ip"),
        ("ping 2001:4860:4860::8888 once", "ping 2001:db8::1 once", "ip"),
        ("use sk-abcdefghijklmnop1234 for it", "use example-key-1 for it", "key"),
        ('the password is "hunter22x", ok', 'the password is "example-key-1", ok', "key"),
        ('{"token": "q9w8e7r6t5y4"}', '{"token": "example-key-1"}', "key"),
    ],
)
def test_each_kind_gets_a_placeholder_of_its_kind(question: str, masked: str, kind: str) -> None:
    found = mask(asked(question, to="x", text="y"))
    assert (found.row.question, found.counts) == (masked, {kind: 1})
    assert mask(found.row) == (found.row, {})


@pytest.mark.parametrize(
    "question",
    [
        "what is 6172531000 * 3.5", "remind me at 12:30:15 on 2026-01-02", "order A-2041 and 4111111111111112",
        "the token is invalid, reset the password", "is 192.168.1.1 or 127.0.0.1 private", "3.14159 by 1.2.3",
        "person1@example.com", "ISBN 978-3-16-148410-0", "GB82 WEST 1234 5698 7654 33", "see me @noon",
        "1234567890 / 2", "1, 2, 3, 4, 5, 6, 7, 8, 9",
    ],
)  # fmt: skip
def test_what_is_no_identifier_stays(question: str) -> None:
    assert mask(asked(question, to="x", text=question)) == (asked(question, to="x", text=question), {})


def test_a_call_repeats_what_the_question_says_and_still_fits_its_schema() -> None:
    found = mask(
        asked("text ann@acme.org that bob@acme.org and ANN@acme.org are in", to="ann@acme.org", text="bob@acme.org is in")
    )
    assert found.row.question == "text person1@example.com that person2@example.com and person1@example.com are in"
    assert found.row.calls[0].arguments == {"to": "person1@example.com", "text": "person2@example.com is in"}
    dialled = mask(asked("call (617) 253-1000", "dial", number=6172531000))
    assert dialled.row.question == "call 202-555-0101" and dialled.row.calls[0].arguments == {"number": 2025550101}
    told = mask(asked("my password is hunter22x", to="hunter22x", text="hunter22xx"))
    assert told.row.calls[0].arguments == {"to": "example-key-1", "text": "hunter22xx"}
    assert all(check_row(one.row) == [] for one in (found, dialled, told))


def test_all_of_the_conversation_is_masked_and_new_placeholders_do_not_meet_old_ones() -> None:
    context = (
        {"role": "user", "content": "I am zoe@acme.org, write to person1@example.com"},
        calling(("send", {"to": "zoe@acme.org", "text": ["deep", {"in": "zoe@acme.org"}]})),
        {"role": "tool", "tool_call_id": "c", "content": '{"sent to": "zoe@acme.org"}'},
    )
    found = mask(row("again", saying("sent to zoe@acme.org"), [SEND], context))
    assert "acme" not in json.dumps(found.row.messages) and json.dumps(found.row.messages).count("person2@example.com") == 5
    assert found.counts == {"email": 1}


def test_what_a_tools_schema_says_is_the_developers() -> None:
    desk = tool("send", to="string")
    desk["function"]["parameters"]["properties"]["to"]["enum"] = ["desk@acme.org"]
    made = row("write to desk@acme.org", calling(("send", {"to": "desk@acme.org"})), [desk])
    assert mask(made) == (made, {})


def test_no_everyday_question_is_changed() -> None:
    hand_written = [json.loads(line) for line in EVERYDAY_200.read_text(encoding="utf-8").splitlines()]
    rows = [row(question, calling((name, arguments)), []) for question, name, arguments in hand_written]
    assert len(rows) == 200 and [made.question for made in (*rows, *load_everyday()) if mask(made).counts] == []


PARTS = st.sampled_from(
    [
        "ann@acme.org", "+34 612 34 56 78", "0034612345678", "617-253-1000", "call 6172531000", "DE89370400440532013000",
        "4111 1111 1111 1111", "5500000000000004", "8.8.8.8", "2001:4860:4860::8888", "ghp_abcdefghijklmnopqrstuvwx",
        "password: hunter22x", "person1@example.com", "202-555-0101", "12", "and", "3.5", "10:30", "é", ",", "(", "\n",
    ]
)  # fmt: skip
TEXTS = st.lists(PARTS | st.text(max_size=6), max_size=6).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS)
def test_masking_twice_is_masking_once_and_leaves_no_identifier(question: str, argument: str) -> None:
    once = mask(asked(question, to=argument, text=question))
    assert mask(once.row) == (once.row, {})
    assert [*identifiers(once.row.question), *identifiers(once.row.calls[0].arguments["to"])] == []
