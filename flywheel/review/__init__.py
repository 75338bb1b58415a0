"""The reviewers' desk: what to look at first, who is at it, what a correction must satisfy, and what becomes of a decision.

`reasons` say why a turn should be looked at, `queue` keeps and lists them, `claims` lock a turn while somebody is at it,
`verdicts` weigh what several reviewers decided, `agreement` measures them, `similar` finds turns that went alike, and the
`desk` puts it together. Knows the store and the ledger; knows nothing of pages, of running tools or of training.
"""

from flywheel.review.desk import ReviewDesk, ReviewItem
from flywheel.review.queue import Filter, QueueItem

__all__ = ["Filter", "QueueItem", "ReviewDesk", "ReviewItem"]
