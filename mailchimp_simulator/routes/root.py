"""``/``, ``/ping`` and the search over all members."""

from .. import problems
from ..render import member_view
from ..routing import route
from ..state import iso


@route("GET", "/")
def root(request):
    account = request.account
    return {
        "account_id": account.id,
        "login_id": str(account.login_id),
        "account_name": account.name,
        "email": "owner@example.com",
        "first_name": "Olive",
        "last_name": "Owner",
        "username": "owner",
        "avatar_url": "",
        "role": request.key.role if request.key else "owner",
        "member_since": iso(account.member_since),
        "pricing_plan_type": "monthly",
        "first_payment": iso(account.member_since),
        "account_timezone": "UTC",
        "account_industry": "Software and Web App",
        "contact": {
            "company": "Example Ltd",
            "addr1": "1 Example Street",
            "addr2": "",
            "city": "Atlanta",
            "state": "GA",
            "zip": "30308",
            "country": "US",
        },
        "pro_enabled": False,
        "last_login": iso(account.clock.now()),
        "total_subscribers": sum(
            a.count("subscribed") for a in account.audiences.values()
        ),
        "industry_stats": {
            "open_rate": 0.21,
            "bounce_rate": 0.01,
            "click_rate": 0.02,
        },
    }


@route("GET", "/ping")
def ping(request):
    return {"health_status": "Everything's Chimpy!"}


@route("GET", "/search-members")
def search_members(request):
    text = request.query.get("query")
    if not text:
        raise problems.missing("query")
    text = text.strip().lower()
    audiences = request.account.audiences
    if "list_id" in request.query:
        audiences = {"": request.audience(request.query["list_id"])}
    exact, similar = [], []
    for audience in audiences.values():
        for address, member in audience.members.items():
            if address == text:
                exact.append(member)
            elif text in address or text in " ".join(_names(member)):
                similar.append(member)
    return {
        "exact_matches": _matches(exact),
        "full_search": _matches(similar),
    }


def _names(member):
    merges = member.merge_fields
    return [str(merges.get(tag, "")).lower() for tag in ("FNAME", "LNAME")]


def _matches(members):
    return {
        "members": [member_view(member) for member in members[:30]],
        "total_items": len(members),
    }
