"""`python -m manager.cli`."""

from manager.cli.main import main

main()
