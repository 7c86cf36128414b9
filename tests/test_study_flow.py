"""One study from the question to the result, with the file of each step: read this first.

Three hospitals hold their own patients.  A researcher asks whether blood pressure goes with age and sex.  No row, and
no number of one hospital alone, reaches anybody; the answer is that of the pooled rows.  The story in words:
docs/a-study-step-by-step.md.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import datatrust as dt
from coordinator.study.conductor import Coordinator, conduct
from coordinator.study.release import publish
from datatrust.research.result import Result
from nodes.study.session import Session
from tests.support.example import DATASET, HOSPITALS, POOLED
from tests.support.trust_parts import Sessions, TrustParts
from trust.documents.mandate import SignedMandate
from trust.documents.study import PlannedStudy, plan
from trust.errors import Refused
from trust.plain import mandate_page
from trust.protocol.messages import DOWN, UP, unpack


def test_a_study_from_the_question_to_the_result() -> None:
    trust = dt.local(HOSPITALS, dt.Dataset.parse(DATASET))  # all roles in this process
    parts = TrustParts(trust)  # the same, taken apart

    # 1  The researcher writes it: a closed document with one digest.
    handle = trust.study(
        "Age and blood pressure",
        purpose="AcademicResearch",
        cohort="age >= 40",
        analyses={"table": dt.Describe(["age", "pressure"]), "model": dt.Glm("pressure ~ age + sex")},
    )
    study = handle.study

    # 2  It is checked against the charter, at once, without a row.  trust/policy/decide.py, trust/charters/charter.py
    assert handle.check().ok

    # 3  The researcher signs and files it; the coordinator drafts the mandate.
    docket = trust.docket
    filed = docket.file(parts.keys.study(study))
    assert (filed.state, filed.signers) == ("filed", frozenset())

    # 4  Members read it in words made from the bytes, and sign those bytes; a quorum puts it in force.
    #    trust/plain/, trust/documents/mandate.py
    page = mandate_page(
        filed.study.unverified_payload, filed.mandate.unverified_payload, trust.dataset, lang="en"
    ).text()
    assert "Age and blood pressure" in page
    assert "3 partners: east, north, south" in page
    for member in parts.keys.members[:2]:
        with pytest.raises(Refused, match=r"signed by \d of the 2"):
            docket.mandate(study.id)
        filed = docket.sign(study.id, filed.mandate.with_signature(member))
    mandate = docket.mandate(study.id)
    assert filed.state == "mandated"
    with pytest.raises(Refused, match="signed by 1 of 3"):
        SignedMandate(mandate.model_copy(update={"signatures": mandate.signatures[:1]}), parts.keys.root)

    # 5  The coordinator conducts it, here without Flower between.  study/conductor.py, nodes/study/session.py
    docket.move(study.id, "running")
    nodes = {name: Session(node) for name, node in parts.nodes.items()}
    wire = Sessions(nodes, parts.keys.coordinator)
    scope = trust._scope(study)
    coordinator = Coordinator(parts.keys.coordinator, parts.keys.root, docket)
    conducted = conduct(coordinator, filed.study, mandate, PlannedStudy(study=study, scope=scope), wire)

    # 6  Roll call: each node's gate has passed, and its approval carries a key for this study only.
    asked = [unpack(raw, DOWN) for name, raw in wire.down if name == "east"]
    said = [unpack(raw, UP) for name, raw in wire.up if name == "east"]
    sums = len(conducted.records)
    assert [header["kind"] for header, _ in asked] == ["mandate", "start", *["ask"] * sums, "close"]
    assert [header["kind"] for header, _ in said] == ["approval", "ready", *["upload"] * sums, "ready"]
    assert conducted.partners == ("east", "north", "south")

    # 7  Each sum: what left a node is noise to whoever sees it; only the total speaks.  trust/secure_sum/masks.py
    for uploads in conducted.uploads:
        words = np.frombuffer(b"".join(uploads.values()), "<u8")
        assert abs(words.mean() / 2**51 - 1) < 0.5  # uniform in 52 bits

    # 8  Audited: with the next question each node saw the record of the last sum, recomputed the total, and asked
    #    the same question itself.  trust/secure_sum/audit.py
    assert [header["record"]["r"] for header, _ in asked if "record" in header] == list(range(sums - 1))
    assert all(session.trouble is None for session in nodes.values())

    # 9  Forgotten: no node keeps a key of the study.  nodes/state/store.py
    for node in parts.nodes.values():
        kept = node.store.study(study.id)
        assert kept is not None
        assert (kept.status, kept.ephemeral, kept.keys) == ("closed", b"", {})

    # 10 Release: rules on the result, its entry in the register, a signed file.  coordinator/study/release.py
    plans = plan(study, scope)
    values, decisions, envelope = publish(conducted, scope, plans, docket, filed, parts.keys.coordinator)
    result = Result(study, scope, values, decisions, {"partners": list(conducted.partners)}, envelope)
    assert decisions.ok

    # 11 Anybody checks the file, from the trust root to the register, offline.  trust/documents/verification.py
    assert result.verify(parts.keys.root).ok
    kinds = [entry.kind for entry in docket.register.entries()]
    assert [kind for kind in kinds if kind not in ("journal-head", "sum-record")] == [
        "root", "charter", "study", "mandate", "release",
    ]  # fmt: skip
    assert (kinds.count("sum-record"), kinds.count("journal-head")) == (sums, 6)

    # 12 The numbers are those of the pooled rows.  datatrust/results/
    rows = POOLED[POOLED["age"] >= 40]
    table = result["table"].to_frame()
    for column in ("age", "pressure"):
        assert table.loc["count", column] == len(rows)
        assert table.loc["mean", column] == pytest.approx(rows[column].mean(), rel=1e-12)
        assert table.loc["std", column] == pytest.approx(rows[column].std(), rel=1e-12)
    design = pd.DataFrame({"Intercept": 1.0, "age": rows["age"], "sex[T.M]": 1.0 * (rows["sex"] == "M")})
    pooled = sm.OLS(rows["pressure"], design).fit()
    model = result["model"]
    pd.testing.assert_series_equal(model.params, pooled.params, rtol=1e-10, check_names=False)
    pd.testing.assert_series_equal(model.bse, pooled.bse, rtol=1e-10, check_names=False)


def test_the_study_of_women_alone_is_refused_and_no_sum_is_opened() -> None:
    """`south` has four women: any number about women there would be about four persons."""
    trust = dt.local(HOSPITALS, dt.Dataset.parse(DATASET))
    study = trust.study(
        "Age and blood pressure: women",
        purpose="AcademicResearch",
        cohort="age >= 40 and sex = 'F'",
        analyses={"model": dt.Glm("pressure ~ age")},
    )
    assert study.check().ok  # the charter alone cannot know: rows decide, at each node
    with pytest.raises(dt.Refused) as refused:
        study.run()
    assert refused.value.rule == "organisations"
    assert "2 of 3 do; those that do not, because of: persons" in refused.value.text
    assert "4" not in refused.value.text
    left = {name: [sent.kind for sent in sent_] for name, sent_ in trust.exchanged.items()}
    assert left == {"east": ["approval", "ready"], "north": ["approval", "ready"], "south": ["refusal"]}
