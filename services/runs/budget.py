"""Checks the totals with which a person raises the budget of a waiting run."""

from decimal import Decimal

from errors import ErrorDetail, InvalidRequest
from event_data import BudgetResponse, PendingBudget

NOT_FOR_A_BUDGET = "The run is not waiting for a decision on its budget. Get the run to see what it waits for."


def check_raise(budget: PendingBudget, answer: BudgetResponse) -> None:
    """Raise `InvalidRequest` unless the budget exceeds what is spent once the totals of the answer are in effect."""
    if not answer.approved:
        return
    totals = (
        ("max_cost_usd", answer.max_cost_usd, budget.max_cost_usd, budget.spent_cost_usd or 0),
        ("max_total_tokens", answer.max_total_tokens, budget.max_total_tokens, budget.spent_tokens),
    )
    details = [ErrorDetail(name, fault) for name, *amounts in totals if (fault := _fault(*amounts))]
    if details:
        raise InvalidRequest(details=details)


def _fault(new: Decimal | int | None, present: Decimal | int | None, spent: Decimal | int) -> str | None:
    """Return what is wrong with one total. `new` is None if the answer leaves it as it is."""
    if present is None:
        return None if new is None else "The run has no such total: send only those that `pending` has."
    if (present if new is None else new) > spent:
        return None
    return f"The run has spent {Decimal(spent):f}: send a larger total."
