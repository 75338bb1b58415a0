"""NVIDIA NeMo microservices as the flywheel uses them; with intake_client.py and probe.py the only speaker to them.

services.py speaks the 25.x line (v1); what speaks to a newer line stands beside it.
"""

from flywheel.nemo.jobs import JobState, JobStatus, TrainingState
from flywheel.nemo.services import METRICS, Nemo, Sample

__all__ = ["METRICS", "JobState", "JobStatus", "Nemo", "Sample", "TrainingState"]
