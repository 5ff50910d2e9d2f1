import pytest
from engine.address import is_address, member_hash


@pytest.mark.parametrize(
    "address",
    [
        "ann@firma.be",
        "a.b+c@sub.firma.co.uk",
        "o'neil@firma.ie",
        "ann@müller.de",
        "_x@firma.be",
    ],
)
def test_takes_addresses(address):
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        None,
        "ann",
        "ann@firma",
        "ann@@firma.be",
        "a@b@firma.be",
        ".ann@firma.be",
        "ann.@firma.be",
        "ann@firma..be",
        "ann@firma.b",
        "\u200bann@firma.be",
        "anné@firma.be",
        "ann smith@firma.be",
        "ann@fir ma.be",
        "ann@firma.be,bob@firma.be",
        "<ann@firma.be>",
        "ann@firma.be\n",
        f"{'a' * 250}@firma.be",
    ],
)
def test_refuses_what_mailchimp_would(address):
    assert not is_address(address)


def test_hash_is_of_the_lower_cased_address():
    # From Mailchimp's documentation of the subscriber hash.
    assert member_hash("Urist.McVankab@freddiesjokes.com") == (
        "62eeb292278cc15f5817cb78f7790b08"
    )
    assert member_hash(" urist.mcvankab@freddiesjokes.com ") == (
        "62eeb292278cc15f5817cb78f7790b08"
    )
