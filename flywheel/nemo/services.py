"""The 25.x line of the services behind one class.

Data Store, Entity Store, Customizer, Evaluator and NIM through their official clients, each verb safe to repeat. Whatever a
client raises becomes a PlatformError. Knows nothing of runs' records, of people or of what a row means; whether the services
are NVIDIA's or the local platform makes no difference here.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import httpx
import nemo_microservices
import openai
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError
from nemo_microservices import NeMoMicroservices
from nemo_microservices.types.evaluation import EvaluationJob

from flywheel.errors import PlatformError
from flywheel.nemo.hub import hub_client
from flywheel.nemo.jobs import JobState, TrainingState, created_once, told_id, took_by, training_state, with_gpus
from flywheel.settings import Settings
from flywheel.transport import PATIENT, Patience, behind_proxy, spoken_to

PROJECT = "flywheel"

EVALUATION_TASK = "custom-tool-calling"
EVALUATION_METRIC = "tool-calling-accuracy"
METRICS = ("function_name_accuracy", "function_name_and_args_accuracy")
"""NVIDIA's two scores of tool calling: the right functions, and the right functions with the right arguments."""

Sample = dict[str, Any]
"""One row of an evaluation's rows.jsonl, as the Evaluator wrote it."""


class Nemo:
    """The services of one installation, for one namespace. Safe from several threads. Every verb raises PlatformError."""

    def __init__(self, settings: Settings, patience: Patience = PATIENT) -> None:
        """Make the clients; nothing is sent yet. The settings must name all three services."""
        if not (settings.nemo_url and settings.nds_url and settings.nim_url):
            raise PlatformError("no services are named: start the local platform first, or set NEMO_URL, NDS_URL and NIM_URL")
        self._settings = settings
        self._nds_url = settings.nds_url.rstrip("/")
        proxied = behind_proxy(settings.nemo_url, settings.nds_url, settings.nim_url)
        timeout, retries = httpx.Timeout(patience.read, connect=patience.connect), patience.retries
        self._http = httpx.Client(timeout=timeout, follow_redirects=True, trust_env=proxied)
        self._nemo = NeMoMicroservices(
            base_url=settings.nemo_url, inference_base_url=settings.nim_url, max_retries=retries, timeout=timeout,
            http_client=httpx.Client(timeout=timeout, follow_redirects=True, trust_env=proxied),
        )  # fmt: skip
        # For jobs, which the client must not send again by itself: what was answered with an error may have begun all the same.
        self._nemo_once = self._nemo.with_options(max_retries=0)
        self._nim = openai.OpenAI(
            base_url=f"{settings.nim_url.rstrip('/')}/v1", api_key=settings.api_key or "none", max_retries=retries,
            timeout=openai.Timeout(patience.read, connect=patience.connect),
            http_client=openai.DefaultHttpxClient(trust_env=proxied),
        )  # fmt: skip
        self._hub = hub_client(f"{self._nds_url}/v1/hf", timeout, proxied)

    def close(self) -> None:
        """Close all connections."""
        self._nemo.close()
        self._nim.close()
        self._http.close()

    # Entity Store and Data Store -------------------------------------------------------------------------------------

    def ensure_namespace(self) -> None:
        """Create our namespace in both stores unless it is there."""
        namespace = self._settings.namespace
        with spoken_to("Entity Store", self._settings.nemo_url, f"create the namespace {namespace!r}"):
            try:
                self._nemo.namespaces.create(id=namespace)
            except nemo_microservices.ConflictError:
                pass
            except nemo_microservices.UnprocessableEntityError as refusal:  # some versions' word for: it exists
                try:
                    self._nemo.namespaces.retrieve(namespace)
                except nemo_microservices.NotFoundError:
                    raise refusal from None
        with spoken_to("Data Store", self._nds_url, f"create the namespace {namespace!r}"):
            url = f"{self._nds_url}/v1/datastore/namespaces"
            response = self._http.post(url, data={"namespace": namespace})
            existed = response.status_code == 409 or (
                response.status_code == 422 and self._http.get(f"{url}/{namespace}").is_success
            )
            if not existed:
                response.raise_for_status()

    def upload(self, dataset_name: str, files: Mapping[str, bytes]) -> str:
        """Put files (path in the repo → content) into a data set of our namespace and register it; returns its `hf://` URL.

        Repeating it leaves one repo with these contents.
        """
        repo = f"{self._settings.namespace}/{dataset_name}"
        with spoken_to("Data Store", self._nds_url, f"upload the data set {repo!r}"):
            # The client stumbles (ValueError, KeyError) over addresses that NVIDIA's Data Store leaves empty or words otherwise,
            # after the deed was done; whether it was, the list of files tells.
            with suppress(ValueError, KeyError):
                self._create_repo(repo)
            # File objects, not bytes: a store that wants large files by LFS is then served by LFS.
            additions = [CommitOperationAdd(path, io.BytesIO(content)) for path, content in files.items()]
            try:
                with suppress(ValueError):
                    self._hub.create_commit(repo, additions, commit_message="flywheel", repo_type="dataset")
            except RuntimeError as error:  # the client's wrapping of whatever kept a large file from being sent
                raise error.__cause__ or error from None
            missing = files.keys() - set(self._hub.list_repo_files(repo, repo_type="dataset"))
            if missing:
                raise ValueError(f"{sorted(missing)!r} did not arrive")
        return self._register_dataset(dataset_name, f"hf://datasets/{repo}")

    def _create_repo(self, repo: str) -> None:
        try:
            self._hub.create_repo(repo, repo_type="dataset")
        except HfHubHTTPError as error:  # the client's own exist_ok wants an address in the refusal, as the public hub gives
            if error.response is None or error.response.status_code != 409:
                raise

    def _register_dataset(self, name: str, files_url: str) -> str:
        namespace = self._settings.namespace
        with spoken_to("Entity Store", self._settings.nemo_url, f"register the data set {namespace}/{name!r}"):
            try:
                self._nemo.datasets.create(name=name, namespace=namespace, files_url=files_url, project=PROJECT)
            except nemo_microservices.ConflictError:
                self._nemo.datasets.update(name, namespace=namespace, files_url=files_url)
        return files_url

    def remove_dataset(self, name: str) -> None:
        """Delete a data set of our namespace from both stores; one that is gone stays gone."""
        with spoken_to("Entity Store", self._settings.nemo_url, f"delete the data set {name!r}"):
            with suppress(nemo_microservices.NotFoundError):
                self._nemo.datasets.delete(name, namespace=self._settings.namespace)
        self._remove_repo(f"{self._settings.namespace}/{name}", "dataset")

    def remove_model(self, model: str) -> None:
        """Delete an output model (`ns/name@version`): it is served no more, and its adapter is gone."""
        namespace, _, name = model.partition("/")
        with spoken_to("Entity Store", self._settings.nemo_url, f"delete the model {model!r}"):
            with suppress(nemo_microservices.NotFoundError):
                self._nemo.models.delete(name, namespace=namespace)
        self._remove_repo(model.partition("@")[0], "model")

    def _remove_repo(self, repo: str, kind: str) -> None:
        with spoken_to("Data Store", self._nds_url, f"delete the {kind} repo {repo!r}"):
            try:
                self._hub.delete_repo(repo, repo_type=kind)
            except HfHubHTTPError as error:
                if error.response is None or error.response.status_code != 404:
                    raise

    # Customizer ------------------------------------------------------------------------------------------------------

    def customization_config(self, training_type: str = "sft") -> str:
        """The config to train with: the one in the settings, or the first that is made for the base model."""
        if self._settings.customization_config:
            return self._settings.customization_config
        base, names = self._settings.base_model, self.customization_configs(training_type)
        for name in names:
            if name.partition("@")[0] == base:
                return name
        known = ", ".join(names) or "none"
        hint = f"there are {known}. Set CUSTOMIZATION_CONFIG or BASE_MODEL"
        raise PlatformError(f"no customization config for {base!r} that offers {training_type} with LoRA; {hint}")

    def customization_configs(self, training_type: str = "sft") -> list[str]:
        """Names (`ns/name@version`) of the configs that offer what we ask for, with LoRA, or do not say what they offer."""
        with spoken_to("Customizer", self._settings.nemo_url, "list its configs"):
            found = list(self._nemo.customization.configs.list())
            offers = {f"{one.namespace}/{one.name}": [(o.training_type, o.finetuning_type) for o in one.training_options or []]
                      for one in found}  # fmt: skip
        return [name for name, offer in offers.items() if not offer or (training_type, "lora") in offer]

    def create_training(self, run_id: str, dataset_name: str, output_model: str, hyperparameters: Mapping[str, Any]) -> str:
        """Submit a customization job and return its id; a job that makes this output model already is not submitted again."""
        namespace = self._settings.namespace

        def create() -> str:
            config = self.customization_config(str(hyperparameters.get("training_type", "sft")))
            with spoken_to("Customizer", self._settings.nemo_url, f"train {output_model!r} on {namespace}/{dataset_name!r}"):
                job = self._nemo_once.customization.jobs.create(
                    config=config, name=run_id, namespace=namespace, project=PROJECT, output_model=output_model,
                    dataset={"name": dataset_name, "namespace": namespace}, hyperparameters=hyperparameters,  # type: ignore[arg-type]
                )  # fmt: skip
                return told_id(job.id, "Customizer")

        return created_once(lambda: self.training_of(output_model), create)

    def training_of(self, output_model: str) -> str | None:
        """The id of the customization job that makes this model, or None."""
        with spoken_to("Customizer", self._settings.nemo_url, "list its jobs"):
            ours: Any = {"namespace": self._settings.namespace}
            jobs = self._nemo.customization.jobs.list(filter=ours, sort="-created_at", page_size=100)
            return next((job.id for job in jobs if job.output_model == output_model), None)

    def training(self, job_id: str) -> TrainingState:
        """The state of a customization job."""
        with spoken_to("Customizer", self._settings.nemo_url, f"tell the status of the job {job_id!r}"):
            details = self._nemo.customization.jobs.status(job_id)
            state = training_state(details)
            if state.finished:
                with suppress(nemo_microservices.NotFoundError):  # what it took is no reason to lose what it made
                    return with_gpus(state, details, self._nemo.customization.jobs.retrieve(job_id))
            return state

    def cancel_training(self, job_id: str) -> None:
        """Cancel a customization job; one that has ended stays as it is."""
        with spoken_to("Customizer", self._settings.nemo_url, f"cancel the job {job_id!r}"):
            try:
                self._nemo.customization.jobs.cancel(job_id)
            except (nemo_microservices.ConflictError, nemo_microservices.BadRequestError):
                pass  # it has ended

    # Evaluator -------------------------------------------------------------------------------------------------------

    def create_evaluation(self, run_id: str, label: str, model: str, files_url: str, limit: int) -> str:
        """Submit an evaluation of a model's tool calls on the first `limit` rows of a file; returns the job's id.

        files_url: `hf://datasets/<ns>/<name>/<path>` of NeMo evaluation rows. The same run and label again gives the same job.
        """
        description = f"{run_id}/{label}"

        def create() -> str:
            with spoken_to("Evaluator", self._settings.nemo_url, f"evaluate {model!r} on {files_url!r}"):
                job = self._nemo_once.evaluation.jobs.create(
                    config=_evaluation_config(files_url, limit), target={"type": "model", "model": model},
                    namespace=self._settings.namespace, project=PROJECT, description=description,
                )  # fmt: skip
                return told_id(job.id, "Evaluator")

        return created_once(lambda: self._evaluation_of(description), create)

    def _evaluation_of(self, description: str) -> str | None:
        with spoken_to("Evaluator", self._settings.nemo_url, "list its jobs"):
            return next((job.id for job in self._evaluations() if job.description == description), None)

    def _evaluations(self) -> Iterable[EvaluationJob]:
        """Our evaluation jobs, newest first, page by page."""
        ours: Any = {"namespace": self._settings.namespace}
        return self._nemo.evaluation.jobs.list(filter=ours, sort="-created_at", page_size=100)

    def cancel_evaluations(self, run_id: str) -> None:
        """Cancel a run's evaluation jobs; those that have ended stay as they are."""
        with spoken_to("Evaluator", self._settings.nemo_url, f"cancel the jobs of {run_id!r}"):
            for job in self._evaluations():
                if (job.description or "").startswith(f"{run_id}/") and job.status in ("created", "pending", "running"):
                    with suppress(nemo_microservices.ConflictError, nemo_microservices.BadRequestError):  # it ended meanwhile
                        self._nemo.evaluation.jobs.cancel(told_id(job.id, "Evaluator"))

    def evaluation(self, job_id: str) -> JobState:
        """The state of an evaluation job."""
        with spoken_to("Evaluator", self._settings.nemo_url, f"tell the status of the job {job_id!r}"):
            job = self._nemo.evaluation.jobs.retrieve(job_id)
            details = job.status_details
            percent, message = (details.progress, details.message) if details else (None, None)
            return JobState(job.status or "unknown", percent or 0.0, message or "", took=took_by(details))

    def evaluation_scores(self, job_id: str) -> dict[str, float]:
        """METRICS of a completed evaluation, each 0-1."""
        with spoken_to("Evaluator", self._settings.nemo_url, f"give the results of the job {job_id!r}"):
            result = self._nemo.evaluation.jobs.results(job_id)
            try:
                metric = result.to_dict()["tasks"][EVALUATION_TASK]["metrics"][EVALUATION_METRIC]  # type: ignore[index]
                return {name: float(metric["scores"][name]["value"]) for name in METRICS}
            except (KeyError, TypeError) as error:
                raise ValueError(f"the results lack {error}") from error

    def evaluation_samples(self, job_id: str) -> list[Sample] | None:
        """What the Evaluator recorded for each row (rows.jsonl in the results' zip), or None where it records no rows."""
        with spoken_to("Evaluator", self._settings.nemo_url, f"give the rows of the job {job_id!r}"):
            archive = self._nemo.evaluation.jobs.download_results(job_id).read()
            try:
                with zipfile.ZipFile(io.BytesIO(archive)) as files:
                    names = [name for name in files.namelist() if name.rsplit("/")[-1] == "rows.jsonl"]
                    lines = files.read(names[0]).decode("utf-8").splitlines() if names else None
            except zipfile.BadZipFile as error:
                raise ValueError("the results are no zip archive") from error
        return None if lines is None else [json.loads(line) for line in lines if line.strip()]

    # NIM -------------------------------------------------------------------------------------------------------------

    def model_ids(self) -> list[str]:
        """Ids of the models that NIM serves, the base first."""
        with spoken_to("NIM", self._settings.nim_url, "list its models"):
            return [model.id for model in self._nim.models.list()]

    def predict(self, model: str, messages: list[Any], tools: list[Any]) -> tuple[list[dict[str, Any]], int | None]:
        """The tool calls ({function: {name, arguments: JSON string}}) with which a model answers; [] where it answers in text.

        With them the tokens that it wrote, if NIM says how many.
        """
        offer: dict[str, Any] = {"tools": tools, "tool_choice": "auto"} if tools else {}
        with spoken_to("NIM", self._settings.nim_url, f"let {model!r} answer"):
            reply = self._nim.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=512, **offer)
        calls = reply.choices[0].message.tool_calls or []
        return [call.model_dump() for call in calls], reply.usage.completion_tokens if reply.usage else None


def _evaluation_config(files_url: str, limit: int) -> Any:
    """NVIDIA's custom tool-calling evaluation, one sample a row."""
    task = {
        "type": "chat-completion",
        "dataset": {"files_url": files_url, "limit": limit},
        "params": {
            "template": {"messages": "{{ item.messages | tojson }}", "tools": "{{ item.tools | tojson }}", "tool_choice": "auto"}
        },
        "metrics": {
            EVALUATION_METRIC: {"type": "tool-calling", "params": {"tool_calls_ground_truth": "{{ item.tool_calls | tojson }}"}}
        },
    }
    return {"type": "custom", "tasks": {EVALUATION_TASK: task}}
