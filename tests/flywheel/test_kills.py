"""kill -9 at every boundary of every stage, in the middle of each, and at moments by chance: nothing lost, nothing doubled."""

from __future__ import annotations

from pathlib import Path

import pytest
from kill_room import PLACES, KillRoom

KILLS = 200


@pytest.mark.slow
@pytest.mark.timeout(720)
def test_two_hundred_deaths_lose_and_double_nothing(tmp_path: Path) -> None:
    with KillRoom(tmp_path / "home") as room:
        room.kill(KILLS)
    assert not [place for place in PLACES if not room.kills[place]]
    assert sum(room.kills.values()) >= KILLS and len(room.runs) > 5
