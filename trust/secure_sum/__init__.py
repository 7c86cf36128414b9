"""The secure sum: the one way anything leaves a node.  docs/protocol.md.

`Party` is a node's half, `Opening` the coordinator's, `audit` a node's check of a total; `encode_sum` and `decode_sum`
turn named blocks into ring words and back.  Masks of two partners cancel in the sum, and only there:

>>> import numpy as np
>>> from trust.secure_sum.masks import add_masks
>>> alpha, beta, shared = np.array([5, 7], "u8"), np.array([1, 2], "u8"), bytes(32)
>>> add_masks(alpha, plus=[shared], minus=[])
>>> add_masks(beta, plus=[], minus=[shared])
>>> int(alpha[0]) == 5, (alpha + beta).tolist()
(False, [6, 9])
"""

from trust.secure_sum.audit import Evidence, audit, check_record
from trust.secure_sum.encoding import Layout, decode_sum, encode_sum, layout_of
from trust.secure_sum.fixedpoint import STATISTICS, TINY, FixedPoint
from trust.secure_sum.messages import Approval, Context, Record, Upload
from trust.secure_sum.opening import Opening
from trust.secure_sum.parameters import Parameters, smallest_m
from trust.secure_sum.party import Party
from trust.secure_sum.question import AnalysisAsk, Question
from trust.secure_sum.state import Store, close_if_rolled_back, close_study

__all__ = [
    "STATISTICS",
    "TINY",
    "AnalysisAsk",
    "Approval",
    "Context",
    "Evidence",
    "FixedPoint",
    "Layout",
    "Opening",
    "Parameters",
    "Party",
    "Question",
    "Record",
    "Store",
    "Upload",
    "audit",
    "check_record",
    "close_if_rolled_back",
    "close_study",
    "decode_sum",
    "encode_sum",
    "layout_of",
    "smallest_m",
]
