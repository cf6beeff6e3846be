"""From a text to token ids: how it is cut, and which tokens have an id. Learnt from training texts alone."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from mixup_lab.inputs.bpe import BPE, END, characters, learn

TOKENIZERS = ("words", "spaces", "bpe")
PADDING, UNKNOWN = 0, 1  # the first two ids
SPECIAL = ("", "[?]")  # their names
BPE_SIZE = 8000  # tokens, by default
# A word, with apostrophes and hyphens inside it; a separate clitic, as in "it 's"; any other symbol.
WORD = re.compile(r"\w+(?:['’\-]\w+)*|['’]\w+|[^\w\s]")
# Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana and Chinese characters.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)


def cut(text: str, tokenizer: str, lowercase: bool) -> list[str]:
    """The words and single punctuation marks of a text; with `spaces` the parts between spaces.

    In scripts without spaces, such as Chinese, each character is a word; `bpe` learns the parts of what stands between
    spaces. Characters with several Unicode spellings get one (NFC).
    """
    text = unicodedata.normalize("NFC", text.lower() if lowercase else text)
    if tokenizer == "spaces":
        return text.split()
    return (WORD if text.isascii() else _any_script(tokenizer == "words")).findall(text)


@cache
def _any_script(characters: bool) -> re.Pattern[str]:
    """WORD for all scripts: marks on letters and joiners between them, which `\\w` lacks, belong to a word.

    With `characters` each character of UNSPACED stands alone.
    """
    marks = "".join(c for c in map(chr, range(0x300, 0x20000)) if unicodedata.category(c)[0] == "M")
    marks = f"[{marks}\u200c\u200d]"
    letter = rf"[^\W{UNSPACED}]" if characters else r"\w"
    word = rf"{letter}+(?:{marks}+{letter}*)*"
    alone = rf"[{UNSPACED}]{marks}*|" if characters else ""
    return re.compile(rf"{alone}{word}(?:['’\-]{word})*|['’]{word}|[^\w\s]{marks}*")


@dataclass(frozen=True)
class Vocabulary:
    """Names of all tokens by their id; the first two are padding and unknown. `split` cuts a word into its tokens."""

    names: tuple[str, ...]
    split: Callable[[str], Sequence[str]]

    def encode(self, texts: Iterable[Sequence[str]]) -> list[list[int]]:
        """The token ids of each text; a text is a list of words."""
        number = {name: i for i, name in enumerate(self.names) if i > UNKNOWN}
        cache: dict[str, list[int]] = {}
        out = []
        for words in texts:
            ids: list[int] = []
            for word in words:
                if word not in cache:
                    cache[word] = [number.get(token, UNKNOWN) for token in self.split(word)]
                ids += cache[word]
            out.append(ids)
        return out


def learn_vocabulary(texts: Iterable[Sequence[str]], tokenizer: str, size: int | None, least: int) -> Vocabulary:
    """Learn a vocabulary from training texts.

    Words get their ids by decreasing frequency; ties are in alphabetical order. With BPE the characters come first,
    then the merges in their order.

    Args:
        texts: each as a list of words.
        tokenizer: one of TOKENIZERS.
        size: maximum number of tokens, padding and unknown included; None: all words, or BPE_SIZE with BPE, which keeps
            the characters in any case.
        least: words (with BPE: characters, and pairs to be merged) that occur less often get no id.
    """
    counts = Counter(word for words in texts for word in words)
    if tokenizer != "bpe":
        kept = sorted((word for word, n in counts.items() if n >= least), key=lambda word: (-counts[word], word))
        return Vocabulary((*SPECIAL, *(kept if size is None else kept[: max(0, size - 2)])), lambda word: (word,))
    singles: Counter[str] = Counter()
    for word, n in counts.items():
        for symbol in characters(word):
            singles[symbol] += n
    kept = sorted(symbol for symbol, n in singles.items() if n >= least)
    merges = learn(counts, (BPE_SIZE if size is None else size) - 2 - len(kept), max(2, least))
    names = dict.fromkeys([*kept, *(left + right for left, right in merges)])  # two merges may give the same token
    return Vocabulary((*SPECIAL, *names), BPE(merges))


def padded(ids: Sequence[Sequence[int]], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids cut or padded to int32 (N, length), and the lengths of the texts after cutting, int64 (N,)."""
    out = np.full((len(ids), length), PADDING, dtype=np.int32)
    for row, text in zip(out, ids, strict=True):
        row[: min(len(text), length)] = text[:length]
    return out, np.array([min(len(text), length) for text in ids], dtype=np.int64)


def spelt(tokens: Iterable[str]) -> str:
    """The text that tokens spell, for people to read."""
    parts = list(tokens)
    if any(part.endswith(END) for part in parts):
        return "".join(part.removesuffix(END) + " " * part.endswith(END) for part in parts).rstrip()
    return " ".join(parts)
