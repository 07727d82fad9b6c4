"""Columns of the three lists of offers; apart from their rows, which need the planner's words and load it.

Money stands first and is never cut; machine types go first, then what other columns tell in short.
"""

from __future__ import annotations

from tui.widgets.table import Column

BAR_CELLS = 10

OFFER_COLUMNS = (
    Column(key="usd", title="$ total", is_number=True),
    Column(key="bar", title="range", cut=3, widest=BAR_CELLS),
    Column(key="band", title="$ low-high", cut=5, widest=24),
    Column(key="time", title="time", cut=1, is_number=True),
    Column(key="hours", title="low-high", cut=6, widest=24),
    Column(key="fit", title="fit", cut=2),
    Column(key="price", title="$/h", cut=4, is_number=True),
    Column(key="machine", title="machine", least=26),
    Column(key="type", title="type", cut=7, widest=28),
)
REJECTED_COLUMNS = (
    Column(key="machine", title="machine", least=26),
    Column(key="reason", title="why not", widest=70, least=34),
    Column(key="usd", title="$ total", cut=1, is_number=True),
    Column(key="time", title="time", cut=2, is_number=True),
    Column(key="price", title="$/h", cut=3, is_number=True),
    Column(key="type", title="type", cut=4, widest=28),
)
FRONTIER_COLUMNS = (
    Column(key="usd", title="$ total", is_number=True),
    Column(key="time", title="time", is_number=True),
    Column(key="saved", title="$ per hour saved", cut=1, is_number=True),
    Column(key="price", title="$/h", cut=2, is_number=True),
    Column(key="machine", title="machine", least=26),
    Column(key="type", title="type", cut=3, widest=28),
)
