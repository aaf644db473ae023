"""`python -m jupyter_durable.cli`, where the console script is not on the path."""

from jupyter_durable.cli import main

main()
