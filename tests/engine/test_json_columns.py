import json

import pytest
from engine import stats
from engine.json_columns import (
    Changes,
    Comparison,
    Creating,
    Cursor,
    JsonColumn,
    ReadMarks,
    RemoteRefs,
)

# As versions before this one wrote them, each in the middle of something.
STORED = [
    (Cursor, {}),
    (
        Cursor,
        {
            "changes": {
                "since": "2026-11-21 12:00:00",
                "done": ["unsubscribed"],
                "mark": "2026-11-21 12:10:00",
                "offset": {"cleaned": 4000},
                "skipped": True,
            },
            "full_read": True,
        },
    ),
    (Cursor, {"read_all": {"mark": "2026-11-21 12:10:00", "current": "done"}}),
    (Cursor, {"former": {"id": 7, "done": ["unsubscribed"], "offset": 2000}}),
    (Cursor, {"diff": {"after": "", "many": False}, "batches": ["b1"], "lease": True}),
    (Cursor, {"brake": 60, "again": 2, "plan_again": True, "lost": True}),
    (Cursor, {"brake_confirmed": True, "no_room": True, "tags_refused": [3]}),
    (Cursor, {"brake_confirmed": 60, "no_room": "limit", "left_out": {"ZIP": 3}}),
    (Cursor, {"audience": {"name": "News"}, "let_go": 2, "portion": 125}),
    (
        Cursor,
        {
            "listed": "2026-11-21 12:00:00",
            "everything": False,
            "campaign": 4,
            "part": "activity",
            "offset": 500,
            "failed": {"links": "refused"},
            "shrunk": True,
        },
    ),
    (
        RemoteRefs,
        {
            "creating": {"names": {"category person": "People"}, "known": ["c1"]},
            "categories": {"person": "c2"},
            "removals": [["2026-11-21 12:00:00", "2026-11-21 12:00:01"]],
            "merge_fields_read": True,
            "merge_field_count": 5,
        },
    ),
    (ReadMarks, {"sent_to": [9], "last_id": 3, "missing": [0, 1], "again": True}),
]


@pytest.mark.parametrize(("kind", "data"), STORED)
def test_what_a_former_version_stored_is_stored_again(kind, data):
    again = json.loads(json.dumps(kind.from_json(data).to_json()))
    assert again.keys() == data.keys()
    for name, value in data.items():
        inner = isinstance(value, dict) and value.items() <= again[name].items()
        assert inner or again[name] == value
    assert kind.from_json(again) == kind.from_json(data)


def test_what_is_not_there_has_its_default():
    assert Cursor.from_json(None) == Cursor.from_json({"again": None}) == Cursor()
    assert Cursor.from_json({"diff": {}}).diff == Comparison()
    assert Cursor().to_json() == {}


def test_a_key_of_another_version_is_kept():
    data = {"planet": "Mars", "changes": {"since": "2026", "moon": 1}, "again": 1}
    cursor = Cursor.from_json(data)
    assert cursor.changes.since == "2026"
    data = cursor.changed(again=None).to_json()
    assert data.keys() == {"planet", "changes"}
    assert data["planet"] == "Mars"
    assert data["changes"]["moon"] == 1


def test_keys_are_changed_by_name():
    cursor = Cursor().changed(batches=["b1"], lost=True)
    assert cursor.batches == ["b1"]
    assert cursor.changed(batches=None, lost=None) == Cursor()
    with pytest.raises(TypeError):
        cursor.changed(batch="b1")


def test_what_a_key_holds_is_complete():
    """Former versions, and migrations, look for each key of it."""
    refs = RemoteRefs(creating=Creating({"category person": "People"}))
    assert refs.to_json() == {
        "creating": {"names": {"category person": "People"}, "known": []}
    }


def test_no_two_share_what_they_hold():
    Changes().done.append("cleaned")
    assert Changes().done == []


@pytest.mark.parametrize("kind", [Creating, *JsonColumn.__subclasses__()])
def test_each_can_be_empty(kind):
    assert kind.from_json(kind().to_json()) == kind()


def test_each_part_of_a_report_has_its_mark():
    assert all(hasattr(ReadMarks(), part) for part in stats.READ_FOR)
