"""From a source to the three splits that a run reads."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mixup_lab.data.ahead import encode_ahead
from mixup_lab.data.copies import count_copies
from mixup_lab.data.difficulty import corrupted, long_tail
from mixup_lab.data.feeds import Feed, Resident, Streaming
from mixup_lab.data.guessed_groups import guessed
from mixup_lab.data.source import Loaded, Source
from mixup_lab.data.split_groups import carve_groups
from mixup_lab.data.split_times import carve_times
from mixup_lab.data.splits import Fold, Rows, Sizes, carve
from mixup_lab.data.storage import choose
from mixup_lab.inputs.encoder import Encoder
from mixup_lab.inputs.moments import CHUNK, SAMPLE, Moments, checked, moments, spread
from mixup_lab.inputs.pictures import Pictures
from mixup_lab.notices import say, track
from mixup_lab.targets.target import Target
from mixup_lab.types import Batch, Pool, UserError
from mixup_lab.visible import look_alikes

ROUND = 8  # lengths of batches are multiples of it
SHOWN = 5  # names in a sentence


@dataclass(frozen=True)
class Split:
    """The examples of train, val or test: rows of a pool, and the feed that gives their batches.

    `ids` (n,) int64 are rows of the pool, `target` (n, ...) their targets, and `lengths` (n,) those of `Pool.lengths`.
    `groups` (n,) int64 are 0..G-1 for the G groups of all splits in their order; the same in every run on these data.
    """

    name: str
    ids: np.ndarray
    target: np.ndarray
    feed: Feed
    lengths: np.ndarray | None = None
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self, order: Sequence[np.ndarray]) -> Iterator[Batch]:
        """For each array of positions within this split (0..n-1): a stored batch (B, ...) and its targets.

        Both are on the training device. The iterator may be left early. If examples have lengths, a batch is (B, L): L
        is the longest of them rounded up to a multiple of 8, so that there are few shapes, at most the stored L.
        """
        batches = self.feed.batches([self.ids[positions] for positions in order])
        if self.lengths is None:
            return batches
        longest = [int(self.lengths[positions].max()) for positions in order]
        return (Batch(x[:, : -(-n // ROUND) * ROUND], y) for n, (x, y) in zip(longest, batches, strict=True))


@dataclass(frozen=True)
class Data:
    """The data of a run. `digest` changes when classes, sizes or labels of the splits do.

    `carved` names the splits that differ between seeds. `duplicates` counts, for val and test, the examples that occur
    in train too; None: too many to be compared, or not in memory. `notes` are sentences for the report.
    """

    train: Split
    val: Split
    test: Split
    kind: Target
    encode: Encoder  # from stored batches to what a model takes, on the device
    storage: str  # "resident" or "streaming"
    dropped: int
    digest: str
    carved: tuple[str, ...] = ()
    duplicates: dict[str, int] | None = None
    notes: tuple[str, ...] = ()
    true: Split | None = None  # train with its true labels, if some are wrong on purpose
    fold: Fold | None = None  # that is the test split, in a cross-validation

    @property
    def clean(self) -> Split:
        """Train with its true labels."""
        return self.train if self.true is None else self.true

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """Train, val and test."""
        return self.train, self.val, self.test

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example, as a model takes it."""
        return self.encode.shape


