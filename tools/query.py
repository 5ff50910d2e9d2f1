"""One SQL statement outside a transaction: in this process, or in one with psycopg2."""

import contextlib
import json
import sys


def query(statement, **connection):
    """Return the rows, as what JSON knows.

    :param connection: arguments of ``psycopg2.connect``; without, ``PG*`` variables
        say them
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
