"""The Textual application; thin: it calls manager.service and draws."""
