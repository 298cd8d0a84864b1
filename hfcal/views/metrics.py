"""`hfcal metrics`: the state as Prometheus reads it; docs/metrics.md tells each metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hfcal import __version__
from hfcal.clock import Moment
from hfcal.core.health import hold_in_force, is_overdue, stale_agents
from hfcal.core.records import State

Labels = dict[str, str]


@dataclass
class _Metric:
    name: str
    kind: str
    help: str
    samples: list[tuple[Labels, float]] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in self.samples:
            shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            yield f"{self.name}{{{shown}}} {value:.15g}" if shown else f"{self.name} {value:.15g}"


def metrics_text(state: State | None, now: Moment) -> str:
    """All metrics; without a state only that there is none."""
    up = _Metric("hfcal_up", "gauge", "Whether there is a state that can be read.")
    up.samples.append(({}, float(state is not None)))
    info = _Metric("hfcal_build_info", "gauge", "The version in its label; always 1.")
    info.samples.append(({"version": __version__}, 1.0))
    metrics = [up, info]
    if state is not None:
        metrics += [*_of_ticks(state), *_of_agents(state, now)]
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def _of_ticks(state: State) -> Iterable[_Metric]:
    return [
        _Metric("hfcal_ticks_total", "counter", "Ticks begun.", [({}, state.ticks)]),
        _Metric("hfcal_wakes_total", "counter", "Wakes made.", [({}, state.wakes_made)]),
        _Metric(
            "hfcal_failed_wakes_total", "counter", "Wakes that failed.", [({}, state.wakes_failed)]
        ),
        _Metric(
            "hfcal_tick_seconds",
            "gauge",
            "From the beginning of the last tick to its last heartbeat's answer.",
            [({}, state.tick_seconds)],
        ),
        _Metric(
            "hfcal_failed_heartbeats_total",
            "counter",
            "Heartbeats that failed, by the kind of error.",
            [({"kind": kind}, count) for kind, count in state.faults.items()],
        ),
    ]


def _of_agents(state: State, now: Moment) -> Iterable[_Metric]:
    age = _Metric(
        "hfcal_heartbeat_age_seconds", "gauge", "Since the last heartbeat that was answered well."
    )
    failing = _Metric("hfcal_heartbeat_failing", "gauge", "Whether the last heartbeat failed.")
    active = _Metric("hfcal_active", "gauge", "Whether the agent has an active slot.")
    overdue = _Metric("hfcal_overdue", "gauge", "Whether its active slot runs too long.")
    queued = _Metric("hfcal_queued_updates", "gauge", "Updates that wait for the backend.")
    oldest = _Metric("hfcal_oldest_update_seconds", "gauge", "Since the oldest of them waits.")
    refused = _Metric("hfcal_refused_updates", "gauge", "Updates refused for good.")
    held = _Metric("hfcal_held", "gauge", "Whether nothing is dispatched to it, by hand.")
    late = _Metric("hfcal_stale_agents", "gauge", "Agents without a good heartbeat for too long.")
    late.samples.append(({}, len(stale_agents(state, now))))
    for agent_id, agent in state.agents.items():
        labels = {"agent": agent_id}
        if agent.good_heartbeat is not None:
            age.samples.append((labels, max(0.0, now.wall - agent.good_heartbeat)))
        failing.samples.append((labels, bool(agent.error)))
        active.samples.append((labels, agent.active is not None))
        overdue.samples.append((labels, is_overdue(agent.active, now)))
        queued.samples.append((labels, len(agent.queue)))
        since = min((update.since for update in agent.queue), default=now.wall)
        oldest.samples.append((labels, max(0.0, now.wall - since)))
        refused.samples.append((labels, len(agent.refused)))
        held.samples.append((labels, hold_in_force(agent, now) is not None))
    return [late, age, failing, active, overdue, queued, oldest, refused, held]


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
