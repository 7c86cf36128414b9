"""Follow a guide at its machines: each step in its order, at its place."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.support.guide import Step, Typed, lacking
from tests.support.machines import HOMES, Done, Machines

_RUN = re.compile(r"^datatrust (coordinator|node) run$")
_SERVICE = re.compile(r"^systemctl (restart|stop|start|enable --now) datatrust-(coordinator|node)$")
_NUMBER = re.compile(r"\b20\d\d-(\d{4})\b(?!-)")


@dataclass
class Follower:
    """Who types.  A person's place is a folder of the machine `office`, every other place a machine.

    `systemctl` is the one command that is carried out here: there is no systemd in a namespace.
    """

    machines: Machines
    persons: tuple[str, ...]
    said: Callable[[Step, str, Typed, Done], None] = lambda step, place, typed, done: None
    exported: dict[str, dict[str, str]] = field(default_factory=dict)
    studies_between: int = 0
    """How many studies somebody else has filed: the numbers of mandates after the first are as much higher."""

    def folder(self, place: str) -> Path:
        """Its working folder as it is seen from outside of the namespace."""
        if place in self.persons:
            found = self.machines.machines["office"].folder / place
            found.mkdir(exist_ok=True)
            return found
        return self.machines.machines[place].folder / "state"

    def run(self, place: str, typed: Typed) -> Done:
        """One command."""
        person = place in self.persons
        machine = self.machines.machines["office" if person else place]
        home = self.folder(place) if person else HOMES
        environment = ({} if person else {"DATATRUST_HOME": str(HOMES)}) | self.exported.get(place, {})
        command = _NUMBER.sub(self._number, typed.command)
        if found := re.match(r"^export (\w+)=(.*)$", command):
            self.exported.setdefault(place, {})[found[1]] = found[2]
            return Done("", 0)
        if found := _SERVICE.match(command):
            command = f"datatrust {found[2]} run"
            if found[1] in ("restart", "stop"):
                machine.stop(command)
            if found[1] == "stop":
                return Done("", 0)
            return Done("", machine.start(command, command, home, **environment).code)
        if _RUN.match(command):
            return machine.start(command, command, home, **environment)
        if not [each for each in typed.answers if each[1] == "PASSPHRASE"]:
            environment = {"DATATRUST_PASSPHRASE": f"the passphrase of {place}"} | environment
        answers = [(q, f"the passphrase of {place}" if a == "PASSPHRASE" else a) for q, a in typed.answers]
        return machine.run(command, home, answers, **environment)

    def follow(self, step: Step) -> None:
        """One fence.  Raises: AssertionError where something else happens than the guide says."""
        if step.kind == "file":
            self._write(step.place, step.path, step.content)
        elif step.kind == "carry":
            for line in step.content.splitlines():
                (start, source), (end, target) = (part.strip().split(":") for part in line.split("->"))
                self._carry(self.folder(start) / source, self.folder(end) / target)
        elif step.kind == "on":
            with ThreadPoolExecutor(3) as pool:  # each at her own machine
                for _ in pool.map(lambda place: self._type(step, place), (step.place, *step.also)):
                    pass

    def _type(self, step: Step, place: str) -> None:
        commands = step.at(place)
        for number, typed in enumerate(commands, 1):
            done = self.run(place, typed)
            self.said(step, place, typed, done)
            code = step.exit if number == len(commands) else 0
            where = f"line {step.line}, at {place}: $ {typed.command}\n{done.text}"
            assert done.code == code, f"{where}\n[exit code {done.code}, not {code}]"
            wrong = lacking(typed.printed, done.text)
            assert not wrong, f"{where}\n[the guide has: {wrong}]"

    def _number(self, found: re.Match[str]) -> str:
        """A mandate's number, with the year of today."""
        number = int(found[1])
        return f"{datetime.now(UTC).year}-{number + (self.studies_between if number > 1 else 0):04d}"

    def _write(self, place: str, path: str, content: str) -> None:
        for each in place.split(","):
            file = self.folder(each) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, "utf-8")

    def _carry(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
