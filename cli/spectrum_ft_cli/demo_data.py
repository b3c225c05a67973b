"""The data of the demo: short messages to a shop's support desk, and where each belongs.

Made from templates, so nothing has to be fetched; the held-out messages name products and days
that the training messages never do.
"""

import json
from collections.abc import Iterator
from itertools import product

INSTRUCTION = "Name the desk that this message belongs to."

_TEMPLATES = {
    "delivery": (
        "Where is my {thing}? It should have been here on {day}.",
        "The parcel with the {thing} was to arrive on {day}, and nothing has come.",
        "Can you tell me when the {thing} will get here? You said {day}.",
    ),
    "refund": (
        "I sent the {thing} back on {day} and have not seen my money yet.",
        "Please pay me back for the {thing} that I returned on {day}.",
        "How long does it take until the price of the {thing} is refunded? I returned it {day}.",
    ),
    "repair": (
        "My {thing} stopped working on {day}. Can it be fixed?",
        "The {thing} has been making a strange noise since {day}.",
        "Since {day} the {thing} will not switch on any more.",
    ),
    "billing": (
        "I was charged twice for the {thing} on {day}.",
        "The invoice for the {thing} that I got on {day} has the wrong address on it.",
        "Why is the {thing} on my bill of {day} dearer than in the shop?",
    ),
    "cancelling": (
        "I ordered a {thing} on {day} and do not want it any more.",
        "Please cancel the {thing} before it ships on {day}.",
        "Is it too late to call off my order of {day}, the {thing}?",
    ),
}
_SEEN = (("kettle", "lamp", "printer", "blender"), ("Monday", "Tuesday", "the 3rd", "the 14th"))
_HELD_OUT = (("toaster", "camera"), ("Friday", "the 21st"))


def _conversations(things: tuple[str, ...], days: tuple[str, ...]) -> Iterator[str]:
    for thing, day, (desk, templates) in product(things, days, _TEMPLATES.items()):
        for template in templates:
            turns = {
                "system": INSTRUCTION,
                "user": template.format(thing=thing, day=day),
                "assistant": desk,
            }
            messages = [{"role": role, "content": content} for role, content in turns.items()]
            yield json.dumps({"messages": messages}) + "\n"


def training_lines() -> str:
    """240 conversations as JSON lines."""
    return "".join(_conversations(*_SEEN))


def held_out_lines() -> str:
    """60 more, about other things on other days."""
    return "".join(_conversations(*_HELD_OUT))
