"""On `PYTHONPATH`, this makes `pysqlite3`, whose wheels bring a SQLite of their own, stand in for `sqlite3`."""

import sys

import pysqlite3
import pysqlite3.dbapi2

sys.modules["sqlite3"] = pysqlite3
sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2
