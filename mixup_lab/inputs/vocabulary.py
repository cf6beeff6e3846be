"""From a text to token ids: how it is cut, and which tokens have a number. Learnt from training texts alone."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mixup_lab.inputs.bpe import BPE, END, characters, learn

TOKENIZERS = ("words", "spaces", "bpe")
PADDING, UNKNOWN = 0, 1  # the first two ids
SPECIAL = ("", "[?]")  # their names
BPE_SIZE = 8000  # tokens, where nothing else is said
# A word with what apostrophes and hyphens hold together; a clitic that stands apart, as in "it 's"; any other sign.
WORD = re.compile(r"\w+(?:['’\-]\w+)*|['’]\w+|[^\w\s]")


def cut(text: str, tokenizer: str, lowercase: bool) -> list[str]:
    """The words of a text and its punctuation marks one by one; with `spaces` what stands between spaces.

    Characters that can be written in several ways are written in one (Unicode NFC).
    """
    text = unicodedata.normalize("NFC", text.lower() if lowercase else text)
    return text.split() if tokenizer == "spaces" else WORD.findall(text)


@dataclass(frozen=True)
class Vocabulary:
    """Names of all tokens by their id; the first two are padding and unknown. `split` cuts a word into its tokens."""

    names: tuple[str, ...]
    split: Callable[[str], Sequence[str]]

    def encode(self, texts: Iterable[Sequence[str]]) -> list[list[int]]:
        """Ids of the tokens of each text, given as words."""
        number = {name: i for i, name in enumerate(self.names) if i > UNKNOWN}
        known: dict[str, list[int]] = {}
        out = []
        for words in texts:
            ids: list[int] = []
            for word in words:
                if word not in known:
                    known[word] = [number.get(token, UNKNOWN) for token in self.split(word)]
                ids += known[word]
            out.append(ids)
        return out


def learn_vocabulary(texts: Iterable[Sequence[str]], tokenizer: str, size: int | None, least: int) -> Vocabulary:
    """The vocabulary of training texts, given as words.

    Words are numbered from the most frequent one on, equally frequent ones in alphabetical order. Of BPE the characters
    come first, then the merges in their order.

    Args:
        texts: each as its words.
        tokenizer: one of TOKENIZERS.
        size: tokens, padding and unknown included, at most; None: all words, or BPE_SIZE of BPE. The characters are
            kept in any case.
        least: words (characters, pairs to be merged) that occur less often have no number.
    """
    counts = Counter(word for words in texts for word in words)
    if tokenizer != "bpe":
        found = sorted((word for word, n in counts.items() if n >= least), key=lambda word: (-counts[word], word))
        return Vocabulary((*SPECIAL, *(found if size is None else found[: max(0, size - 2)])), lambda word: (word,))
    singles: Counter[str] = Counter()
    for word, n in counts.items():
        for symbol in characters(word):
            singles[symbol] += n
    kept = sorted(symbol for symbol, n in singles.items() if n >= least)
    merges = learn(counts, (BPE_SIZE if size is None else size) - 2 - len(kept), max(2, least))
    names = dict.fromkeys([*kept, *(left + right for left, right in merges)])  # two merges may give one token
    return Vocabulary((*SPECIAL, *names), BPE(merges))


def padded(ids: Sequence[Sequence[int]], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids as int32 (N, length), cut or filled up with PADDING, and the lengths (N,) int64 that remain."""
    out = np.full((len(ids), length), PADDING, dtype=np.int32)
    for row, text in zip(out, ids, strict=True):
        row[: min(len(text), length)] = text[:length]
    return out, np.array([min(len(text), length) for text in ids], dtype=np.int64)


def spelt(tokens: Iterable[str]) -> str:
    """Tokens as a text to be read."""
    parts = list(tokens)
    if any(part.endswith(END) for part in parts):
        return "".join(part.removesuffix(END) + " " * part.endswith(END) for part in parts).rstrip()
    return " ".join(parts)
