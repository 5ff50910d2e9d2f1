"""Campaigns and what their reports tell."""

import pytest

PEOPLE = [f"p{number}@firma.be" for number in range(1, 7)]


@pytest.fixture
def sent(audience):
    """A campaign sent to six people who did all kinds of things."""
    return prepare(audience)


def prepare(audience, kind="regular"):
    for email in PEOPLE:
        audience.add_member(email)
    campaign = audience.add_campaign(kind, title="News", urls=["https://firma.be/a"])
    assert audience.send_campaign(campaign) == 6
    audience.open(campaign, PEOPLE[0])
    audience.open(campaign, PEOPLE[0], proxy=True)
    audience.open(campaign, PEOPLE[1], proxy=True)
    audience.click(campaign, PEOPLE[0])
    audience.click(campaign, PEOPLE[0], "https://firma.be/b")
    audience.bounce(PEOPLE[2], "hard", campaign=campaign.id)
    audience.bounce(PEOPLE[3], "soft", campaign=campaign.id)
    audience.unsubscribe(PEOPLE[4], reason="no longer", campaign=campaign.id)
    audience.complain(PEOPLE[5], campaign=campaign.id)
    return campaign


@pytest.fixture
def report(sent):
    return f"/reports/{sent.id}"


def test_totals(sim, api, report):
    sim.advance(86400)
    found = api("GET", report)
    assert found["emails_sent"] == 6
    assert found["bounces"] == {
        "hard_bounces": 1,
        "soft_bounces": 1,
        "syntax_errors": 0,
    }
    opens, clicks = found["opens"], found["clicks"]
    assert (opens["opens_total"], opens["unique_opens"]) == (3, 2)
    assert opens["open_rate"] == 2 / 4  # of what was delivered
    assert (clicks["clicks_total"], clicks["unique_subscriber_clicks"]) == (2, 1)
    assert (found["unsubscribed"], found["abuse_reports"]) == (1, 1)
    assert found["list_stats"]["open_rate"] == 50  # percent


@pytest.mark.parametrize("shown", [True, False])
def test_proxy_numbers(world, shown):
    audience, api = world(proxy_fields=shown)
    campaign = prepare(audience)
    opens = api("GET", f"/reports/{campaign.id}")["opens"]
    if shown:
        assert opens["proxy_excluded_opens"] == 1
        assert opens["proxy_excluded_unique_opens"] == 1
    else:
        assert not [name for name in opens if name.startswith("proxy")]


@pytest.mark.parametrize("shown", [True, False])
def test_who_opened_and_whose_proxy(world, shown):
    audience, api = world(proxy_fields=shown, list_stats_seconds=0)
    campaign = prepare(audience)
    found = api("GET", f"/reports/{campaign.id}/open-details")
    first, second = found["members"]
    stats = api("GET", f"/reports/{campaign.id}")["list_stats"]
    if not shown:
        assert "proxy" not in f"{found} {stats}"
        return
    assert found["total_proxy_excluded_opens"] == 1
    assert (first["opens_count"], first["proxy_excluded_opens_count"]) == (2, 1)
    assert sorted(o["is_proxy_open"] for o in first["opens"]) == [False, True]
    assert (second["opens_count"], second["proxy_excluded_opens_count"]) == (1, 0)
    assert stats["proxy_excluded_open_rate"] == 25  # one of four delivered, percent


@pytest.mark.parametrize("seconds", [86400, 0])
def test_list_stats_are_calculated_later(world, seconds):
    audience, api = world(list_stats_seconds=seconds)
    report = f"/reports/{prepare(audience).id}"
    assert ("list_stats" in api("GET", report)) == (seconds == 0)
    api.simulator.advance(seconds)
    assert "list_stats" in api("GET", report)


def test_what_a_campaign_does_to_members(audience, sent):
    statuses = [audience.members[email].status for email in PEOPLE]
    assert statuses == [
        "subscribed",
        "subscribed",
        "cleaned",
        "subscribed",
        "unsubscribed",
        "unsubscribed",
    ]


