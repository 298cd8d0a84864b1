"""What can go wrong, by the names that callers see as `error.kind` (docs/troubleshooting.md)."""

import signal
from dataclasses import dataclass

NOT_ASKED = " (not asked)"  # ends the message of an agent that was spared a backend that is away


def docs_link(kind: str) -> str:
    """Where people read on about this kind of failure."""
    return f"docs/troubleshooting.md#{kind}"


class HfcalError(Exception):
    """A failure that a person can act on.

    Attributes:
        kind: One of the documented `error.kind` words.
        message: What happened, to whom, and what to do next.
        setting: The key that it is about, if it is a value that isn't allowed.
        variable: The environment variable that holds that value, if one does.
    """

    kind = "internal"
    setting = ""
    variable = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UsageError(HfcalError):
    """A word on the command line, or in the environment, that hfcal can't take."""

    kind = "usage"


class ConfigError(HfcalError):
    """The settings are missing something or hold a value that isn't allowed."""

    kind = "config"


class UnreadableConfigError(ConfigError):
    """Nothing of the config file can be read, so what it says isn't known."""


class StateError(HfcalError):
    """The state file can't be used."""

    kind = "state"


class DamagedStateError(StateError):
    """The state file is no state; the next tick sets it aside."""


class LockedError(StateError):
    """The state was locked for longer than `--lock-timeout`."""

    kind = "locked"


class InterruptedByUserError(BaseException):
    """A signal ended the command before it was done; nothing that catches failures catches it.

    Attributes:
        kind: `interrupted`, as `error.kind`.
        message: For people.
        number: Which signal.
    """

    kind = "interrupted"

    def __init__(self, number: int) -> None:
        self.message = f"stopped by {signal.Signals(number).name} before it was done"
        super().__init__(self.message)
        self.number = number


class NoActiveSlotError(HfcalError):
    """The agent has no active slot."""

    kind = "no_active_slot"


class AmbiguousAgentError(HfcalError):
    """Several agents are active and none was named."""

    kind = "ambiguous_agent"


class WrongSlotError(HfcalError):
    """`--slot` names another slot than the active one."""

    kind = "wrong_slot"


class DeclinedError(HfcalError):
    """The person who was asked said no, or nothing; nothing was done."""

    kind = "declined"

    def __init__(self) -> None:
        super().__init__("nothing was changed")


class UnknownAgentError(HfcalError):
    """The state knows no such agent."""

    kind = "unknown_agent"


@dataclass(frozen=True)
class Fault:
    """Why one exchange with the backend, or one wake, failed.

    Attributes:
        kind: `unreachable`, `timeout`, `not_bound`, `unauthorized`, `rejected`, `server_error`,
            `bad_response`, `wake_failed` or `internal`.
        message: For people; never empty, free of control characters and secrets.
        http_status: The status answered, if there was one.
        retry_after: Seconds that the backend asked to wait, if it did.
        maybe_done: Whether the request may have taken effect all the same.
    """

    kind: str
    message: str
    http_status: int | None = None
    retry_after: float | None = None
    maybe_done: bool = False

    def document(self) -> dict[str, object]:
        """The fault as `error` in JSON output."""
        return {"kind": self.kind, "message": self.message, "http_status": self.http_status}


class BridgeError(Exception):
    """An exchange with the backend failed; `fault` says how."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault
