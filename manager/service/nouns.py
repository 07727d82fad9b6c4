"""The nouns that the service's verbs speak, for front ends: they need no other package of the manager."""

from manager.planner.plan import CostLine, Estimate, Plan, ReasonCount
from manager.prices.history import PricePoint
from manager.prices.offer import Offer
from manager.prices.price_rules import RULES, RuleCount
from manager.runs.records import Charge, RunEvents, RunRecord, StateChange
from manager.runs.states import FINAL, MAY_BILL, RunState
from manager.runs.summary import RunSummary
from manager.runs.updates import TransferUpdate, Update
from manager.spec.model import Budget, RunSpec, Where
from tasks.protocol import Event, EventType

__all__ = [
    "FINAL",
    "MAY_BILL",
    "RULES",
    "Budget",
    "Charge",
    "CostLine",
    "Estimate",
    "Event",
    "EventType",
    "Offer",
    "Plan",
    "PricePoint",
    "ReasonCount",
    "RuleCount",
    "RunEvents",
    "RunRecord",
    "RunSpec",
    "RunState",
    "RunSummary",
    "StateChange",
    "TransferUpdate",
    "Update",
    "Where",
]
