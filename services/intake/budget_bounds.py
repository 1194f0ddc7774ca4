"""Keeps budgets within the operator's bounds, and refuses a budget in dollars for a model without a known price."""

from errors import ErrorDetail, InvalidRequest
from models import AgentRequest
from services.agents.budget import BudgetBounds
from services.upstreams.upstream import Route
from settings import Settings
from tool_models import BudgetDecision

SETTINGS = {"max_cost_usd": "MAX_COST_USD", "max_total_tokens": "MAX_TOTAL_TOKENS"}
UNPRICED = (
    "The price of {model} is not known, so its cost can't be limited. Send max_total_tokens instead, or name another "
    "model. The operator can add the price to MODEL_PRICES."
)
UNPRICED_BY_SETTING = (
    "MAX_COST_USD is set, and the price of {model} is not known. Name another model. The operator can add the price to "
    "MODEL_PRICES."
)


def bounds_of(settings: Settings) -> BudgetBounds:
    """Return the operator's bounds."""
    return BudgetBounds(settings.max_cost_usd, settings.max_total_tokens)


def check_totals(totals: AgentRequest | BudgetDecision, bounds: BudgetBounds) -> None:
    """Raise `InvalidRequest` for totals above the operator's bounds."""
    details = [
        ErrorDetail(name, f"{SETTINGS[name]} allows at most {bound}.")
        for name, bound in bounds._asdict().items()
        if bound is not None and (getattr(totals, name) or 0) > bound
    ]
    if details:
        raise InvalidRequest(details=details)


def with_bounds(request: AgentRequest, route: Route, bounds: BudgetBounds) -> AgentRequest:
    """Return the request with the operator's bounds as the totals that it doesn't set. Scripts cost nothing."""
    totals = {name: bound for name, bound in bounds._asdict().items() if getattr(request, name) is None}
    if route.upstream.kind == "scripted":
        totals.pop("max_cost_usd", None)
    return request.model_copy(update=totals)


def check_price(request: AgentRequest, route: Route, bounds: BudgetBounds) -> None:
    """Raise `InvalidRequest` if the cost of a model's answers is limited and its price isn't known."""
    if route.price(request.service_tier) is not None:
        return
    if request.max_cost_usd is not None:
        raise InvalidRequest(details=[ErrorDetail("max_cost_usd", UNPRICED.format(model=route.model))])
    if bounds.max_cost_usd is not None and route.upstream.kind != "scripted":
        raise InvalidRequest(details=[ErrorDetail("model", UNPRICED_BY_SETTING.format(model=route.model))])