def test_email_activity(api, report):
    found = api("GET", report + "/email-activity", count=500)
    assert found["total_items"] == 6
    by_email = {e["email_address"]: e["activity"] for e in found["emails"]}
    assert sorted(a["action"] for a in by_email[PEOPLE[0]]) == [
        "click",
        "click",
        "open",
        "open",
    ]
    assert {a["url"] for a in by_email[PEOPLE[0]] if a["action"] == "click"} == {
        "https://firma.be/a",
        "https://firma.be/b",
    }
    assert [a["type"] for a in by_email[PEOPLE[2]]] == ["hard"]
    assert by_email[PEOPLE[4]] == []


@pytest.mark.parametrize("drops", [False, True])
def test_since_in_email_activity(world, drops):
    audience, api = world(activity_since_drops_idle=drops)
    campaign = prepare(audience)
    api.simulator.advance(3600)
    since = api("GET", f"/reports/{campaign.id}")["opens"]["last_open"]
    audience.open(campaign, PEOPLE[1])
    found = api("GET", f"/reports/{campaign.id}/email-activity", since=since)
    assert found["total_items"] == (1 if drops else 6)
    assert sum(len(e["activity"]) for e in found["emails"]) == 1


@pytest.mark.parametrize("how", ["vanish", "blank"])
def test_erased_people(world, how):
    audience, api = world(erased_in_reports=how)
    campaign = prepare(audience)
    audience.delete_permanently(PEOPLE[0])
    found = api("GET", f"/reports/{campaign.id}/email-activity")
    shown = [e["email_address"] for e in found["emails"]]
    assert PEOPLE[0] not in shown
    assert len(shown) == (5 if how == "vanish" else 6)
    # Totals stay.
    assert api("GET", f"/reports/{campaign.id}")["opens"]["opens_total"] == 3


def test_who_did_what(audience, api, report):
    opens = api("GET", report + "/open-details")
    assert (opens["total_opens"], opens["total_items"]) == (3, 2)
    sent_to = api("GET", report + "/sent-to")["sent_to"]
    assert [s["status"] for s in sent_to].count("sent") == 4
    (left,) = api("GET", report + "/unsubscribed")["unsubscribes"]
    assert (left["email_address"], left["reason"]) == (PEOPLE[4], "no longer")
    (abuse,) = api("GET", report + "/abuse-reports")["abuse_reports"]
    assert abuse["email_address"] == PEOPLE[5]
    one = audience.members[PEOPLE[0]].hash
    assert api("GET", f"{report}/open-details/{one}")["opens_count"] == 2
    assert len(api("GET", f"{report}/email-activity/{one}")["activity"]) == 4
    api("GET", f"{report}/unsubscribed/{one}", status=404)


def test_clicks_by_link(api, report):
    links = api("GET", report + "/click-details")["urls_clicked"]
    assert {link["url"]: link["total_clicks"] for link in links} == {
        "https://firma.be/a": 1,
        "https://firma.be/b": 1,
    }
    people = api("GET", f"{report}/click-details/{links[0]['id']}/members")
    assert people["members"][0]["email_address"] == PEOPLE[0]
    api("GET", f"{report}/click-details/0000000000", status=404)


@pytest.mark.parametrize(
    "part",
    ["domain-performance", "locations", "advice", "eepurl", "sub-reports"]
    + ["ecommerce-product-activity"],
)
def test_the_other_parts(api, report, part):
    assert "total_items" in api("GET", f"{report}/{part}")


def test_a_campaign_shows_on_the_member(audience, api, sent):
    path = f"/lists/{audience.id}/members/{PEOPLE[0]}"
    feed = api("GET", path + "/activity-feed", activity_filters="open,click")
    assert len(feed["activity"]) == 4
    assert feed["activity"][0]["campaign_title"] == "News"
    activity = api("GET", path + "/activity")
    assert activity["activity"][-1]["action"] == "sent"
    assert api("GET", path)["stats"]["avg_open_rate"] == 1


