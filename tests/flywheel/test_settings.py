"""Settings come from the environment, once."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from flywheel.errors import InputError
from flywheel.settings import LOCAL_BASE_MODEL, NVIDIA_BASE_MODEL, Settings

URLS = {"NEMO_URL": "http://nemo.test", "NDS_URL": "http://nds.test", "NIM_URL": "http://nim.test"}


def test_without_urls_the_local_platform_is_used() -> None:
    settings = Settings.from_environment({})
    assert settings.local and settings.base_model == LOCAL_BASE_MODEL and settings.namespace == "flywheel"
    assert settings.home.is_absolute()


def test_with_urls_the_services_are_used() -> None:
    settings = Settings.from_environment({**URLS, "NMS_NAMESPACE": "team", "NVIDIA_API_KEY": "s3cret"})
    assert not settings.local and settings.base_model == NVIDIA_BASE_MODEL and settings.namespace == "team"
    assert settings.api_key == "s3cret" and "s3cret" not in repr(settings)


def test_an_empty_variable_is_an_unset_one() -> None:
    assert Settings.from_environment({"NEMO_URL": "", "BASE_MODEL": "", "FLYWHEEL_HOME": ""}) == Settings.from_environment({})


@pytest.mark.parametrize("missing", [*URLS])
def test_some_urls_but_not_all_is_refused_by_name(missing: str) -> None:
    with pytest.raises(InputError, match=f"{missing} not set"):
        Settings.from_environment({name: url for name, url in URLS.items() if name != missing})


def test_a_platform_that_has_started_gives_its_addresses() -> None:
    settings = Settings.from_environment({"BASE_MODEL": "mine"}).with_urls("a", "b", "c")
    assert (settings.nemo_url, settings.nds_url, settings.nim_url, settings.base_model) == ("a", "b", "c", "mine")


def test_the_state_folder_is_made_for_this_user_only(tmp_path: Path) -> None:
    settings = Settings.from_environment({"FLYWHEEL_HOME": str(tmp_path / "deep" / "home")}).prepare()
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    inside = (settings.store_path, settings.runs_path, settings.platform_home)
    assert len(set(inside)) == 3 and all(path.parent == settings.home for path in inside)


def test_a_state_folder_that_cannot_be_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="set FLYWHEEL_HOME to a folder of yours"):
        Settings.from_environment({"FLYWHEEL_HOME": str(tmp_path / "file" / "home")}).prepare()
