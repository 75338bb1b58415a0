"""What the pages and a turn work with, built once when the app starts. Wiring only; knows no rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chat_app.model import ChatModel
from chat_app.rails import Rails
from chat_app.settings import Settings
from flywheel.audit import Audit
from flywheel.history import RunRecords
from flywheel.ledger import Ledger
from flywheel.policy import read_policy
from flywheel.promote import Registry
from flywheel.review import ReviewDesk
from flywheel.review.second_looks import SecondLooks
from flywheel.store import Store
from tools import TOOLS
from tools.tool import Tool

if TYPE_CHECKING:
    from flywheel.runs import Wheel


@dataclass(frozen=True)
class Services:
    """The parts of one running app."""

    settings: Settings
    store: Store
    audit: Audit
    ledger: Ledger
    registry: Registry
    records: RunRecords
    desk: ReviewDesk
    second_looks: SecondLooks
    wheel: Wheel
    rails: Rails
    model: ChatModel
    tools: dict[str, Tool]

    @classmethod
    def build(cls, settings: Settings, store: Store, wheel: Wheel) -> Services:
        """Connect the parts; `settings` must name the NIM already."""
        assert settings.flywheel.nim_url is not None
        ledger, registry = Ledger(store.database), Registry(store.database)
        policy = read_policy(settings.home).review
        return cls(
            settings=settings,
            store=store,
            audit=Audit(store.database),
            ledger=ledger,
            registry=registry,
            records=RunRecords(store.database),
            desk=ReviewDesk(store, ledger, policy),
            second_looks=SecondLooks(store, registry, policy),
            wheel=wheel,
            rails=Rails(content_safety_url=settings.content_safety_url),
            model=ChatModel(settings.flywheel.nim_url, settings.flywheel.api_key, registry),
            tools=TOOLS,
        )
