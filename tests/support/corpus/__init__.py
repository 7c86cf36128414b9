"""What the conformance corpus is made of: honest documents, and each case as a change of them.

`python -m tests.support.make_conformance` writes `tests/conformance`; `tests/test_conformance.py` judges it.
"""
