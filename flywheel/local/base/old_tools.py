"""The tools of `invented.py` in the shape that turns are made of: the first base model's own domains, so that none is forgotten.

Knows no turns and no toolsets.
"""

from __future__ import annotations

from flywheel.local.base.families import Asked, Schema
from flywheel.local.base.invented import Inventor, Tool


class OldTool:
    """A tool of the `Inventor`, and requests to it."""

    def __init__(self, tool: Tool, inventor: Inventor) -> None:
        self._tool = tool
        self._inventor = inventor
        self.schema: Schema = tool.schema()
        self.name = tool.name
        self.noun = tool.noun
        self.key = f"old:{tool.noun}:{tool.verb}"

    def ask(self) -> Asked:
        """A request and its arguments."""
        question, call = self._inventor.turn([self._tool], "call")
        return Asked(question["content"], call["tool_calls"][0]["function"]["arguments"], {})

    def follow_up(self, before: Asked) -> Asked | None:
        """None: these tools have no short requests."""
        return None

    def incomplete(self) -> tuple[str, str] | None:
        """None: these tools have no incomplete requests."""
        return None

    def result(self, asked: Asked) -> tuple[str, str] | None:
        """What the tool might give, as compact JSON, and a sentence that tells it."""
        *_, result, sentence = self._inventor.turn([self._tool], "result")
        return result["content"], sentence["content"]
