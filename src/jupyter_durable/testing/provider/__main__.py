"""`python -m jupyter_durable.testing.provider`."""

from jupyter_durable.testing.provider.process import main

main()
