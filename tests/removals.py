"""Remove each numbered check once, and see a test turn red: `python -m tests.removals` (`make removals`).

Works on a copy of the repository.  A check whose removal no test notices is printed, and the exit status is 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTY, OPENING, PARAMETERS = (
    "trust/secure_sum/party.py",
    "trust/secure_sum/opening.py",
    "trust/secure_sum/parameters.py",
)
GATE, AUDIT = "nodes/gate.py", "trust/secure_sum/audit.py"
SUM_TESTS = ("tests/trust/secure_sum", "tests/nodes/test_store.py", "tests/attacks", "tests/nodes/test_session.py")


@dataclass(frozen=True)
class Removal:
    """One check: where it is, its text, and what stands there instead."""

    name: str
    file: str
    check: str
    instead: str = "if False:"
    tests: tuple[str, ...] = SUM_TESTS


REMOVALS = (
    Removal("sizes: 3 to 1,000 partners", PARAMETERS, "if not 3 <= n <= LARGEST_N:"),
    Removal(
        "sizes: identity keys all different",
        PARAMETERS,
        "if len({key.public_bytes_raw() for key in self.partners.values()}) != n:",
    ),
    Removal("sizes: m >= c + 2 and 2m > n + c", PARAMETERS, "if not smallest_m(n, c) <= m <= n:"),
    Removal("sizes: participation any", PARAMETERS, 'if self.participation == "any":'),
    Removal(
        "approve: the gate",
        PARTY,
        "        require(gate())\n        mine = self.parameters\n",
        "        mine = self.parameters\n",
    ),
    Removal(
        "start 1: the set", PARTY, 'if fault or (mine.participation == "all" and len(names) != len(mine.partners)):'
    ),
    Removal("start 2: my own key", PARTY, "if keys[self.name] != secret.public_key().public_bytes_raw():"),
    Removal("start 3: signatures", PARTY, "if not signed_by(mine.partners[approval.name], approval.sig, message):"),
    Removal(
        "start: names in the key derivation",
        "trust/secure_sum/frames.py",
        'frame("pair", *sorted((one, other)))',
        'frame("pair")',
    ),
    Removal("contribute 1: the gate again", PARTY, "        require(gate())\n        # 2 to 5", "        # 2 to 5"),
    Removal("contribute 2: another context", PARTY, "if kept is not None and kept.context != asked:"),
    Removal("contribute 3: budget", PARTY, "if r >= mine.sums:"),
    Removal(
        "contribute 3: order",
        PARTY,
        '        if r < state.epoch:\n            raise SumOrder(f"sum {r}"',
        '        if False:\n            raise SumOrder(f"sum {r}"',
    ),
    Removal("contribute 4: partners", PARTY, "if fault or tuple(partners) != state.partners:"),
    Removal("contribute 5: question repeated", PARTY, "if study == mine.study or others != tuple(partners):"),
    Removal(
        "contribute 5: twice in one sum",
        PARTY,
        "if len({part.digest for part in question.parts}) != len(question.parts):",
    ),
    Removal("contribute 6: replay", PARTY, "        self._follows(question, replay)\n        # 7", "        # 7"),
    Removal(
        "contribute: once more under the lock",
        PARTY,
        "            kept = self._contributed(tx, state, question, partners)\n",
        "            kept = None\n",
    ),
    Removal("contribute: the ratchet", PARTY, "keys=_ratcheted(keys, 1)", "keys=keys"),
    Removal(
        "total 1: of this sum",
        OPENING,
        "if (upload.transcript, upload.r, upload.ctx) != (context.transcript, context.r, context.digest):",
    ),
    Removal(
        "total 3: signature",
        OPENING,
        "if not signed_by(self._parameters.partners[name], upload.sig, Upload.message(context.digest, name, sha256)):",
    ),
    Removal("total: all uploads", OPENING, "if self.missing:"),
    Removal(
        "total: check number", OPENING, "if int(total[0, -1]) != len(self._context.partners) or total[1:, -1].any():"
    ),
    Removal("audit: the record's signature", AUDIT, "if not signed_by(coordinator, record.sig, record.message()):"),
    Removal("audit: the record's question", AUDIT, "if record.context != kept.context:"),
    Removal(
        "audit: my own upload",
        AUDIT,
        "if (record.digests[place], record.signatures[place]) != (kept.sha256, kept.sig):",
    ),
    Removal(
        "audit: the total", AUDIT, "if not hmac.compare_digest(commitment(evidence.salt, raw(total)), record.total):"
    ),
    Removal(
        "gate 1: root in force",
        GATE,
        '            _in_force("root", root, now),\n            Decision(',
        "            Decision(",
    ),
    Removal("gate 1: charter", GATE, "root.root.charter == charter.folder_digest,", "True,"),
    Removal(
        "gate 2: mandate in force",
        GATE,
        '            _in_force("mandate", mandate, now),\n            _quorum(',
        "            _quorum(",
    ),
    Removal(
        "gate 2: the charter's committee",
        GATE,
        "            _quorum(root.root, mandate, charter),\n",
        "",
        ("tests/trust/test_mandate.py",),
    ),
    Removal(
        "gate 2: the study",
        GATE,
        '_same("mandate-study", signed, mine, ("study", "dataset", "charter", "not_before", "expires")),',
        "",
    ),
    Removal(
        "gate 2: the partners",
        GATE,
        '_same("mandate-partners", signed, mine, ("partners", "participation", "m", "c")),',
        "",
    ),
    Removal(
        "gate 3: the plan",
        GATE,
        '_same("plan", signed, mine, ("plan", "sums", "bytes", "root", "audit", "conditions")),',
        "",
    ),
    Removal(
        "gate 4: accreditation",
        GATE,
        "now < read_time(root.root.researchers[study.researcher].accredited_until),",
        "True,",
        ("tests/trust/test_mandate.py",),
    ),
    Removal("gate 4: policy", GATE, "            *decide(study, charter, scope, plan(study, scope), now=now),\n", ""),
    Removal(
        "gate 7: mandate in force at each sum",
        GATE,
        '            _in_force("mandate", mandate, now),\n            Decision(\n                "sum-budget"',
        '            Decision(\n                "sum-budget"',
    ),
    Removal("gate 7: bytes", GATE, "given <= mandate.mandate.bytes", "True"),
    Removal("gate 8: the sums that follow", GATE, "same_sums(asks, expected),", "True,"),
)


def notices(removal: Removal, copy: Path) -> bool:
    """Whether a test fails without the check.  Raises: SystemExit where the check's text is not found once."""
    file = copy / removal.file
    text = file.read_text()
    if text.count(removal.check) != 1:
        raise SystemExit(f"{removal.name}: {removal.file} holds its text {text.count(removal.check)} times, not once")
    file.write_text(text.replace(removal.check, removal.instead))
    try:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-m",
            "not slow",
            *removal.tests,
        ]
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=600)
        return done.returncode == 1
    finally:
        file.write_text(text)


def main(names: list[str]) -> int:
    """Remove each check whose name holds one of the given words, or every one."""
    chosen = [r for r in REMOVALS if not names or any(n in r.name for n in names)]
    unnoticed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "docs", ".*_cache", "wheelhouse")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for removal in chosen:
            red = notices(removal, copy)
            unnoticed += not red
            print(f"{'red  ' if red else 'GREEN'}  {removal.name}", flush=True)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} removals turn a test red")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
