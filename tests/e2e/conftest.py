"""Fixtures that start a simulated backend and hosts, and end them with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.host import Host
from tests.rig.backend import Backend, closed_port

MakeBackend = Callable[..., Backend]
MakeHost = Callable[..., Host]


@pytest.fixture
def make_backend() -> Iterator[MakeBackend]:
    """Starts simulated backends; by default one that knows the agent `developer`."""
    backends: list[Backend] = []

    def make(**scenario: Any) -> Backend:
        backends.append(Backend(**scenario))
        return backends[-1]

    yield make
    for backend in backends:
        backend.stop()


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[MakeHost]:
    """Makes hosts; by default with the agent `developer`, and a wake that works."""
    hosts: list[Host] = []

    def make(backend: Backend | str, *agents: str, name: str = "", **more: Any) -> Host:
        url = backend if isinstance(backend, str) else backend.url
        root = tmp_path / (name or f"host{len(hosts)}")
        hosts.append(Host(root, url, agents or ("developer",), **more))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def dead_url() -> Iterator[str]:
    """A URL that refuses connections."""
    with closed_port() as url:
        yield url


@pytest.fixture
def lone_host(make_host: MakeHost, dead_url: str) -> Host:
    """A host whose backend is away."""
    return make_host(dead_url)
