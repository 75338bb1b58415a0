"""Settings of the flywheel: one frozen object, built once from the environment.

The only module of this package that reads the environment. Names are NVIDIA's own where they exist
(NEMO_URL, NDS_URL, NIM_URL, NMS_NAMESPACE, BASE_MODEL, NVIDIA_API_KEY). Knows nothing of the services behind the URLs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from platformdirs import user_data_path

from flywheel.errors import InputError

LOCAL_BASE_MODEL = "local/tool-llama-5m"
NVIDIA_BASE_MODEL = "meta/llama-3.2-1b-instruct"


@dataclass(frozen=True)
class Settings:
    """Where the state lies and which services are used.

    home: state folder, created with mode 0700.
    nemo_url, nds_url, nim_url: Entity Store/Customizer/Evaluator, Data Store, inference; all None = the local platform.
    namespace: the NeMo namespace of datasets and output models.
    base_model: id of the model that is fine-tuned.
    customization_config: `ns/name@version`; None = the first config whose name begins with the base model.
    teacher_model, teacher_url: model that may suggest corrections (through langchain-nvidia-ai-endpoints); None = none.
    content_safety_url: a content-safety NIM that the chat's rails ask besides the offline ones; None = none.
    webhook_secret: what a webhook's bodies are signed with; "" = they are not.
    """

    home: Path
    nemo_url: str | None = None
    nds_url: str | None = None
    nim_url: str | None = None
    namespace: str = "flywheel"
    base_model: str = LOCAL_BASE_MODEL
    customization_config: str | None = None
    teacher_model: str | None = None
    teacher_url: str | None = None
    content_safety_url: str | None = None
    api_key: str = field(default="", repr=False)
    webhook_secret: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the environment. Raises InputError where only some of the three URLs are set."""
        env = {name: value for name, value in (os.environ if environment is None else environment).items() if value}
        urls = {name: env.get(name) for name in ("NEMO_URL", "NDS_URL", "NIM_URL")}
        missing = [name for name, url in urls.items() if not url]
        if 0 < len(missing) < 3:
            names = " and ".join(missing)
            raise InputError(f"{names} not set: set all of NEMO_URL, NDS_URL and NIM_URL, or none for the local platform")
        default_base = LOCAL_BASE_MODEL if missing else NVIDIA_BASE_MODEL
        return cls(
            home=Path(env.get("FLYWHEEL_HOME") or user_data_path("flywheel-chat", appauthor=False)).expanduser().absolute(),
            nemo_url=urls["NEMO_URL"],
            nds_url=urls["NDS_URL"],
            nim_url=urls["NIM_URL"],
            namespace=env.get("NMS_NAMESPACE", "flywheel"),
            base_model=env.get("BASE_MODEL", default_base),
            customization_config=env.get("CUSTOMIZATION_CONFIG"),
            teacher_model=env.get("TEACHER_MODEL"),
            teacher_url=env.get("TEACHER_URL"),
            content_safety_url=env.get("CONTENT_SAFETY_URL"),
            api_key=env.get("NVIDIA_API_KEY", ""),
            webhook_secret=env.get("WEBHOOK_SECRET", ""),
        )

    @property
    def local(self) -> bool:
        """Whether the local platform is to be used, since no service is named."""
        return self.nemo_url is None

    def with_urls(self, nemo_url: str, nds_url: str, nim_url: str) -> Settings:
        """The same settings, with the addresses of a platform that has started."""
        return replace(self, nemo_url=nemo_url, nds_url=nds_url, nim_url=nim_url)

    def prepare(self) -> Settings:
        """Create the state folder for this user only. Raises InputError if it cannot be written."""
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.home.chmod(0o700)
        except OSError as error:
            hint = "set FLYWHEEL_HOME to a folder of yours"
            raise InputError(f"cannot use the state folder {str(self.home)!r}: {error.strerror}; {hint}") from error
        return self

    @property
    def store_path(self) -> Path:
        """SQLite file of conversations, ratings, examples, runs and models."""
        return self.home / "flywheel.db"

    @property
    def runs_path(self) -> Path:
        """SQLite file of the durable workflow engine."""
        return self.home / "runs.db"

    @property
    def platform_home(self) -> Path:
        """State folder of the local platform."""
        return self.home / "platform"
