"""Make the data of the Banking77 study: some intents, some examples of each, as plain prompts.

    python benchmarks/banking77.py FOLDER_OF_THE_CSV_FILES GSM8K_TEST_FILE OUTPUT

Writes train.jsonl and test.jsonl, and as a text that has nothing to do with them general.txt: the
first 25 problems of GSM8K's test data with their solutions. The intents are drawn with a fixed
seed, and so are the examples and their order; the test data holds every test message of those
intents.
"""

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path
from random import Random

INTENTS, EXAMPLES, PROBLEMS = 20, 50, 25
SEED = 77


def read_messages(path: Path) -> dict[str, list[str]]:
    """The messages of each intent, in the order of the file."""
    by_intent: dict[str, list[str]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            by_intent[row["category"]].append(" ".join(row["text"].split()))
    return by_intent


def write_examples(path: Path, messages: list[tuple[str, str]]) -> None:
    """Write messages with their intents as prompts and completions, in an order of chance."""
    Random(SEED).shuffle(messages)
    lines = [
        json.dumps({"prompt": f"{text}\nIntent:", "completion": f" {intent}"})
        for text, intent in messages
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_general(path: Path, gsm8k: Path) -> None:
    """Write the general text."""
    problems = [json.loads(line) for line in gsm8k.read_text("utf-8").splitlines()[:PROBLEMS]]
    parts = [f"{problem['question']}\n{problem['answer']}" for problem in problems]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main(source: Path, gsm8k: Path, output: Path) -> None:
    """Write all three files."""
    train, test = (read_messages(source / f"{part}.csv") for part in ("train", "test"))
    intents = sorted(Random(SEED).sample(sorted(train), INTENTS))
    output.mkdir(parents=True, exist_ok=True)
    write_general(output / "general.txt", gsm8k)
    picked = {
        intent: Random(f"{SEED} {intent}").sample(train[intent], min(EXAMPLES, len(train[intent])))
        for intent in intents
    }
    for name, messages in (("train", picked), ("test", {i: test[i] for i in intents})):
        pairs = [(text, intent) for intent in intents for text in messages[intent]]
        write_examples(output / f"{name}.jsonl", pairs)
        print(f"{output / name}.jsonl: {len(pairs)} messages, {len(intents)} intents")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
