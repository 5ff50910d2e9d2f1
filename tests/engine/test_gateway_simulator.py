"""The gateway against the simulator: what comes, goes and comes back."""

import pytest
from engine import errors
from engine.address import member_hash
from engine.gateway import Gateway
from keys import KEY

from mailchimp_simulator import Simulator


def test_a_member_comes_goes_and_is_counted():
    with Simulator() as simulator:
        audience = simulator.add_audience("A")
        audience.add_member("old@firma.be", status="unsubscribed")
        audience.add_member("gone@firma.be")
        audience.delete_permanently("gone@firma.be")
        with Gateway(KEY, simulator.url, sleep=lambda _seconds: None) as gateway:
            created, refused = gateway.subscribe_batch(
                audience.id,
                [
                    {"email_address": f"{name}@firma.be", "status": "subscribed"}
                    for name in ("new", "old", "gone")
                ],
            )
            assert [item["email_address"] for item in created] == ["new@firma.be"]
            assert {email: error.code for email, error in refused} == {
                "old@firma.be": "member_exists",
                "gone@firma.be": "forgotten",
            }
            assert audience.members["old@firma.be"].status == "unsubscribed"
            assert gateway.member_count(audience.id) == 2
            new = member_hash("new@firma.be")
            seen, left = gateway.let_go(audience.id, new)
            assert (seen["status"], left["status"]) == ("subscribed", "archived")
            assert gateway.archive_member(audience.id, new)[0] == "archived"
            seen, left = gateway.let_go(audience.id, member_hash("old@firma.be"))
            assert seen is left and left["status"] == "unsubscribed"
            assert gateway.let_go(audience.id, member_hash("no@firma.be"))[1] is None
            assert audience.members["new@firma.be"].status == "archived"
            assert gateway.last_request_id
        assert not simulator.violations


def test_a_tag_and_a_batch_and_the_way_back():
    with Simulator() as simulator:
        audience = simulator.add_audience("A")
        audience.add_member("a@firma.be", merge_fields={"FNAME": "A"})
        audience.add_member("b@firma.be")
        with Gateway(KEY, simulator.url) as gateway:
            tag = gateway.create_static_segment(audience.id, "VIP")["id"]
            with pytest.raises(errors.Rejected) as caught:
                gateway.create_static_segment(audience.id, "VIP")
            assert caught.value.code == "tag_exists"
            done = gateway.change_static_segment(
                audience.id, tag, ["a@firma.be", "nobody@firma.be"]
            )
            assert done["total_added"] == 1
            path = f"/lists/{audience.id}/members/"
            batch = gateway.create_batch(
                [
                    {
                        "method": "PATCH",
                        "path": path + member_hash("a@firma.be"),
                        "operation_id": "a",
                        "body": {"merge_fields": {"FNAME": "Ann"}},
                    },
                    {
                        "method": "DELETE",
                        "path": path + member_hash("b@firma.be"),
                        "operation_id": "b",
                    },
                    {
                        "method": "GET",
                        "path": path + "0" * 32,
                        "operation_id": "c",
                    },
                ]
            )
            simulator.advance(3600)
            finished = gateway.batch(batch["id"])
            assert finished["status"] == "finished"
            found = dict(gateway.batch_results(finished["response_body_url"]))
            assert found["a"]["merge_fields"]["FNAME"] == "Ann"
            assert found["b"] == {}
            assert isinstance(found["c"], errors.NotFound)
            assert audience.members["b@firma.be"].status == "archived"
        assert not simulator.violations


def test_a_write_that_was_applied_unanswered_is_told_as_unknown():
    with Simulator() as simulator:
        audience = simulator.add_audience("A")
        audience.add_member("a@firma.be")
        simulator.fault("DELETE **", "drop_applied")
        with Gateway(KEY, simulator.url) as gateway:
            with pytest.raises(errors.Retryable) as caught:
                gateway.archive_member(audience.id, member_hash("a@firma.be"))
        assert caught.value.outcome_unknown
        assert audience.members["a@firma.be"].status == "archived"
