"""What jobs share goes when another takes its place: a sweep over networks holds one of them."""

from __future__ import annotations

import gc
import weakref

from headstart.runtime import shared


class Network:
    """Something that a weak reference can watch."""


def use(name: str) -> weakref.ref[Network]:
    """What a job does: take the network, and derive something that holds it."""
    network = shared.share("network", name, Network)
    shared.let_derive(network)
    made = shared.derive(network, "split", 0, lambda: [network])
    assert made == [network]
    return weakref.ref(network)


def is_gone(network: weakref.ref[Network]) -> bool:
    gc.collect()
    return network() is None


def test_a_network_is_kept_from_job_to_job_until_another_takes_its_place() -> None:
    with shared.between_jobs():
        first = use("a")
        assert use("a")() is first() is not None
        assert shared.derive(first(), "split", 0, list) == [first()], "derived once"
        second = use("b")
        assert is_gone(first)
        shared.forget()
        assert is_gone(second)
        third = use("c")
    assert is_gone(third)


def test_a_single_run_keeps_nothing() -> None:
    assert is_gone(use("a"))
