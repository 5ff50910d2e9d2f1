"""Runs one SQL statement outside a transaction; as a script, in its own process."""

import contextlib
import json
import sys


def query(statement, **connection):
    """Run a statement and return its rows, as JSON types.

    :param connection: arguments of ``psycopg2.connect``; ``PG*`` variables supply
        what is left out
    :raise ImportError: without psycopg2
    """
    import psycopg2

    with contextlib.closing(psycopg2.connect(**connection)) as open_connection:
        open_connection.autocommit = True
        with open_connection.cursor() as cursor:
            cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
    return json.loads(json.dumps(rows, default=str))


if __name__ == "__main__":
    print(json.dumps(query(sys.argv[2], dbname=sys.argv[1])))