def prepare(
    source: Source,
    *,
    seed: int,
    device: torch.device,
    val_fraction: float,
    test_fraction: float,
    train_size: int | float | None,
    split_seed: int | None,
    storage: str,
    workers: int,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    label_noise: float = 0.0,
    label_noise_pairs: Sequence[Sequence[str | int]] | None = None,
    imbalance: float | None = None,
    folds: int | None = None,
    fold: int | None = None,
) -> Data:
    """Load a source, carve the splits that it lacks, and make them ready on the device.

    Args:
        source: if it lacks val or test, they are carved from its train pool: stratified, by whole groups if it has
            groups, or as the latest examples if it has times.
        seed: of the run; decides the splits unless `split_seed` is set.
        device: of the batches.
        val_fraction: in (0, 1): of the train pool without test; unused if the source has val.
        test_fraction: in (0, 1): of the train pool; unused if the source has test.
        train_size: None = all, int = number of examples, float in (0, 1] = share of them.
        split_seed: seed of the splits, whatever the run's seed is; None: the run's seed. With folds, seed of the first
            partition of the pool (None: 0).
        storage: `auto`, `resident` or `streaming`.
        workers: processes that read ahead when streaming; 0 reads in this process.
        mean: per channel on the scale [0, 1]; None: the values of the source, else those of the training split.
        std: likewise.
        label_noise: share of the training labels that are made wrong, see `difficulty.corrupted`.
        label_noise_pairs: the classes that are confused; None: all.
        imbalance: ratio of the largest training class to the smallest, see `difficulty.long_tail`; None: as it is.
        folds: test is one of so many parts of the train pool, instead of a share of it; None: no cross-validation.
            After every `folds` seeds the pool is divided anew.
        fold: which part, 0..folds - 1; None: it follows from the seed, `seed % folds`.

    Raises:
        UserError: for data that break the contract of `Loaded`, for a mean or std that does not suit them, and for
            folds that they do not admit.
    """
    loaded = source.load()
    _check(source, loaded)
    chance, tested = seed if split_seed is None else split_seed, None
    if folds is not None:
        _check_folds(loaded, folds)
        chance = (split_seed or 0) + seed // folds
        tested = Fold(seed % folds if fold is None else fold, folds, chance)
    difficult = {"label_noise": label_noise > 0, "imbalance": imbalance is not None}
    for key in (key for key, on in difficult.items() if on and not loaded.kind.strata_are_classes):
        raise UserError(f"dataset.{key} is for classes, and the targets are {loaded.kind.kind}")
    sizes = Sizes(
        val_fraction if loaded.val is None else None,
        tested or (test_fraction if loaded.test is None else None),
        train_size,
    )
    groups = _coded_groups(_pools(loaded))
    _announce_missing(loaded.kind, _pools(loaded))
    carved = _carved(loaded, groups.get("train"), sizes, chance)
    if imbalance is not None:
        kept = long_tail(loaded.train.target[carved.train], imbalance, chance)
        carved = carved._replace(train=carved.train[kept])
    if loaded.fit is not None:
        loaded = loaded.fit(carved.train)
    pools = _pools(loaded)
    unique = {id(pool): pool for pool in pools.values()}
    if loaded.encoder is None:
        _check_pictures(unique.values())
    storage = choose(storage, unique.values(), device)
    feeds: dict[int, Feed] = {
        key: Resident.of(pool, device) if storage == "resident" else Streaming(pool, device, workers)
        for key, pool in unique.items()
    }
    rows = {
        name: own if pools[name] is loaded.train else np.arange(len(pools[name].target), dtype=np.int64)
        for name, own in carved._asdict().items()
    }
    # Splits that follow from times, or from a seed of their own, are the same in all runs of a study; folds are not.
    fixed = tested is None and (split_seed is not None or loaded.times is not None)
    differing = () if fixed else tuple(name for name in ("val", "test") if pools[name] is loaded.train)
    stored = {name: feed.inputs for name, pool in pools.items() if isinstance(feed := feeds[id(pool)], Resident)}
    copies = count_copies(stored, rows) if len(stored) == len(rows) else None
    encoder = None if loaded.encoder is None else loaded.encoder.to(device)
    if encoder is not None:
        feeds, encoder = encode_ahead(feeds, encoder, device)
    splits = {}
    for name, ids in rows.items():
        pool = pools[name]
        lengths = None if pool.lengths is None else pool.lengths[ids]
        own = groups[name][ids] if name in groups else None
        splits[name] = Split(name, ids, pool.target[ids], feeds[id(pool)], lengths, own)
    true = None
    if label_noise:
        true, split = splits["train"], splits["train"]
        wrong = corrupted(split.target, label_noise, loaded.kind.names, label_noise_pairs, chance)
        every = loaded.train.target.copy()
        every[split.ids] = wrong
        splits["train"] = replace(split, target=wrong, feed=split.feed.relabelled(every))
    guess = None if groups else _guess(loaded, pools, rows)
    copied = copies and copies.note(not differing)
    found = (*loaded.notes, _alike(loaded.kind), guess, *_divided_groups(splits), copied)
    notes = tuple(note for note in found if note)
    for note in notes:
        say(note)
    if encoder is None:
        encoder = Pictures(loaded.train.shape, *_known_moments(splits["train"], loaded, storage, mean, std), device)
    elif mean is not None or std is not None:
        raise UserError(
            f"dataset.mean and dataset.std are for pictures; the examples are {encoder.noun}, which their encoder"
            " standardises"
        )
    return Data(
        **splits,
        kind=loaded.kind,
        encode=encoder,
        storage=storage,
        dropped=loaded.dropped,
        digest=_digest(splits, loaded),
        carved=differing,
        duplicates=copies.in_train if copies else None,
        notes=notes,
        true=true,
        fold=tested,
    )


