"""What can go wrong, named by who must act. Each message says what, which and what to do.

FlywheelError
├── InputError       the person mends what they gave: a file, a correction, an option
├── NotFound         there is no such conversation, turn, run or model
├── Conflict         not now: something else is under way, or it was already decided
├── PlatformError    a NeMo service cannot be reached or refused the request
└── StorageError     the state folder cannot be written: disk full, no permission
"""


class FlywheelError(Exception):
    """Base of everything that is shown to a person as a sentence, without a traceback."""


class InputError(FlywheelError):
    """What was given cannot be used."""


class NotFound(FlywheelError):
    """The thing asked for does not exist, or belongs to somebody else."""


class Conflict(FlywheelError):
    """The action does not fit the present state."""


class PlatformError(FlywheelError):
    """A NeMo service failed, is unreachable, or refused."""


class StorageError(FlywheelError):
    """The state could not be written; nothing of the failed change was kept."""
