"""The Textual application: draws what `manager.service` answers, and knows no rule of its own."""
