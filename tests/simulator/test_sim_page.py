"""A person at the page of the simulator."""

import pytest
import requests


@pytest.fixture
def page(sim):
    def get(path, **form):
        method = "POST" if form else "GET"
        return requests.request(method, sim.root + path, data=form or None, timeout=5)

    return get


def test_a_person_acts_as_mailchimp(sim, audience, api, page):
    list_path = f"/audiences/{audience.id}"
    api("GET", "/ping")
    assert "Customers" in page("/").text
    said = page(
        list_path,
        act="add_member",
        email="ann@firma.be",
        merge_FNAME="Ann",
        status="subscribed",
        back=list_path,
    )
    assert "ann@firma.be is in the audience now." in said.text
    assert "FNAME: Ann" in said.text
    member_path = f"{list_path}/members/{audience.members['ann@firma.be'].hash}"
    assert "Edit as an admin" in page(member_path).text
    page(list_path, act="edit", email="ann@firma.be", merge_FNAME="Anna", tag="VIP")
    member = audience.members["ann@firma.be"]
    assert (member.merge_fields["FNAME"], member.tag_names) == ("Anna", ["VIP"])
    page(list_path, act="add_campaign", title="News", type="regular")
    (campaign,) = sim.account.campaigns
    said = page(
        list_path,
        act="send_campaign",
        campaign=campaign,
        to="tag:VIP",
        back=f"{list_path}/campaigns/{campaign}",
    )
    assert "Sent to 1 people." in said.text
    page(list_path, act="generate", campaign=campaign, opens="100")
    assert api("GET", f"/reports/{campaign}")["opens"]["unique_opens"] == 1
    for act, status in (
        ("unsubscribe", "unsubscribed"),
        ("confirm", "unsubscribed"),
        ("sign_up", "subscribed"),
        ("complain", "unsubscribed"),
        ("bounce", "cleaned"),
        ("archive", "archived"),
    ):
        page(list_path, act=act, email="ann@firma.be")
        assert audience.members["ann@firma.be"].status == status
    page(list_path, act="delete_permanently", email="ann@firma.be")
    assert "ann@firma.be" not in audience.members
    assert "/ping" in page("/calls").text


def test_searching_and_leafing(audience, page):
    audience.add_members(45)
    path = f"/audiences/{audience.id}"
    assert "45 in all, page 1 of 3" in page(path).text
    assert "page 3 of 3" in page(path + "?page=99").text
    found = page(path + "?q=person45").text
    assert "1 in all" in found
    assert "person44@" not in found
    assert "Nobody." in page(path + "?status=cleaned").text


def test_the_page_says_what_is_wrong(audience, page):
    path = f"/audiences/{audience.id}"
    assert (
        "is not in the audience"
        in page(path, act="archive", email="who@firma.be", back=path).text
    )
    assert page("/audiences/0000000000").status_code == 404
    assert page(path + "/members/0").status_code == 404


def test_the_page_escapes_what_it_shows(audience, page):
    audience.add_member("ann@firma.be", merge_fields={"FNAME": "<script>alert(1)"})
    for path in (f"/audiences/{audience.id}", f"/audiences/{audience.id}?q=%3Cscript"):
        text = page(path).text
        assert "<script>" not in text
    reply = page(f"/audiences/{audience.id}", act="x", back="//evil.example/")
    assert reply.url.startswith(page("/").url)
