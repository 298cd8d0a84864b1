"""`hfcal metrics`, read by Prometheus' own parser."""

from __future__ import annotations

import os
import stat

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host


def samples(text: str) -> dict[tuple[str, str], float]:
    """Each sample by its name and its agent or kind."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            label = sample.labels.get("agent") or sample.labels.get("kind") or ""
            assert (sample.name, label) not in found
            found[sample.name, label] = sample.value
    return found


def metrics(host: Host) -> dict[tuple[str, str], float]:
    return samples(host.ok("metrics").stdout)


def test_what_goes_on_is_measured(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """Agents, updates, wakes, faults; an agent's id may hold what a label must escape."""
    odd = 'o"d\\d'
    backend = make_backend(
        agents=["developer", {"id": "loose", "bound": False}, odd],
        slots=[{"agent": "developer", "id": 4}],
    )
    host = make_host(backend, "developer", "loose", odd)
    host.tick()
    found = metrics(host)
    assert found["hfcal_up", ""] == 1
    assert found["hfcal_active", "developer"] == 1
    assert found["hfcal_active", odd] == 0
    assert found["hfcal_heartbeat_failing", "loose"] == 1
    assert ("hfcal_heartbeat_age_seconds", "loose") not in found
    assert 0 <= found["hfcal_heartbeat_age_seconds", "developer"] < 60
    assert found["hfcal_failed_heartbeats_total", "not_bound"] == 1
    assert found["hfcal_stale_agents", ""] == 1
    assert (found["hfcal_ticks_total", ""], found["hfcal_wakes_total", ""]) == (1, 1)
    assert 0 < found["hfcal_tick_seconds", ""] < 60
    backend.away()
    host.ok("complete")
    host.tick()
    found = metrics(host)
    assert found["hfcal_queued_updates", "developer"] == 1
    assert found["hfcal_active", "developer"] == 0
    assert found["hfcal_ticks_total", ""] == 2
    backend.well()
    host.ok("hold", "--agent", "developer")
    assert metrics(host)["hfcal_held", "developer"] == 1


def test_failed_wakes_and_refusals_are_counted(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """So that an alert can tell of them."""
    backend = make_backend(agents=["a", "b"], slots=[{"agent": a, "id": n} for n, a in ((1, "a"),)])
    host = make_host(backend, "a", "b")
    host.on_wake("exit 1")
    host.tick()
    assert metrics(host)["hfcal_failed_wakes_total", ""] == 1
    backend.add_slots({"agent": "b", "id": 2})
    host.on_wake("exit 0")
    host.tick()
    backend.fault(path="update", status=422)
    host.run("complete", "--agent", "b")
    assert metrics(host)["hfcal_refused_updates", "b"] == 1


def test_without_a_state_it_says_so(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """None yet is no failure; one that can't be read is, and the metrics tell it as well."""
    host = make_host(make_backend())
    assert metrics(host)["hfcal_up", ""] == 0
    host.tick()
    host.state.write_text("{", encoding="utf-8")
    done = host.run("metrics")
    assert (done.code, samples(done.stdout)["hfcal_up", ""]) == (6, 0)


def test_the_textfile_is_replaced_whole(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """For everybody to read, and without a trace of how it was made."""
    host = make_host(make_backend())
    host.tick()
    place = host.root / "textfiles"
    place.mkdir()
    path = place / "hfcal.prom"
    for _ in range(2):
        assert host.ok("metrics", "--textfile", str(path)).stdout == ""
    assert [p.name for p in place.iterdir()] == ["hfcal.prom"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert samples(path.read_text(encoding="utf-8"))["hfcal_up", ""] == 1
    os.mkfifo(place / "pipe")
    done = host.run("metrics", "--textfile", str(place / "pipe"))
    assert (done.code, "it is no regular file" in done.stderr) == (1, True)
    assert stat.S_ISFIFO((place / "pipe").stat().st_mode)
    done = host.run("metrics", "--textfile", str(host.root / "no" / "hfcal.prom"))
    assert done.code == 1
    assert "cannot write" in done.stderr
