"""The nouns that the service's verbs speak, for front ends: they need no other package of the manager."""

from manager.planner.plan import CostLine, Estimate, Plan, ReasonCount
from manager.prices.offer import Offer
from manager.runs.records import Charge, RunEvents, RunRecord, StateChange
from manager.runs.states import FINAL, MAY_BILL, RunState
from manager.spec.model import Budget, RunSpec, Where
from tasks.protocol import Event, EventType

__all__ = [
    "FINAL",
    "MAY_BILL",
    "Budget",
    "Charge",
    "CostLine",
    "Estimate",
    "Event",
    "EventType",
    "Offer",
    "Plan",
    "ReasonCount",
    "RunEvents",
    "RunRecord",
    "RunSpec",
    "RunState",
    "StateChange",
    "Where",
]
