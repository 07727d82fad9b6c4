"""The ledger, the states of a run and its supervision."""
