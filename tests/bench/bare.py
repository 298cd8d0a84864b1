"""What hfcal is measured against: the same requests by scripts that do nothing else.

python bare.py one URL          typer, httpx, and one heartbeat
python bare.py many URL COUNT   64 threads with a client each, COUNT heartbeats
"""

import sys
import threading

import httpx

URL = sys.argv[2] if len(sys.argv) > 2 else ""


def heartbeat(client: httpx.Client, agent_id: str) -> None:
    client.post(
        f"{URL}/calendar/agent/heartbeat",
        json={"claw_identifier": "bench", "agent_id": agent_id},
        headers={"X-Claw-Identifier": "bench", "X-Agent-ID": agent_id},
    ).raise_for_status().json()


def one() -> None:
    import typer  # noqa: F401

    with httpx.Client(verify=False) as client:
        heartbeat(client, "agent-0")


def many(count: int) -> None:
    left = iter(range(count))
    guard = threading.Lock()

    def work() -> None:
        with httpx.Client(verify=False) as client:
            while True:
                with guard:
                    number = next(left, None)
                if number is None:
                    return
                heartbeat(client, f"agent-{number}")

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    if sys.argv[1] == "one":
        one()
    else:
        many(int(sys.argv[3]))
