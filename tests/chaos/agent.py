"""What a wake starts: the agent. It notes its wake; then it works on, ends at once, or fails.

Run as a script, by its path: SEED DIRECTORY, the message on stdin. It imports little, as it starts
for every wake, and what it does is told by the seed and the slot, so that a replay does the same.
"""

import os
import sys
import time
from json import dumps
from zlib import crc32


def note(path: str, **facts: object) -> None:
    """Add one line, written whole, so that a kill leaves it out or in."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (dumps(facts) + "\n").encode())
    os.close(descriptor)


def main(seed: str, directory: str) -> int:
    started = time.monotonic()
    parent = os.getppid()
    message = sys.stdin.buffer.read().decode()
    agent, slot = os.environ["HFCAL_AGENT_ID"], os.environ["HFCAL_SLOT"]
    log = os.path.join(directory, "wakes.log")  # noqa: PTH118
    chance = crc32(f"{seed} {agent} {slot}".encode()) % 100
    failed_before = os.path.join(directory, f".{agent}.{slot}.failed")  # noqa: PTH118
    fails = chance < 6 and not os.path.exists(failed_before)  # noqa: PTH110
    note(
        log,
        at=started,
        key=os.environ["HFCAL_IDEMPOTENCY_KEY"],
        agent=agent,
        slot=slot,
        message=message,
        parent=parent,
        failed=fails,
    )
    if 20 <= chance < 50:  # long enough to be killed at
        import threading

        threading.Event().wait(0.3)
    if fails:
        note(failed_before)
        return 1
    if chance >= 85:
        complete(os.path.join(directory, "said.log"), message, agent, slot)  # noqa: PTH118
    return 0


def complete(log: str, message: str, agent: str, slot: str) -> None:
    """Run the command that the message tells, as it stands there."""
    import shlex
    import subprocess

    line = next(line for line in message.splitlines() if " complete --agent " in line)
    started = time.monotonic()
    note(log, verb="complete", agent=agent, slot=slot, started=started, ended=None, code=None)
    ran = subprocess.run([*shlex.split(line), "--timeout", "1"], capture_output=True, check=False)
    note(
        log,
        verb="complete",
        agent=agent,
        slot=slot,
        started=started,
        ended=time.monotonic(),
        code=ran.returncode,
        errors=ran.stderr.decode("utf-8", "replace"),
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
