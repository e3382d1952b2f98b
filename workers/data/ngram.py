"""An n-gram model of what tokens follow one another, as an ARPA file.

Interpolated Kneser-Ney with one discount an order (Kneser and Ney, ICASSP 1995; Chen and Goodman,
1999, section 2.7).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
_NEVER = -99.0  # as ARPA files write log 0
_LEAST_DISCOUNT, _MOST_DISCOUNT = 0.1, 0.95

Gram = tuple[str, ...]


def name_of(token: int) -> str:
    """What a token is called in the file: symbols may hold what ARPA has for itself."""
    return f"t{token}"


def write_arpa(sentences: Iterable[Sequence[int]], n_tokens: int, order: int, path: Path) -> None:
    """Count the tokens of sentences and write the model.

    Args:
        n_tokens: that there are, the blank among them; those that never occur get a little.
        order: the longest gram.
    """
    counts = _counted(sentences, order)
    every = [name_of(i) for i in range(1, n_tokens)]
    probabilities, backoffs = _estimated(counts, every, order)
    with path.open("w", encoding="utf-8") as file:
        file.write("\\data\\\n")
        for n in range(1, order + 1):
            file.write(f"ngram {n}={len(probabilities[n])}\n")
        for n in range(1, order + 1):
            file.write(f"\n\\{n}-grams:\n")
            for gram, p in sorted(probabilities[n].items()):
                log_p = math.log10(p) if p > 0 else _NEVER
                backoff = backoffs.get(gram)
                tail = "" if backoff is None or n == order else f"\t{math.log10(backoff):.6f}"
                file.write(f"{log_p:.6f}\t{' '.join(gram)}{tail}\n")
        file.write("\n\\end\\\n")


def _counted(sentences: Iterable[Sequence[int]], order: int) -> list[Counter[Gram]]:
    """How often each gram occurs, by order."""
    counts: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
    for sentence in sentences:
        words = [BEGIN, *map(name_of, sentence), END]
        for n in range(1, order + 1):
            for i in range(len(words) - n + 1):
                counts[n][tuple(words[i : i + n])] += 1
    return counts


def _estimated(
    counts: list[Counter[Gram]], every: Sequence[str], order: int
) -> tuple[list[dict[Gram, float]], dict[Gram, float]]:
    """Probabilities by order, and what each context leaves to the order below."""
    adjusted = _continuations(counts, order)
    words = {(w,) for w in (*every, END)} | {g for g in adjusted[1] if g != (BEGIN,)}
    uniform = 1.0 / (len(words) + 1)
    backoffs: dict[Gram, float] = {}
    probabilities: list[dict[Gram, float]] = [{} for _ in range(order + 1)]
    discount, total = _discount(adjusted[1]), sum(adjusted[1][w] for w in words)
    left = discount * sum(adjusted[1][w] > 0 for w in words) / max(1, total)
    for word in words:
        own = max(0.0, adjusted[1][word] - discount) / max(1, total)
        probabilities[1][word] = own + left * uniform
    probabilities[1][UNKNOWN,] = left * uniform or uniform
    probabilities[1][BEGIN,] = 0.0
    for n in range(2, order + 1):
        discount = _discount(adjusted[n])
        totals: Counter[Gram] = Counter()
        kinds: Counter[Gram] = Counter()
        for gram, count in adjusted[n].items():
            totals[gram[:-1]] += count
            kinds[gram[:-1]] += 1
        for context, total in totals.items():
            backoffs[context] = discount * kinds[context] / total
        for gram, count in adjusted[n].items():
            below = _below(gram[1:], probabilities, backoffs)
            own = max(0.0, count - discount) / totals[gram[:-1]]
            probabilities[n][gram] = own + backoffs[gram[:-1]] * below
    return probabilities, backoffs


def _below(
    gram: Gram, probabilities: list[dict[Gram, float]], backoffs: dict[Gram, float]
) -> float:
    """The probability of a shorter gram's last word, backing off where it never occurred."""
    weight = 1.0
    while len(gram) > 1 and gram not in probabilities[len(gram)]:
        weight *= backoffs.get(gram[:-1], 1.0)
        gram = gram[1:]
    return weight * probabilities[len(gram)].get(gram, probabilities[1][UNKNOWN,])


def _continuations(counts: list[Counter[Gram]], order: int) -> list[Counter[Gram]]:
    """Below the highest order, in how many contexts a gram occurs instead of how often; of what a
    sentence begins with, how often."""
    adjusted = list(counts)
    for n in range(1, order):
        before: dict[Gram, set[str]] = defaultdict(set)
        for gram in counts[n + 1]:
            before[gram[1:]].add(gram[0])
        adjusted[n] = Counter({gram: len(found) for gram, found in before.items()})
        for gram, count in counts[n].items():
            if gram[0] == BEGIN:
                adjusted[n][gram] = count
    return adjusted


def _discount(counts: Counter[Gram]) -> float:
    """n1 / (n1 + 2 n2), of how many grams occur once and twice."""
    once, twice = (sum(c == k for c in counts.values()) for k in (1, 2))
    found = once / (once + 2 * twice) if once else _LEAST_DISCOUNT
    return min(_MOST_DISCOUNT, max(_LEAST_DISCOUNT, found))
