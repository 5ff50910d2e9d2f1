"""Rows as a table in an SQL statement."""

import json

from odoo.tools import SQL


def recordset(types, rows):
    """Return rows as a table ``v``, for the FROM of a statement.

    They are passed as one document: thousands of values would each have to be quoted,
    parsed and planned.

    :param types: ``{name: type}`` of the columns: our own names, never anything a user
        typed
    :param rows: tuples with a value for each column
    """
    # A column that is left out is NULL, which most columns of most rows are.
    document = [
        {
            name: value
            for name, value in zip(types, row, strict=True)
            if value is not None
        }
        for row in rows
    ]
    columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
    return SQL(
        "JSON_TO_RECORDSET(%s) AS v(%s)",
        json.dumps(document, default=str),
        SQL(columns),
    )
