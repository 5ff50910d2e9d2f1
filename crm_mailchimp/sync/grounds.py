from dataclasses import dataclass, field


@dataclass(frozen=True)
class Grounds:
    """Why an opt-in changes, where no user ticked it.

    It travels in the context under ``mailchimp_grounds``. What comes in from outside
    is JSON and can never be an object of this class, so nobody can forge one.

    :param str source: a value of the consent line's ``source``
    :param dict said: contact id -> ``(address, date, note)``: which address said it,
        when by Mailchimp's clock, and in which words
    """

    source: str
    said: dict = field(default_factory=dict)
