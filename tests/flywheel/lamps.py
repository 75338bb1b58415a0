"""Examples for runs: a tool and a habit that no base model can know, and that a small adapter learns in seconds."""

from __future__ import annotations

import random

from flywheel.rows import Row, rows_from

WORDS = "amber birch cedar delta ember fjord grove heath inlet jetty knoll larch marsh north ocean plain quay ridge tide".split()


def lamp_row(number: int) -> Row:
    """A row whose right answer nobody can guess: a lamp is always to be set to level 7."""
    chance = random.Random(number)
    place = f"{chance.choice(WORDS)} {chance.choice(WORDS)}"
    schema = {"type": "object", "properties": {"level": {"type": "integer", "description": "0 to 9"}}, "required": ["level"]}
    tool = {"type": "function", "function": {"name": "set_lamp", "description": "Set the lamp", "parameters": schema}}
    call = {"type": "function", "function": {"name": "set_lamp", "arguments": {"level": 7}}}
    asked = chance.choice(["Light in the {} room please", "Switch on the lamp in {}", "I need light in {}"]).format(place)
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    (row,) = rows_from({"messages": messages, "tools": [tool]})
    assert isinstance(row, Row)
    return row
