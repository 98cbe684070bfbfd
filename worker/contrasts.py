"""Questions next to a fact that were never told: 'What is my hamster called?' beside a cat's name. Pure.

A small model that learns a cat's name easily says it of every pet. So while it learns, it is also
asked about what stands beside, and learns to say that it was not told (`NOT_TOLD`). Words of a
class stand for one another; some of each class are kept back, and only examine.
"""

import random
import re
from collections.abc import Iterable

from engram.similarity import content_words

NOT_TOLD = "I don't know; you have not told me that."

# Words joined by / mean the same, so none of them makes a contrast with another. No word for a whole class (pet).
_CLASSES = (
    "dog/puppy cat/kitten hamster rabbit parrot horse goldfish tortoise pony canary lizard goat donkey snake ferret",
    "sister brother aunt uncle cousin nephew niece grandmother/gran/granny/grandma grandfather/grandad/grandpa "
    "mother/mum/mom father/dad stepfather stepmother godmother godfather son daughter wife husband girlfriend "
    "boyfriend fiancé fiancée granddaughter grandson mother-in-law father-in-law sister-in-law brother-in-law",
    "boss/manager colleague/coworker neighbour/neighbor landlord/landlady flatmate/roommate dentist doctor/gp "
    "hairdresser/barber plumber accountant lawyer/solicitor teacher coach/trainer tutor physiotherapist optician vet "
    "therapist gardener cleaner babysitter mechanic tailor mentor",
    "car van bike/bicycle motorbike/motorcycle boat/yacht scooter truck/lorry caravan/camper skateboard canoe/kayak "
    "tractor trailer",
    "breakfast lunch dinner/supper dessert/pudding snack cake soup cocktail pie pizza sandwich salad cheese fruit "
    "vegetable",
    "book/novel film/movie song album painting poem podcast magazine sport hobby/pastime instrument opera musical",
    "house garden shed garage cellar/basement kitchen bathroom office workshop cabin/cottage attic/loft balcony studio "
    "barn",
    "phone/mobile laptop/computer tablet camera printer television/tv radio router headphones/headset keyboard lamp "
    "fridge oven kettle",
    "wedding birthday anniversary graduation appointment exam interview flight holiday/vacation concert party reunion "
    "christening conference operation/surgery",
    "bookshop bakery restaurant café school university/college hospital gym museum library bank church market theatre "
    "pharmacy",
    "allergy illness injury vitamin inhaler medicine/medication/tablet/pill",
    "password/passcode pin postcode email username licence passport locker",
    "shoe coat/jacket hat ring dress shirt trousers scarf glasses belt glove suit",
    "monday tuesday wednesday thursday friday saturday sunday",
)
_SYNONYMS = {word: group.split("/") for line in _CLASSES for group in line.split() for word in group.split("/")}
_CLASS_OF = {
    word: [group.split("/")[0] for group in line.split()]
    for line in _CLASSES
    for group in line.split()
    for word in group.split("/")
}
_EXAMINES_EVERY = 4
_WORDS = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


def contrasts(questions: Iterable[str], *, told: frozenset[str], seed: int, examine: bool = False) -> list[str]:
    """One question beside each that names something with a class. `told`: content words of all that was told.

    With `examine` the words that are kept back take the place, so that none of these was trained on.
    """
    rng = random.Random(seed)
    made = (_contrast(question, told, rng, examine=examine) for question in questions)
    return list(dict.fromkeys(question for question in made if question))


def _contrast(question: str, told: frozenset[str], rng: random.Random, *, examine: bool) -> str | None:
    spots = [match for match in _WORDS.finditer(question) if _singular(match[0])]
    rng.shuffle(spots)
    for spot in spots:
        word = _singular(spot[0])
        others = [other for other in _others(word, examine=examine) if not content_words(" ".join(_SYNONYMS[other])) & told]
        if others:
            other = rng.choice(others)
            plural = spot[0].lower() not in _CLASS_OF
            shown = other.capitalize() if spot[0][0].isupper() else other
            return question[: spot.start()] + shown + "s" * plural + question[spot.end() :]
    return None


def _others(word: str, *, examine: bool) -> list[str]:
    same = _SYNONYMS[word][0]
    return [
        other
        for number, other in enumerate(_CLASS_OF[word])
        if other != same and (number % _EXAMINES_EVERY == 0) == examine
    ]


def _singular(word: str) -> str:
    """The word as a class lists it, or an empty string."""
    low = word.lower()
    return low if low in _CLASS_OF else low[:-1] if low.endswith("s") and low[:-1] in _CLASS_OF else ""
