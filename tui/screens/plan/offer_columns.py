"""Columns of the three lists of offers; apart from their rows, which need the planner's words and load it.

Money stands first and is never cut; machine types go first, then what other columns tell in short.
"""

from __future__ import annotations

from tui.widgets.table import Column

BAR_CELLS = 14

OFFER_COLUMNS = (
    Column(key="usd", title="$ to finish", is_number=True),
    Column(key="bar", title="low to high", cut=4, widest=BAR_CELLS),
    Column(key="band", title="$ low-high", cut=5, widest=24),
    Column(key="time", title="time", cut=1, is_number=True),
    Column(key="hours", title="low-high", cut=6, widest=24),
    Column(key="fit", title="fit", cut=3),
    Column(key="price", title="$/h", cut=2, is_number=True),
    Column(key="machine", title="machine", widest=46),
    Column(key="type", title="type", cut=7, widest=28),
)
REJECTED_COLUMNS = (
    Column(key="machine", title="machine", widest=46),
    Column(key="reason", title="why not", widest=70),
    Column(key="usd", title="$ to finish", cut=1, is_number=True),
    Column(key="time", title="time", cut=2, is_number=True),
    Column(key="price", title="$/h", cut=3, is_number=True),
    Column(key="type", title="type", cut=4, widest=28),
)
FRONTIER_COLUMNS = (
    Column(key="usd", title="$ to finish", is_number=True),
    Column(key="time", title="time", is_number=True),
    Column(key="saved", title="$ per hour saved", cut=1, is_number=True),
    Column(key="price", title="$/h", cut=2, is_number=True),
    Column(key="machine", title="machine", widest=46),
    Column(key="type", title="type", cut=3, widest=28),
)
