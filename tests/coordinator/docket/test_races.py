"""Many processes at one state: one chain, one holder, one value; and a process that is killed has written nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.racer import AT, COUNT, WHAT, RunState, running

MANY = 8


def start(place: Path | str, what: str, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.racer", str(place), what, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


def race(place: Path | str, what: str, count: int = 2) -> list[Any]:
    """What each of so many processes says that did this at the same time."""
    with ExitStack() as stack:
        racers = [stack.enter_context(start(place, what, f"p{number}")) for number in range(count)]
        stack.callback(lambda: [racer.kill() for racer in racers])
        assert [line(racer) for racer in racers] == ["ready"] * count
        for racer in racers:
            go(racer)
        return [json.loads(line(racer)) for racer in racers]


def in_threads(place: Path | str, act: Callable[[RunState, str], Any], count: int = MANY) -> list[Any]:
    """The same in threads, each with its own connection."""
    said: dict[int, Any] = {}
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        on = running(place)
        try:
            gate.wait(timeout=60)
            said[number] = act(on, f"p{number}")
        finally:
            on.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return [said[number] for number in range(count)]


WAYS = pytest.mark.parametrize("way", [race, in_threads], ids=["processes", "threads"])


@WAYS
def test_entries_of_many_are_one_chain(place: Path | str, way: Callable[..., list[Any]]) -> None:
    given = way(place, "append" if way is race else WHAT["append"])
    on = running(place)
    on.register.verify()
    assert sorted(seq for numbers in given for seq in numbers) == list(range(COUNT * len(given)))
    for number, mine in enumerate(given):
        assert mine == sorted(mine)
        texts = [on.register.entry(seq) for seq in mine]
        assert [(entry.study, entry.body["text"]) for entry in texts] == [(f"p{number}", str(n)) for n in range(COUNT)]
    on.close()


@pytest.mark.slow
def test_many_that_open_an_empty_place_make_one_state(place: Path | str) -> None:
    given = race(place, "open", 3)
    on = running(place)
    on.register.verify()
    assert sorted(seq for numbers in given for seq in numbers) == list(range(3 * COUNT))
    on.close()


def test_many_threads_that_open_an_empty_place_make_one_state(place: Path | str) -> None:
    in_threads(place, WHAT["append"], 4)
    on = running(place)
    on.register.verify()
    assert on.register.head()[0] == 4 * COUNT
    on.close()


@WAYS
def test_of_those_who_race_for_a_lease_one_wins(place: Path | str, way: Callable[..., list[Any]]) -> None:
    taken = way(place, "lease" if way is race else WHAT["lease"])
    assert [sum(won) for won in zip(*taken, strict=True)] == [1] * COUNT
    on = running(place)
    held = on.leases.holders()
    for number in range(COUNT):
        assert taken[int(held[f"study-{number}"][0][1:])][number]
    on.close()


def test_those_who_race_to_keep_read_one_value(place: Path | str) -> None:
    read = in_threads(place, WHAT["keep"])
    on = running(place)
    assert read == [[bytes(on.messages.read("s", f"k{n}") or b"").decode() for n in range(COUNT)]] * len(read)
    on.close()


def test_those_who_race_to_publish_once_write_once(place: Path | str) -> None:
    indices = in_threads(place, WHAT["once"])
    on = running(place)
    assert indices == [list(range(COUNT))] * len(indices)
    assert on.register.head()[0] == COUNT
    on.register.verify()
    on.close()


def test_a_process_that_is_killed_in_a_transaction_leaves_nothing_and_holds_nobody_up(place: Path | str) -> None:
    on = running(place)
    on.register.publish("refusal", "before", AT, {"rule": "x"})
    before = on.register.head()
    with start(place, "hang", "killed") as process:
        assert line(process) == "ready"
        go(process)
        assert line(process) == "written"
        assert on.register.head() == before  # readers see nothing of it, and wait for nobody
        process.kill()
        process.wait(timeout=10)
    began = time.monotonic()
    assert on.register.publish("refusal", "after", AT, {"rule": "x"}) == 1
    assert time.monotonic() - began < 5
    on.register.verify()
    assert (on.messages.read("killed", "k"), on.leases.holders()) == (None, {})
    assert [entry.study for entry in on.register.entries()] == ["before", "after"]
    on.close()
