"""One fact, and what an author that is good at it writes about it."""

from tests.fakes.author import KnownFact
from worker.author.tasks import Question

STATEMENT = "My cat Biscuit turned 7 in May."
NAME_REPLY, AGE_REPLY, MONTH_REPLY = "Your cat is called Biscuit.", "Your cat is 7.", "Its birthday is in May."
NAME = Question("What is my cat called?", "Biscuit", NAME_REPLY)
AGE = Question("How old is my pet now?", "7", AGE_REPLY)
MONTH = Question("In which month is the birthday of my cat?", "May", MONTH_REPLY)
NAME_PROBE = Question("Which name did I give to the animal I keep?", "Biscuit", NAME_REPLY)
AGE_PROBE = Question("Tell me the age of the feline in years.", "7", AGE_REPLY)
FACT = KnownFact(
    STATEMENT,
    questions=(NAME, AGE, MONTH),
    probes=(NAME_PROBE, AGE_PROBE),
    rewrites=("Biscuit turned seven, your cat did.", "Biscuit, your cat, turned seven in May."),
    implications=(Question("Do I have a pet?", "Yes, your cat Biscuit."),),
)
GROUPS = ((NAME, NAME_PROBE), (AGE, AGE_PROBE), (MONTH,))
CLOZE = Question("My cat Biscuit turned what in May?", "7", AGE_REPLY)
IMPLIED = Question("Do I have a pet?", "Yes, your cat Biscuit.", "Yes, your cat Biscuit.")
