"""What doctor tells of agents: those whose wakes fail, those that are gone, many that are alike."""

from __future__ import annotations

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.test_doctor import found


def test_a_wake_that_fails_is_told(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """With agent, slot, how often and by what; it is well when the wake is."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.on_wake("echo no such model >&2; exit 3")
    host.tick()
    fails = found(host)["wake-fails"]
    assert fails["severity"] == "warning"
    assert fails["message"].startswith("agent developer: slot 4: the wake failed once: ")
    assert "no such model" in fails["message"]
    assert fails["fix"] == "hfcal wake test --agent developer"
    host.on_wake("")
    text = host.state.read_text("utf-8")
    host.state.write_text(text.replace('"not_before":17', '"not_before":16'), encoding="utf-8")
    host.tick()
    assert found(host) == {}


def test_an_agent_stays_gone_until_it_is_forgotten(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Not for one tick alone; with what forgetting it would lose."""
    agents = ["developer", "-operator"]
    backend = make_backend(agents=agents, slots=[{"agent": "-operator", "id": 4}])
    host = make_host(backend, *agents)
    host.tick()
    host.configure(agents=["developer"])
    for _ in range(2):
        gone = found(host)["agent-gone"]
        assert "-operator" in gone["message"]
        assert "slot 4 is ongoing" in gone["message"]
        assert "--drop" in gone["message"]
        assert gone["fix"] == "hfcal forget -- -operator"
        host.tick()
    host.ok("complete", "--agent", "-operator")
    assert "--drop" not in found(host)["agent-gone"]["message"]
    host.ok("forget", "--yes", "--", "-operator")
    assert found(host) == {}


def test_agents_of_a_variable_make_no_agent_of_the_last_tick_gone(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """cron has variables of its own."""
    host = make_host(make_backend(agents=["a", "b"]), "a", "b")
    host.tick()
    host.env["HFCAL_AGENTS"] = "a"
    assert found(host) == {}
    host.tick()
    assert "b" in found(host)["agent-gone"]["message"]


def test_what_is_alike_but_for_the_agents_is_told_once(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """With a few names and the number; in JSON each agent has its own."""
    agents = [f"agent-{n:03}" for n in range(100)]
    backend = make_backend(agents=[{"id": a, "bound": False} for a in agents])
    host = make_host(backend, *agents)
    host.tick()
    lines = host.run("doctor", "--quiet").stdout.splitlines()
    assert len(lines) == 4
    assert "agent-000, agent-001, agent-002 and 97 more: the agent is not bound" in lines[0]
    assert lines[-1] == "100 problems"
    findings = host.run("doctor", "--json").json["findings"]
    each = [f for f in findings if f["code"] == "agent-unbound"]
    assert [f["agent_id"] for f in each] == agents
    assert all(f["message"].startswith(f"agent {f['agent_id']} is not bound") for f in each)
    host.configure(agents=["agent-000"])
    host.tick()
    (gone,) = [line for line in host.run("doctor").stdout.splitlines() if "remembered" in line]
    assert "agent-001, agent-002, agent-003 and 96 more: it is remembered" in gone
    assert "hfcal forget agent-001  # and so for each" in host.run("doctor").stdout
