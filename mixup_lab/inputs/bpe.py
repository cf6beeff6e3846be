"""Byte pair encoding of words (Sennrich et al.: Neural Machine Translation of Rare Words with Subword Units, 2016).

A word is a sequence of characters, the last of them marked as the end of the word. Learning merges the most frequent
pair of neighbours again and again; encoding repeats the merges in their order. A rare word becomes a few common parts.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

END = "</w>"  # appended to the last symbol of a word
Pair = tuple[str, str]


def characters(word: str) -> tuple[str, ...]:
    """The symbols of a word before any merge: its characters, the last one with END."""
    return (*word[:-1], word[-1] + END)


def merged(symbols: Sequence[str], pair: Pair) -> tuple[str, ...]:
    """The symbols after merging each occurrence of the pair into one symbol, from left to right."""
    out: list[str] = []
    i = 0
    while i < len(symbols):
        if i + 1 < len(symbols) and (symbols[i], symbols[i + 1]) == pair:
            out.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return tuple(out)


def learn(words: Mapping[str, int], count: int, least: int = 2) -> list[Pair]:
    """Learn the merges, in their order (algorithm 1 of the paper).

    The most frequent pair is merged first; ties go to the first in alphabetical order.

    Args:
        words: how often each word occurs.
        count: maximum number of merges.
        least: pairs that occur less often are not merged.
    """
    spelt = {word: characters(word) for word in words}
    pairs: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[str]] = defaultdict(set)  # words that contain the pair, or did earlier
    for word, symbols in spelt.items():
        for pair in pairwise(symbols):
            pairs[pair] += words[word]
            where[pair].add(word)
    # A heap of counts, some of them out of date: an entry that is wrong when popped goes back with the right count.
    heap = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(heap)
    merges: dict[Pair, None] = {}  # two merges may give one symbol, so a pair can return: its first place counts
    while heap and len(merges) < count:
        negative, pair = heapq.heappop(heap)
        if -negative != pairs[pair]:
            if pairs[pair] >= least:
                heapq.heappush(heap, (-pairs[pair], pair))
            continue
        if -negative < least:
            break
        merges.setdefault(pair)
        touched: set[Pair] = set()
        for word in where.pop(pair):
            before = spelt[word]
            after = merged(before, pair)
            if len(after) == len(before):
                continue
            for old in pairwise(before):
                pairs[old] -= words[word]
            for new in pairwise(after):
                pairs[new] += words[word]
                where[new].add(word)
                touched.add(new)
            spelt[word] = after
        del pairs[pair]
        for new in touched:
            heapq.heappush(heap, (-pairs[new], new))
    return list(merges)


class BPE:
    """Encodes words with learnt merges, and caches the symbols of each word."""

    def __init__(self, merges: Sequence[Pair]) -> None:
        self._rank = {pair: rank for rank, pair in enumerate(merges)}
        self._cache: dict[str, tuple[str, ...]] = {}

    def __call__(self, word: str) -> tuple[str, ...]:
        """The symbols of a word: apply the first merge that fits, everywhere in the word, until none fits."""
        if word not in self._cache:
            symbols = characters(word)
            while len(symbols) > 1:
                pair = min(pairwise(symbols), key=lambda p: self._rank.get(p, len(self._rank)))
                if pair not in self._rank:
                    break
                symbols = merged(symbols, pair)
            self._cache[word] = symbols
        return self._cache[word]
