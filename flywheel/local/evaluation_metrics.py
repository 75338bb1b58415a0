"""The metrics that an evaluation task may name: their parameters, checked.

Pure shapes, most of whose strings are Jinja templates over `item` (the row) and `sample` (the answer). Knows neither how a
template is rendered nor how a score is computed: those are `evaluation_task`, `metrics`, `text_metrics` and `llm_judge`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from flywheel.local.llm_judge import Judge
from flywheel.local.metrics import CHECKS, NUMBER_CHECKS


class ToolCalling(BaseModel):
    """NVIDIA's tool-calling metric; the ground truth is a template that renders to JSON tool calls."""

    model_config = ConfigDict(extra="allow")
    tool_calls_ground_truth: str


class StringCheck(BaseModel):
    """The string-check metric: two templates and what is asked of them, `[left, operation, right]`."""

    model_config = ConfigDict(extra="allow")
    check: tuple[str, str, str]

    @field_validator("check")
    @classmethod
    def _known(cls, check: tuple[str, str, str]) -> tuple[str, str, str]:
        if check[1] not in CHECKS:
            raise ValueError(f"unknown string check {check[1]!r}; use one of {', '.join(CHECKS)}")
        return check


class NumberCheck(BaseModel):
    """The number-check metric: `[left, operation, right]`, or `["absolute difference", left, right, "epsilon", number]`."""

    model_config = ConfigDict(extra="allow")
    check: tuple[str, str, str] | tuple[Literal["absolute difference"], str, str, Literal["epsilon"], float]

    @field_validator("check")
    @classmethod
    def _known(cls, check: Any) -> Any:
        if len(check) == 3 and check[1] not in NUMBER_CHECKS:
            raise ValueError(f"unknown number check {check[1]!r}; use one of {', '.join(NUMBER_CHECKS)}")
        return check


class Expected(BaseModel):
    """What a text is compared with: one (`ground_truth` or `reference`) or several. `candidate` is that text, the answer's."""

    model_config = ConfigDict(extra="allow")
    references: list[str] | None = None
    ground_truth: str | None = None
    reference: str | None = None
    candidate: str = "{{ sample.output_text }}"

    @property
    def texts(self) -> list[str]:
        """The templates of all that was expected."""
        return [*(self.references or ()), *(text for text in (self.ground_truth, self.reference) if text is not None)]

    @model_validator(mode="after")
    def _expects(self) -> Expected:
        if not self.texts:
            raise ValueError("nothing to compare with; name 'references', a list, or 'ground_truth'")
        return self


class ToolCallingMetric(BaseModel):
    """A metric of type tool-calling."""

    type: Literal["tool-calling"]
    params: ToolCalling


class StringCheckMetric(BaseModel):
    """A metric of type string-check."""

    type: Literal["string-check"]
    params: StringCheck


class NumberCheckMetric(BaseModel):
    """A metric of type number-check."""

    type: Literal["number-check"]
    params: NumberCheck


class TextMetric(BaseModel):
    """A metric that compares texts."""

    type: Literal["bleu", "rouge", "f1", "em"]
    params: Expected


class JudgeMetric(BaseModel):
    """A metric of type llm-judge."""

    type: Literal["llm-judge"]
    params: Judge


Metric = Annotated[
    ToolCallingMetric | StringCheckMetric | NumberCheckMetric | TextMetric | JudgeMetric, Field(discriminator="type")
]
