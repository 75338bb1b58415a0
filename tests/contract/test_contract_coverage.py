"""Every endpoint of the contract is met by a test."""

from __future__ import annotations

import importlib
from pathlib import Path

from endpoints import ENDPOINTS


def promised() -> set[str]:
    """What the marks of all tests of this folder name, whichever of them are run."""
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for test in vars(importlib.import_module(path.stem)).values():
            marks = getattr(test, "pytestmark", []) if callable(test) else []
            found.update(endpoint for mark in marks if mark.name == "covers" for endpoint in mark.args)
    return found


def test_every_endpoint_is_covered() -> None:
    assert sorted(ENDPOINTS - promised()) == []


def test_no_test_covers_what_is_no_endpoint() -> None:
    assert sorted(promised() - ENDPOINTS) == []
