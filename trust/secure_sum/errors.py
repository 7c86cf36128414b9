"""Why a secure sum was refused, at a node or at the coordinator: one class a code, each with its page.

SecureSumError
├── NodeRefused                    a node does not answer
│   ├── ParametersUnsafe           parameters-unsafe
│   ├── NotAvailable               not-available
│   ├── AlreadyStarted             already-started
│   ├── ApprovalInvalid            approval-invalid
│   ├── ApprovalSet                approval-set
│   ├── EphemeralKeyInvalid        ephemeral-key-invalid
│   ├── StudyClosed                study-closed
│   ├── SumConflict                sum-conflict
│   ├── SumBudget                  sum-budget
│   ├── SumOrder                   sum-order
│   ├── PartnersInvalid            partners-invalid
│   ├── QuestionRepeated           question-repeated
│   ├── StateNotDerived            state-not-derived
│   ├── TooFewEffectiveRecords     too-few-effective-records
│   ├── ValueNotFinite             value-not-finite
│   ├── ValueOutOfRange            value-out-of-range
│   ├── RecordInvalid              record-invalid
│   ├── StateRolledBack            state-rolled-back
│   ├── JournalCorrupt             journal-corrupt
│   └── StoreUnavailable           store-unavailable
└── NotOpened                      the coordinator, or a node that audits, does not open a total
    ├── TranscriptDiffers          transcript-differs
    ├── UploadMissing              upload-missing
    ├── UploadShape                upload-shape
    ├── UploadSignature            upload-signature
    └── CheckNumber                check-number

No text holds a value of a row, a vector or a total.
"""

from __future__ import annotations

from trust.errors import DataTrustError

__all__ = [
    "AlreadyStarted",
    "ApprovalInvalid",
    "ApprovalSet",
    "CheckNumber",
    "EphemeralKeyInvalid",
    "JournalCorrupt",
    "NodeRefused",
    "NotAvailable",
    "NotOpened",
    "ParametersUnsafe",
    "PartnersInvalid",
    "QuestionRepeated",
    "RecordInvalid",
    "SecureSumError",
    "StateNotDerived",
    "StateRolledBack",
    "StoreUnavailable",
    "StudyClosed",
    "SumBudget",
    "SumConflict",
    "SumOrder",
    "TooFewEffectiveRecords",
    "TranscriptDiffers",
    "UploadMissing",
    "UploadShape",
    "UploadSignature",
    "ValueNotFinite",
    "ValueOutOfRange",
]


class SecureSumError(DataTrustError):
    """Base: `code` is the public rule's id, and each class has the remedy for all its errors.  docs/protocol.md, 4."""

    code = "secure-sum"
    exit_code = 1


class NodeRefused(SecureSumError):
    """A node does not answer; only the code and this text may leave it."""


class ParametersUnsafe(NodeRefused):
    """Sizes for which two sets could be opened, or too few honest partners be left in a total."""

    code = "parameters-unsafe"
    remedy = "raise m, name more partners, or withstand fewer colluders"


class NotAvailable(NodeRefused):
    """Part of the protocol that this version does not offer, or bytes that are no longer kept."""

    code = "not-available"
    remedy = "use participation joined or all, and ask for what is still kept"


class AlreadyStarted(NodeRefused):
    """A study starts once, for one mandate and one set of keys."""

    code = "already-started"
    remedy = "go on with the sums of the study, or file a new study"


class ApprovalInvalid(NodeRefused):
    """An approval that its partner did not sign for this mandate and this trust root."""

    code = "approval-invalid"
    remedy = "ask that partner for its approval again"


class ApprovalSet(NodeRefused):
    """Approvals that are not one each, of enough of the mandate's partners, me included."""

    code = "approval-set"
    remedy = "send one approval of each partner that takes part, in the order of names"


class EphemeralKeyInvalid(NodeRefused):
    """A key that is not mine where mine should be, or that agrees on zero with every key."""

    code = "ephemeral-key-invalid"
    remedy = "ask that partner for a newly made key and approval"


class StudyClosed(NodeRefused):
    """The study has ended here and its keys are gone."""

    code = "study-closed"
    remedy = "file a new study"


class SumConflict(NodeRefused):
    """This sum was already contributed to for another question or another partner set."""

    code = "sum-conflict"
    remedy = "send the first request again, or ask under a new sum number"


class SumBudget(NodeRefused):
    """More sums than the mandate allows."""

    code = "sum-budget"
    remedy = "file a new study with more sums"


class SumOrder(NodeRefused):
    """A step out of order: sums go forward only, after the start."""

    code = "sum-order"
    remedy = "ask for the next sum"


class PartnersInvalid(NodeRefused):
    """A partner set that is not allowed for this sum."""

    code = "partners-invalid"
    remedy = "ask for the partners that started the study, each once, in the order of names"


class QuestionRepeated(NodeRefused):
    """The same question was answered before: two totals of it could be compared."""

    code = "question-repeated"
    remedy = "use the total that was opened first"


class StateNotDerived(NodeRefused):
    """The values asked about do not follow from the totals opened so far."""

    code = "state-not-derived"
    remedy = "ask what the analysis asks next, computed from the audited totals"


class TooFewEffectiveRecords(NodeRefused):
    """Weights that single out a few records.  Raised by the rules, under this code."""

    code = "too-few-effective-records"
    remedy = "ask about more records"


class ValueNotFinite(NodeRefused):
    """NaN or infinity in a block; nothing was sent."""

    code = "value-not-finite"
    remedy = "count missing values apart, and keep logarithms and divisions inside their domain"


class ValueOutOfRange(NodeRefused):
    """A number that the ring cannot hold n times; nothing was sent."""

    code = "value-out-of-range"
    remedy = "rescale the column, or plan the sum with more limbs"


class RecordInvalid(NodeRefused):
    """A sum record that its coordinator did not sign, or that is not what this node signed."""

    code = "record-invalid"
    remedy = "report it to the committee: the coordinator, or what carries its messages, is at fault"


class StateRolledBack(NodeRefused):
    """This node's state is older than what the register has of it; its open studies are closed."""

    code = "state-rolled-back"
    exit_code = 3
    remedy = "file the open studies again; keep no backup of the state file"


class JournalCorrupt(NodeRefused):
    """This node's journal is not what was written: somebody or a failing disk changed it.  Nothing is computed."""

    code = "journal-corrupt"
    exit_code = 3
    remedy = "keep the state folder for the trust's auditor, and begin with a new one"


class StoreUnavailable(NodeRefused):
    """The state could not be read or written; nothing was sent."""

    code = "store-unavailable"
    exit_code = 3
    remedy = "look at the disk of the node's state folder, then send the request again"


class NotOpened(SecureSumError):
    """A total is not opened: an upload is missing, or is not what was asked for."""


class TranscriptDiffers(NotOpened):
    """An upload for another study, sum, question or partner set."""

    code = "transcript-differs"
    remedy = "start a new study: the partners did not start from the same approvals"


class UploadMissing(NotOpened):
    """Not everybody's upload is in."""

    code = "upload-missing"
    remedy = "wait for these partners, or give the sum up"


class UploadShape(NotOpened):
    """A header, a length or a word that the plan does not allow."""

    code = "upload-shape"
    remedy = "check that the partner runs the same version"


class UploadSignature(NotOpened):
    """An upload that its partner did not sign."""

    code = "upload-signature"
    remedy = "ask that partner for its upload again"


class CheckNumber(NotOpened):
    """The masks did not cancel: some partner masked wrongly.  It cannot be said which."""

    code = "check-number"
    remedy = "file a new study; if it comes again, leave out one partner after another"