@pytest.mark.parametrize("null", [False, True])
def test_dates_that_nothing_set(world, null):
    audience, api = world(report_dates_null=null)
    audience.add_members(2)
    campaign = audience.add_campaign()
    audience.send_campaign(campaign)
    report = api.raw("GET", f"/reports/{campaign.id}").json()
    assert report["opens"]["last_open"] == (None if null else "")


def test_a_campaign_of_the_past(audience, api):
    audience.add_members(60)
    added = max(m.last_changed for m in audience.members.values())
    campaign = audience.add_campaign(title="Summer")
    audience.send_campaign(campaign, send_time="2024-07-01T08:00:00+00:00")
    audience.generate(
        campaign, within=3600, opens=0.5, hard_bounces=0.2, unsubscribes=0.2
    )
    path = f"/reports/{campaign.id}"
    assert api("GET", path)["send_time"] == "2024-07-01T08:00:00+00:00"
    entries = api("GET", path + "/email-activity?count=100")["emails"]
    times = [event["timestamp"] for entry in entries for event in entry["activity"]]
    times += [
        entry["timestamp"]
        for entry in api("GET", path + "/unsubscribed?count=100")["unsubscribes"]
    ]
    assert times
    assert min(times) >= "2024-07-01T08:00:00+00:00"
    assert max(times) < "2024-07-01T09:00:00+00:00"
    gone = [m for m in audience.members.values() if m.status != "subscribed"]
    assert gone
    # Who reads what changed since the members were added hears of it.
    assert all(m.last_changed >= added for m in gone)


# --- types -----------------------------------------------------------------------


def test_an_ab_test_of_the_old_kind(audience, api):
    campaign = prepare(audience, "absplit")
    sides = api("GET", f"/reports/{campaign.id}")["ab_split"]
    assert sides["a"]["opens"] + sides["b"]["opens"] == 3
    groups = {
        s["absplit_group"]
        for s in api("GET", f"/reports/{campaign.id}/sent-to")["sent_to"]
    }
    assert groups == {"a", "b"}


def test_an_ab_test(audience, api):
    campaign = prepare(audience, "variate")
    (listed,) = api("GET", "/campaigns", list_id=audience.id)["campaigns"]
    assert listed["variate_settings"]["winning_campaign_id"]
    parent = api("GET", f"/reports/{campaign.id}")
    parts = api("GET", f"/reports/{campaign.id}/sub-reports")["reports"]
    assert [part["emails_sent"] for part in parts] == [3, 3]
    # The parent's totals include its parts.
    assert parent["emails_sent"] == 6
    assert parent["opens"]["opens_total"] == sum(
        p["opens"]["opens_total"] for p in parts
    )
    assert [r["id"] for r in api("GET", "/reports")["reports"]] == [campaign.id]


def test_an_rss_campaign_and_its_issues(audience, api):
    audience.add_members(3)
    parent = audience.add_campaign("rss", title="Blog")
    for number in range(2):
        child = audience.add_campaign(title=f"Issue {number}", parent=parent)
        audience.send_campaign(child)
    found = api("GET", "/campaigns", list_id=audience.id)["campaigns"]
    assert [c.get("parent_campaign_id") for c in found] == [None, parent.id, parent.id]


@pytest.mark.parametrize("listed", [False, True])
def test_automations_are_in_the_reports(world, listed):
    audience, api = world(campaigns_list_automations=listed)
    audience.add_members(3)
    parent = audience.add_campaign("automation", title="Welcome")
    child = audience.add_campaign(title="First mail", parent=parent)
    audience.send_campaign(child)
    reports = {r["id"]: r for r in api("GET", "/reports")["reports"]}
    assert reports[parent.id]["type"] == "automation"
    found = [c["id"] for c in api.raw("GET", "/campaigns").json()["campaigns"]]
    assert (parent.id in found) == (child.id in found) == listed