def _coded_groups(pools: Mapping[str, Pool]) -> dict[str, np.ndarray]:
    """The groups (N,) of the pool of each split that has some, as numbers 0..G-1 in the order of all of them."""
    unique = {id(pool): pool.groups for pool in pools.values() if pool.groups is not None}
    if not unique:
        return {}
    codes = np.unique(np.concatenate(list(unique.values())), return_inverse=True)[1].astype(np.int64)
    coded = dict(zip(unique, np.split(codes, np.cumsum(list(map(len, unique.values())))[:-1]), strict=True))
    return {name: coded[id(pool)] for name, pool in pools.items() if id(pool) in coded}


def _divided_groups(splits: Mapping[str, Split]) -> Iterator[str]:
    """A sentence for groups that lie in train and in a split that was given with it."""
    train = splits["train"].groups
    for name in ("val", "test"):
        own = splits[name].groups
        if train is not None and own is not None and (both := len(np.intersect1d(train, own))):
            have = "groups have" if both > 1 else "group has"
            yield f"{both} {have} examples in train and in {name}: they flatter every arm"


def _alike(kind: Target) -> str | None:
    """A sentence for names that look alike."""
    pair = look_alikes(kind.names)
    return pair and f"{kind.noun} names {' and '.join(pair)} look alike and count as two; spell them alike if not"


def _guess(loaded: Loaded, pools: Mapping[str, Pool], rows: Mapping[str, np.ndarray]) -> str | None:
    """A sentence where names of files suggest groups that nobody named."""
    paths = {name: pool.paths for name, pool in pools.items()}
    if not loaded.group_pattern:
        return None
    every = [own[i] for name, ids in rows.items() if (own := paths[name]) is not None for i in ids.tolist()]
    if not every:
        return None
    splits = np.repeat(np.arange(len(rows)), [len(ids) for ids in rows.values()])
    classes = np.concatenate([pools[name].target[ids] for name, ids in rows.items()])
    guess = guessed(every, splits, classes if loaded.kind.strata_are_classes else None)
    return guess and (
        f"files such as {guess[0]} look as if several belong together, such as those of one patient or speaker; "
        f"if so, name their groups with \"dataset.group_pattern='{guess[1]}'\""
    )


def _pools(loaded: Loaded) -> dict[str, Pool]:
    """The pool that each split comes from."""
    pools = {"train": loaded.train, "val": loaded.val, "test": loaded.test}
    return {name: loaded.train if pool is None else pool for name, pool in pools.items()}


def _carved(loaded: Loaded, groups: np.ndarray | None, sizes: Sizes, seed: int) -> Rows:
    """Rows of the train pool for each split: by whole groups (N,) or by time if there are any, else stratified."""
    kind, target = loaded.kind, loaded.train.target
    if groups is not None and loaded.times is not None:
        raise UserError(
            "dataset.group_column and dataset.time_column cannot be combined: a group may lie on both sides of a time"
        )
    if groups is not None:
        rows = carve_groups(kind.strata(target), groups, sizes, seed, kind.strata_are_classes)
    elif loaded.times is not None:
        rows = carve_times(loaded.times, sizes)
    else:
        _announce_rare(kind, target, 1 + sizes.carved)
        return carve(kind.strata(target), sizes, seed)
    kind.check("train", target[rows.train])
    return rows


def _announce_rare(kind: Target, target: np.ndarray, splits: int) -> None:
    counts = kind.counts(target)
    rare = [kind.names[k] for k in np.flatnonzero((counts > 0) & (counts < splits)).tolist()]
    if rare:
        what = f"{_named(kind, rare)} {'has' if len(rare) == 1 else 'have'} fewer than {splits} examples"
        say(f"{what} for {splits} splits: train keeps one of each, val or test has none")


def _announce_missing(kind: Target, pools: Mapping[str, Pool]) -> None:
    """Say which names have no example in train, and which others have none in a val or test that was given."""
    train = kind.counts(pools["train"].target) > 0
    if train.any() and not train.all():
        names = [kind.names[k] for k in np.flatnonzero(~train).tolist()]
        say(f"train has no example of {_named(kind, names)}: nothing can be learnt about it")
    for split, pool in pools.items():
        if pool is not pools["train"] and (missing := np.flatnonzero(train & (kind.counts(pool.target) == 0)).tolist()):
            names = [kind.names[k] for k in missing]
            say(f"{split} has no example of {_named(kind, names)}: its scores are of the others alone")


def _named(kind: Target, names: Sequence[str]) -> str:
    """`class a`, or `3 classes (a, b, c)`."""
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return f"{kind.noun} {shown}" if len(names) == 1 else f"{replace(kind, names=tuple(names)).describe()} ({shown})"


