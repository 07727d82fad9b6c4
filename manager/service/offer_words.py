"""Words of offers and plans for front ends: the same everywhere, written down in `manager.reports`."""

from manager.reports.break_even_words import COLUMNS as BREAK_EVEN_COLUMNS
from manager.reports.break_even_words import BreakEvenWords
from manager.reports.frontier import FRONTIER, FrontierRow, frontier
from manager.reports.offer_compare import DIFFERS, ComparedRow, compare_offers
from manager.reports.offer_words import how_trained, machine_words, price
from manager.reports.why import BILL_COLUMNS, MEMORY_COLUMNS, Bill, MemoryRow, Why, verdict_words, why

__all__ = [
    "BILL_COLUMNS",
    "BREAK_EVEN_COLUMNS",
    "DIFFERS",
    "FRONTIER",
    "MEMORY_COLUMNS",
    "Bill",
    "BreakEvenWords",
    "ComparedRow",
    "FrontierRow",
    "MemoryRow",
    "Why",
    "compare_offers",
    "frontier",
    "how_trained",
    "machine_words",
    "price",
    "verdict_words",
    "why",
]
