"""The `command` adapter: starts a program, never through a shell (docs/wake.md, command)."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hfcal.config.table import WakeTable
from hfcal.core.records import Wake
from hfcal.text import file_name, json_line, one_line
from hfcal.wake.adapter import ServiceRequirements, WakeError
from hfcal.wake.logs import bound_logs, open_log

DEFAULT_TIMEOUT = 30.0
_GRACE = 2.0  # seconds between TERM and KILL
_GLANCE = 0.2  # seconds between two looks at `stop`
_AT_ONCE = 1.0  # seconds within which a detached command that fails is a failed wake
_TAIL = 2000  # bytes of output that a reason is taken from
_PLACEHOLDER = re.compile(r"\{(agent_id|slot|source|message)\}")


@dataclass(frozen=True)
class CommandAdapter:
    """Starts `command`, and waits for it or lets it go on.

    Attributes:
        command: The program and its arguments, with placeholders.
        log_dir: Where the output of a detached command goes.
        detach: Whether it outlives the tick.
        timeout: Seconds it may take, when it is waited for.
    """

    command: tuple[str, ...]
    log_dir: Path
    detach: bool = False
    timeout: float = DEFAULT_TIMEOUT

    @classmethod
    def from_table(cls, table: WakeTable, log_dir: Path) -> CommandAdapter:
        """Read the adapter's part of a wake table.

        Raises:
            ConfigError: Something in it isn't allowed.
        """
        command = tuple(table.words("command"))
        detach = table.one_of("mode", ("wait", "detach"), "wait") == "detach"
        timeout = table.seconds("timeout", DEFAULT_TIMEOUT, least=0.1, most=3600)
        return cls(command, table.path("log_dir", log_dir), detach, timeout)

    def needs(self) -> ServiceRequirements:
        """Time for the command, or for the look at a detached one; it runs inside the service."""
        if self.detach:
            return ServiceRequirements(_AT_ONCE, programs=True, writes=(self.log_dir,))
        return ServiceRequirements(self.timeout + 2 * _GRACE, programs=True)

    def wake(self, agent_id: str, wake: Wake, stop: threading.Event) -> None:
        """Start the command; exit 0 in time is success, or none but 0 within 1 s when detached.

        Raises:
            WakeError: It can't be started, exits otherwise, or takes too long.
        """
        if stop.is_set():
            raise WakeError("hfcal was told to stop before the command was started")
        try:
            # Files, not pipes: a child that doesn't read, or a grandchild that keeps its output
            # open, holds up nobody.
            with tempfile.TemporaryFile() as given, self._output(agent_id, wake) as output:
                process = self._start(agent_id, wake, given, output)
                if self.detach:
                    self._look(process, output)
                else:
                    self._wait(process, output, stop)
        except OSError as error:
            hint = "; leave {message} out, then it comes on stdin" * (error.errno == errno.E2BIG)
            raise WakeError(f"cannot start {self.command[0]}: {error.strerror}{hint}") from error

    def tidy(self, agent_id: str) -> None:
        """Bound the logs of a detached command."""
        if self.detach:
            bound_logs(self.log_dir / file_name(agent_id))

    def _output(self, agent_id: str, wake: Wake) -> IO[bytes]:
        """Where the command's output goes: a detached one outlives us, and so must its log."""
        if not self.detach:
            return tempfile.TemporaryFile()
        folder = self.log_dir / file_name(agent_id)
        try:
            return open_log(folder, f"{file_name(wake.slot)}.log")
        except OSError as error:
            place = error.filename or folder
            raise WakeError(f"cannot log to {place}: {error.strerror}; see log_dir") from error

    def _start(
        self, agent_id: str, wake: Wake, given: IO[bytes], output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        parts = {
            "agent_id": agent_id,
            "slot": wake.slot,
            "source": wake.source,
            "message": wake.message,
        }
        arguments = [_PLACEHOLDER.sub(lambda m: parts[m[1]], word) for word in self.command]
        if not any("{message}" in word for word in self.command):
            given.write(wake.message.encode("utf-8", "surrogateescape"))
            given.seek(0)
        try:
            return subprocess.Popen(
                arguments,
                stdin=given,
                stdout=output,
                stderr=output,
                env=_environment(agent_id, wake),
                start_new_session=True,
            )
        except ValueError as error:
            raise WakeError(f"cannot start {one_line(arguments[0], 200)}: {error}") from error

    def _look(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        """See whether a detached command fails at once."""
        try:
            status = process.wait(_AT_ONCE)
        except subprocess.TimeoutExpired:
            # It goes on without us; in `watch` somebody has to take note of its end.
            threading.Thread(target=process.wait, daemon=True).start()
        else:
            self._judge(status, output)

    def _wait(
        self, process: subprocess.Popen[bytes], output: IO[bytes], stop: threading.Event
    ) -> None:
        deadline = time.monotonic() + self.timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or stop.is_set():
                _end_group(process)
                raise WakeError(self._too_long(stopped=left > 0) + _tail(output))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._judge(process.wait(min(_GLANCE, left)), output)
                return

    def _judge(self, status: int, output: IO[bytes]) -> None:
        if status > 0:
            raise WakeError(f"{self.command[0]} exited with {status}{_tail(output)}")
        if status < 0:
            raise WakeError(f"{self.command[0]} was killed by {_name(-status)}{_tail(output)}")

    def _too_long(self, *, stopped: bool) -> str:
        if stopped:
            return f"{self.command[0]} was still running when hfcal was told to stop"
        return (
            f"{self.command[0]} took longer than {self.timeout:g} s; "
            'a command that is the agent itself wants mode = "detach"'
        )


def _environment(agent_id: str, wake: Wake) -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if k != "HFCAL_API_KEY"}
    environment |= {
        "HFCAL_AGENT_ID": agent_id,
        "HFCAL_SLOT": wake.slot,
        "HFCAL_SOURCE": wake.source,
        "HFCAL_SLOT_JSON": json_line(wake.details),
        "HFCAL_IDEMPOTENCY_KEY": wake.key,
    }
    return environment


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the command and all that it started in its session: TERM, then KILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)


def _tail(output: IO[bytes]) -> str:
    """The end of the command's output, as `: text`; empty when it said nothing."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TAIL))
    text = one_line(output.read().decode("utf-8", "replace"), 10_000)
    return f": {text[-300:]}" if text else ""


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