def _check(source: Source, loaded: Loaded) -> None:
    if not isinstance(loaded, Loaded):
        raise UserError(f"dataset: load() of {type(source).__name__} must return a Loaded, got {type(loaded).__name__}")
    if loaded.times is not None and len(loaded.times) != len(loaded.train.target):
        raise UserError(f"the dataset has {len(loaded.times)} times for {len(loaded.train.target)} examples of train")
    for name, pool in _pools(loaded).items():
        if pool.groups is not None and pool.groups.shape != pool.target.shape[:1]:
            raise UserError(f"the dataset has {len(pool.groups)} groups for {len(pool.target)} examples of {name}")
        if len(pool.target) == 0:
            raise UserError(f"the dataset has no examples for {name}")
        if pool.shape != loaded.train.shape:
            raise UserError(f"examples of {name} have shape {pool.shape}, those of train have {loaded.train.shape}")
        loaded.kind.check(name, pool.target)


def _check_folds(loaded: Loaded, folds: int) -> None:
    """Raise UserError unless every example can be tested once, and every class be in every fold."""
    if loaded.test is not None:
        raise UserError(
            "dataset.folds makes test sets of all examples, and this data set has a test split of its own; leave out"
            " dataset.folds, or put all examples into train"
        )
    most, what = len(loaded.train.target), "the examples"
    if loaded.kind.strata_are_classes:
        counts = np.bincount(loaded.train.target, minlength=len(loaded.kind.names))
        rarest = int(np.where(counts > 0, counts, counts.max() + 1).argmin())
        most, what = int(counts[rarest]), f"the examples of class {loaded.kind.names[rarest]}"
    if folds > most:
        allowed = f"use at most {most}" if most > 1 else "there can be no folds"
        raise UserError(f"dataset.folds={folds} is more than {what} ({most}); {allowed}")


def _check_pictures(pools: Iterable[Pool]) -> None:
    for pool in pools:
        first = pool.read(0)
        if first.dtype != torch.uint8 or first.dim() != 3:
            shape = ", ".join(map(str, ("N", *first.shape)))
            dtype = str(first.dtype).removeprefix("torch.")
            raise UserError(
                f"the dataset has inputs {dtype} ({shape}) and no encoder; pictures must be uint8 (N, C, H, W), and any"
                " other input needs an encoder (`Loaded.encoder` or `Loaded.fit`)"
            )


def _known_moments(
    train: Split, loaded: Loaded, storage: str, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Moments:
    """The values of the configuration, else those of the source, else those of the training split."""
    channels = loaded.train.shape[0]
    given_mean = loaded.mean if mean is None else checked("mean", mean, channels)
    given_std = loaded.std if std is None else checked("std", std, channels)
    if given_mean is not None and given_std is not None:
        return given_mean, given_std
    computed = _moments(train, loaded, storage)
    return given_mean or computed[0], given_std or computed[1]


def _moments(train: Split, loaded: Loaded, storage: str) -> Moments:
    """Mean and std of the training split; kept for each choice of pictures, if the source keeps arrays.

    Counting takes a tenth of a second if the pictures are resident, but many seconds if they are streamed.
    """
    channels, chosen = loaded.train.shape[0], np.arange(len(train))
    if storage != "resident":
        chosen = spread(chosen, SAMPLE)

    def count() -> np.ndarray:
        if storage == "resident":
            return np.array(moments(_chunks(train, chosen), channels))
        with track(f"mean and std of {len(chosen)} training pictures", len(chosen)) as advance:
            return np.array(moments(_chunks(train, chosen), channels, advance))

    which = hashlib.sha256(train.ids[chosen].tobytes()).hexdigest()[:16]
    mean, std = (loaded.keep(f"moments-{which}", count) if loaded.keep else count()).tolist()
    return tuple(mean), tuple(std)


def _chunks(split: Split, positions: np.ndarray) -> Iterator[Tensor]:
    parts = [positions[i : i + CHUNK] for i in range(0, len(positions), CHUNK)]
    return (batch.inputs for batch in split.batches(parts))


def _digest(splits: dict[str, Split], loaded: Loaded) -> str:
    shapes = [(name, len(split), split.target.shape) for name, split in splits.items()]
    hashed = hashlib.sha256(repr((loaded.kind.names, loaded.train.shape, shapes)).encode())
    for split in splits.values():
        hashed.update(np.ascontiguousarray(split.target).data)
    return hashed.hexdigest()[:16]