# --- sending ---------------------------------------------------------------------


def test_a_campaign_is_made_and_sent(audience, api):
    body = {"type": "regular", "recipients": {"list_id": audience.id}}
    made = api("POST", "/campaigns", body)
    path = f"/campaigns/{made['id']}"
    assert made["status"] == "save"
    assert api("GET", path + "/send-checklist")["is_ready"] is False
    api("POST", path + "/actions/send", status=400)
    api("GET", f"/reports/{made['id']}", status=404)
    audience.add_member("ann@firma.be")
    audience.add_member("bob@firma.be", "unsubscribed")
    settings = {"subject_line": "Hi", "from_name": "X", "reply_to": "x@firma.be"}
    api("PATCH", path, {"settings": settings})
    assert api("GET", path + "/send-checklist")["is_ready"] is True
    assert api("POST", path + "/actions/send") is None
    assert api("GET", path)["emails_sent"] == 1
    # Sending is not repeatable.
    api("POST", path + "/actions/send", status=400)


def test_a_schedule_is_on_a_quarter_hour(audience, api):
    campaign = audience.add_campaign()
    path = f"/campaigns/{campaign.id}/actions"
    body = {"schedule_time": "2027-01-01T10:05:00+00:00"}
    api("POST", path + "/schedule", body, status=400)
    body = {"schedule_time": "2027-01-01T10:15:00+00:00"}
    assert api("POST", path + "/schedule", body) is None
    assert api("GET", f"/campaigns/{campaign.id}")["status"] == "schedule"
    assert api("POST", path + "/unschedule") is None


def test_filters(sim, audience, api):
    sim.clock.set("2026-03-01T00:00:00Z")
    audience.add_members(2)
    old = audience.add_campaign(title="Old")
    audience.send_campaign(old)
    sim.advance(86400)
    new = audience.add_campaign("plaintext", title="New")
    audience.send_campaign(new)
    audience.add_campaign(title="Draft")

    def titles(**query):
        found = api.raw("GET", "/campaigns", **query).json()["campaigns"]
        return [c["settings"]["title"] for c in found]

    assert titles(status="sent") == ["Old", "New"]
    assert titles(since_send_time="2026-03-01T12:00:00+00:00") == ["New"]
    assert titles(type="plaintext") == ["New"]
    assert titles(status="sent", sort_field="send_time", sort_dir="DESC") == [
        "New",
        "Old",
    ]
    found = api("GET", "/reports", before_send_time="2026-03-01T12:00:00+00:00")
    assert [r["id"] for r in found["reports"]] == [old.id]


def test_recipients_by_group_and_tag(audience):
    interest = audience.add_interest(audience.add_category("CRM"), "Customers")
    audience.add_member("ann@firma.be", interests=[interest.id], tags=["VIP"])
    audience.add_members(3)
    for wanted, count in (
        ({"interest": "Customers"}, 1),
        ({"tag": "VIP"}, 1),
        (["person1@example.com", "nobody@firma.be"], 1),
        ("all", 4),
    ):
        assert audience.send_campaign(audience.add_campaign(), wanted) == count


def test_generated_reactions_repeat(simulate):
    results = []
    for _time in range(2):
        audience = simulate().add_audience("A")
        audience.add_members(200)
        campaign = audience.add_campaign()
        audience.send_campaign(campaign)
        counts = audience.generate(
            campaign,
            opens=0.5,
            clicks=0.2,
            unsubscribes=0.05,
            hard_bounces=0.05,
            complaints=0.02,
            seed=3,
        )
        results.append((counts, audience.counts()))
    assert results[0] == results[1]
    assert all(results[0][0][name] for name in ("opens", "clicks", "unsubscribes"))
    # Somebody erased meanwhile does not stop the others.
    audience.delete_permanently("person1@example.com")
    audience.generate(campaign, opens=1.0)
