"""Events, notes and the feed of a member, and the bounces that clean it."""

import pytest
from sim_members import ANN, leave, path


def test_events(audience, api):
    audience.add_member(ANN)
    events = path(audience) + "/events"
    assert api("POST", events, {"name": "signed_contract"}) is None
    assert api("GET", events)["events"][0]["name"] == "signed_contract"
    api("POST", events, {"name": "x"}, status=400)


def test_notes(audience, api):
    audience.add_member(ANN)
    made = api("POST", path(audience) + "/notes", {"note": "called"})
    assert made["note"] == "called"
    assert api("GET", path(audience))["last_note"]["note"] == "called"


@pytest.mark.parametrize("shown", [False, True])
def test_complaints_and_the_feed(world, shown):
    audience, api = world(complaint_in_feed=shown)
    leave(audience, "complaint")
    feed = api(
        "GET", path(audience) + "/activity-feed", activity_filters="unsub,bounce"
    )
    assert [item["activity_type"] for item in feed["activity"]] == ["unsub"] * shown
    activity = api("GET", path(audience) + "/activity")
    assert [item["action"] for item in activity["activity"]] == ["abuse"]
    reports = api("GET", f"/lists/{audience.id}/abuse-reports")
    assert reports["abuse_reports"][0]["email_address"] == ANN


@pytest.mark.parametrize("shown", [False, True])
def test_an_opt_out_without_campaign_in_the_feed(world, shown):
    audience, api = world(feed_has_unsubscribes_outside_campaigns=shown)
    leave(audience, "unsubscribe")
    audience.archive(ANN)
    feed = api("GET", path(audience) + "/activity-feed", activity_filters="unsub")
    assert [i["is_admin_unsubscribed"] for i in feed["activity"]] == [False] * shown
    activity = api("GET", path(audience) + "/activity")
    assert [i["action"] for i in activity["activity"]] == ["unsub"] * shown


@pytest.mark.parametrize("by", ["admin", "api"])
@pytest.mark.parametrize("shown", [False, True])
def test_an_opt_out_of_others_in_the_feed(world, shown, by):
    audience, api = world(feed_has_admin_unsubscribes=shown)
    audience.add_member(ANN)
    audience.unsubscribe(ANN, by=by)
    feed = api("GET", path(audience) + "/activity-feed")
    assert [i["is_admin_unsubscribed"] for i in feed["activity"]] == [True] * shown


def test_an_opt_out_by_a_campaign_is_always_in_the_feed(audience, api):
    audience.add_member(ANN)
    campaign = audience.add_campaign(title="News")
    audience.send_campaign(campaign)
    audience.unsubscribe(ANN, campaign=campaign.id)
    feed = api("GET", path(audience) + "/activity-feed", activity_filters="unsub")
    assert [i["campaign_title"] for i in feed["activity"]] == ["News"]


def test_soft_bounces_clean_an_address_in_the_end(audience, api):
    audience.add_member(ANN)
    audience.clean(ANN, "soft")
    assert api("GET", path(audience))["status"] == "cleaned"
    feed = api("GET", path(audience) + "/activity-feed")
    assert [i["bounce_type"] for i in feed["activity"]] == ["soft"]
    api("PATCH", path(audience), {"status": "subscribed"}, status=400)
