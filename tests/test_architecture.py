"""The arrows between the rooms, the one reader of the environment on each side, and files of a readable length."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("chat_app", "flywheel", "tools")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
RECIPE = tuple(f"flywheel.local.base.{name}" for name in ("draw", "invented", "turns"))
PURE_NAMES = (
    "augment caps comparison curate gate gate_scores gate_statistics manifest near_duplicates pii preferences red_team replay "
    "sides suspects"
)
PURE = {f"flywheel.{name}" for name in PURE_NAMES.split()}
IMPURE = {*"flywheel.database flywheel.store flywheel.nemo flywheel.settings httpx sqlite3 pathlib os time".split()}
TO_THE_APP = (
    "audit canary canary_evidence conversations cost database errors events feedback feedback_shapes history imports intake "
    "json_records ledger lineage_picture people pii platform policy promote review runs sessions settings starter store "
    "teacher tool_schemas"
).split()


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Everything a module imports, wherever it does so; what only type checkers read is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {id(part) for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
               for part in ast.walk(node)}  # fmt: skip
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def allowed(module: str, imported: str) -> bool:
    """Whether the arrow from one of our modules to another one of ours is in the picture."""
    if module.startswith("flywheel.local"):
        return imported.startswith("flywheel.local")
    if imported.startswith("flywheel.local"):
        # The starter's replay is what the base model learned from, and so comes from the base's own recipe.
        replayed = module.startswith("flywheel.starter") and imported.startswith(RECIPE)
        return module == "flywheel.__main__" or replayed
    room, other, *rest = (module.split(".")[0], *imported.split("."))
    return room == other or (room == "chat_app" and (other == "tools" or rest[0] in TO_THE_APP))


def test_every_room_was_found() -> None:
    assert {name_of(path).split(".")[0] for path in MODULES} == set(ROOMS) and len(MODULES) > 40


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_arrows_of_the_picture_hold(path: Path) -> None:
    ours = [imported for imported in imports(path) if imported.split(".")[0] in ROOMS]
    assert [imported for imported in ours if not allowed(name_of(path), imported)] == []
    if name_of(path) in PURE:
        assert [imported for imported in imports(path) if {imported, imported.rpartition(".")[0]} & IMPURE] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_settings_read_the_environment_and_files_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.name != "settings.py":
        names = {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
        assert not names & {"environ", "getenv", "environb", "getenvb"}
    assert text.count("\n") <= 400
