"""Have the embedded base answer all anchors and controls anew, for shipping: `engram base-answers`.

Needed after a change of the prompts in `worker/anchors` or in the author's examples: what is missing is answered at
every first start on a machine, some minutes on two cores for all.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from engram.settings import Settings
from worker.base_model import prepare
from worker.learner import BASE_ANSWER_TOKENS, open_learner
from worker.training.anchors import SHIPPED_ANSWERS, AnswerCache, write_answers


def main() -> None:
    parser = argparse.ArgumentParser(prog="engram base-answers", description=__doc__)
    parser.add_argument("--output", type=Path, default=SHIPPED_ANSWERS)
    output: Path = parser.parse_args().output
    settings = Settings(model="")
    with tempfile.TemporaryDirectory() as scratch:
        cache = AnswerCache(Path(scratch), base_path="embedded", max_tokens=BASE_ANSWER_TOKENS)
        learner = replace(open_learner(prepare(settings), settings), cache=cache)
        learner.prepare(lambda done, total: print(f"{done} of {total} prompts answered", flush=True))
        write_answers({prompt: cache.answers[prompt] for prompt in learner.prompts.answered}, output)


if __name__ == "__main__":
    main()
