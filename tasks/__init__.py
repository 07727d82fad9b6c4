"""The training program that is shipped to the rented machine; it imports nothing of manager or tui."""
