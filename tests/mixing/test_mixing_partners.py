"""Partners of every kind against what can be counted, and what is said where a batch has none."""

import warnings
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import torch
from helpers.cases import each
from scipy import stats
from scipy.optimize import linear_sum_assignment
from torch import nn

from mixup_lab.mixing import Bound, CutMix, Labels, Mixup, Request
from mixup_lab.mixing.partners import BY_LABEL, draw_partners, nearest
from mixup_lab.seeding import stream

SIZES = [1, 2, 3, 7]


def drawn(kind, steps, batch_size, targets=None, seed=0, **more):
    targets = None if targets is None else np.tile(np.asarray(targets), (steps, *[1] * np.ndim(targets)))
    return draw_partners(kind, stream(seed, "mixing"), steps, batch_size, targets, **more)


def equally_frequent(perms, allowed):
    """Whether exactly the allowed permutations occur, each as often as chance has it."""
    found, counts = np.unique(perms, axis=0, return_counts=True)
    assert {tuple(row) for row in found.tolist()} == set(allowed)
    return len(counts) == 1 or stats.chisquare(counts).pvalue > 1e-3


def orbit(perm):
    """The cycle of a permutation that 0 is in."""
    place, seen = perm[0], [0]
    while place != 0:
        seen.append(place)
        place = perm[place]
    return seen


@pytest.mark.parametrize("batch_size", [2, 3, 4])
def test_random_is_uniform_over_all_permutations(batch_size):
    assert equally_frequent(drawn("random", 4000, batch_size)[0], set(permutations(range(batch_size))))


@pytest.mark.parametrize("batch_size", [2, 3, 5])
def test_no_self_is_uniform_over_all_cycles(batch_size):
    cycles = {p for p in permutations(range(batch_size)) if len(orbit(p)) == batch_size}
    assert equally_frequent(drawn("no_self", 4000, batch_size)[0], cycles)


@pytest.mark.parametrize("batch_size", [2, 3, 4, 5])
def test_pairs_are_uniform_over_all_matchings(batch_size):
    matchings = {
        p for p in permutations(range(batch_size))
        if all(p[p[i]] == i for i in p) and sum(p[i] == i for i in p) == batch_size % 2
    }  # fmt: skip
    assert equally_frequent(drawn("pairs", 4000, batch_size)[0], matchings)


@each("batch_size", SIZES)
@each("kind", ["random", "no_self", "pairs", "roll"])
def test_every_size_gives_permutations(kind, batch_size):
    perm, without = drawn(kind, 50, batch_size)
    assert perm.dtype == np.int64
    assert (np.sort(perm, axis=1) == np.arange(batch_size)).all()
    if kind == "roll":
        assert (perm == (np.arange(batch_size) - 1) % batch_size).all()
    if kind == "no_self":
        assert (perm != np.arange(batch_size)).all() == (batch_size > 1)
    if kind != "random":
        assert without == (perm == np.arange(batch_size)).mean()


# ---- by label -------------------------------------------------------------------------------------------------------


def test_same_class_is_uniform_over_the_cycles_of_each_class():
    perm, without = drawn("same_class", 4000, 8, [5, 0, 5, 0, 3, 5, 0, 5])
    assert (perm[:, 4] == 4).all(), "who is alone stays alone"
    assert without == pytest.approx(1 / 8)
    for own in ([0, 2, 5, 7], [1, 3, 6]):
        inside = perm[:, own]
        assert np.isin(inside, own).all()
        places = np.searchsorted(own, inside)
        cycles = {p for p in permutations(range(len(own))) if len(orbit(p)) == len(own)}
        assert equally_frequent(places, cycles)


@pytest.mark.parametrize("batch_size", SIZES)
def test_same_class_for_every_batch_of_three_classes(batch_size):
    targets = np.array(list(product(range(3), repeat=batch_size)))
    perm, without = draw_partners("same_class", stream(0, "mixing"), len(targets), batch_size, targets)
    assert (np.take_along_axis(targets, perm, axis=1) == targets).all()
    alone = (targets[:, :, None] == targets[:, None]).sum(axis=2) == 1
    assert ((perm == np.arange(batch_size)) == alone).all()
    assert without == pytest.approx(alone.mean())


@pytest.mark.parametrize("batch_size", SIZES)
def test_different_class_wherever_that_is_possible(batch_size):
    """The number of examples with a partner of another class is the largest that any permutation has."""
    targets = np.array(list(product(range(3), repeat=batch_size)))
    targets = targets[np.random.default_rng(0).permutation(len(targets))[:300]]
    perm, without = draw_partners("different_class", stream(0, "mixing"), len(targets), batch_size, targets)
    assert (np.sort(perm, axis=1) == np.arange(batch_size)).all()
    different = np.take_along_axis(targets, perm, axis=1) != targets
    for row, hits in zip(targets, different, strict=True):
        possible = row[:, None] != row[None]
        best = possible[linear_sum_assignment(possible, maximize=True)].sum()
        assert hits.sum() == best, row
    assert without == pytest.approx(1 - different.mean())


@pytest.mark.parametrize("targets", [[0, 0, 1, 1, 2, 2, 2], [0, 0, 1, 2, 3]])
def test_different_class_leaves_out_nobody(targets):
    """Every pair of examples of unlike classes meets; within one class all are alike to a stranger."""
    targets = np.array(targets)
    perm, _ = drawn("different_class", 6000, len(targets), targets)
    for i, own in enumerate(targets):
        counts = np.bincount(perm[:, i], minlength=len(targets))
        assert ((counts > 0) == (targets != own)).all()
        for other in set(targets) - {own}:
            alike = counts[targets == other]
            assert len(alike) == 1 or stats.chisquare(alike).pvalue > 1e-3


@each("bandwidth", [0.3, 1.0])
@each("labels", [[0.0, 0.1, 1.0, 3.0, 3.0], [[0.0, 1], [0, 2], [5, 1], [4, 4]], [3, 1, 2, 2]])
def test_near_label_frequencies(labels, bandwidth):
    labels = np.array(labels)
    n = len(labels)
    perm, without = drawn("near_label", 6000, n, labels, bandwidth=bandwidth)
    scaled = labels.reshape(n, -1) / labels.reshape(n, -1).std(axis=0) / bandwidth
    for i in range(n):
        weight = np.array([np.exp(-((scaled[i] - scaled[j]) ** 2).sum() / 2) if i != j else 0.0 for j in range(n)])
        share = weight / weight.sum()
        counts = np.bincount(perm[:, i], minlength=n)
        assert (abs(counts - 6000 * share) <= 4 * np.sqrt(6000 * share * (1 - share)) + 1e-3).all()
    assert without == 0


def test_near_label_far_from_everyone_takes_the_nearest():
    perm, _ = drawn("near_label", 20, 4, [0.0, 1.0, 2.0, 1e6], bandwidth=1e-4)
    assert (perm[:, 3] == 2).all()
    equal, _ = drawn("near_label", 600, 4, [2.0, 2.0, 2.0, 2.0])
    assert stats.chisquare(np.bincount(equal[:, 0], minlength=4)[1:]).pvalue > 1e-3
    assert drawn("near_label", 2, 1, [1.0])[0].tolist() == [[0], [0]]


@pytest.mark.parametrize("kind", BY_LABEL)
def test_labels_that_are_not_there(kind):
    with pytest.raises(ValueError, match=f"partner={kind} needs labels before the batch is read, and there are none"):
        drawn(kind, 2, 3)


@each("targets", [np.zeros(3), np.zeros((3, 2), np.int64), np.zeros((3, 4, 4), np.int64)])
@each("kind", ["same_class", "different_class"])
def test_labels_that_are_no_classes(kind, targets):
    with pytest.raises(
        ValueError, match=f"partner={kind} needs one class for each example, and these targets are not classes"
    ):
        drawn(kind, 2, 3, targets)
    with pytest.raises(ValueError, match="needs one class for each example"):
        Mixup(partner=kind)(torch.rand(3, 2), torch.from_numpy(targets))


# ---- by distance ----------------------------------------------------------------------------------------------------


@each("shape", [(2, 3), (3, 2, 4), (40, 3, 5, 5)])
@each("offset", [0.0, 1e4])
def test_nearest_against_numpy(shape, offset):
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + offset
    flat = rows.flatten(1).double().numpy()
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert nearest(rows).tolist() == distance.argmin(axis=1).tolist()


def test_nearest_to_nobody_and_to_a_twin():
    assert nearest(torch.randn(1, 4)).tolist() == [0]
    assert nearest(torch.tensor([[1.0], [5.0], [1.0], [5.5]])).tolist() == [2, 3, 0, 1]
    assert nearest(torch.randn(4, 3).bfloat16()).dtype == torch.int64


class Projection(nn.Module):
    """Looks at the first number alone; its linear layers see dropout and batch norm before them."""

    def __init__(self):
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(1), nn.Dropout(0.9)
        self.first, self.last = nn.Linear(1, 1), nn.Linear(1, 2)

    def forward(self, inputs):
        return self.last(self.first(self.dropout(self.norm(inputs[:, :1]))))


def test_nearest_by_features_of_the_model():
    torch.manual_seed(0)
    model = Projection().train()
    model.norm.weight.requires_grad_(False)
    inputs = torch.tensor([[0.0, 100.0], [1.0, -100.0], [5.0, 100.0], [5.5, 0.0]])
    mixer = Mixup(law="fixed", lam=0.0, partner="nearest_feature")
    with pytest.raises(ValueError, match=r"partner=nearest_feature needs the model; call bind\(Bound\(...\)\) first"):
        mixer(inputs, torch.arange(4))
    mixer.bind(Bound(model, nn.CrossEntropyLoss(reduction="none"), (2,), Labels(2)))
    before = torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}
    assert mixer(inputs, torch.arange(4)).partner.tolist() == [1, 0, 3, 2]
    assert Mixup(law="fixed", lam=0.0, partner="nearest_input")(inputs, torch.arange(4)).partner.tolist() == [
        2,
        3,
        0,
        2,
    ]
    assert torch.equal(before[0], torch.get_rng_state())
    assert all(torch.equal(value, before[1][name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not model.last._forward_pre_hooks
    assert [p.requires_grad for p in model.norm.parameters()] == [False, True]


def test_features_need_a_linear_layer():
    sentence = "partner=nearest_feature needs a model with a linear layer; this one has none"
    with pytest.raises(ValueError, match=sentence):
        Mixup(partner="nearest_feature").bind(
            Bound(nn.Conv2d(1, 1, 1), nn.MSELoss(reduction="none"), (1, 2, 2), Labels())
        )


# ---- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "targets", "sentence"),
    [
        (
            "same_class",
            [0, 0, 1, 2],
            "partner=same_class: 50.0% of the examples have no such partner in the batch and stay",
        ),
        ("different_class", [1, 1, 1, 2], "partner=different_class: 50.0% of .* get one of their own class"),
        ("different_class", [1, 1, 1, 1], "partner=different_class: 100.0% of .* get one of their own class"),
        ("no_self", [3], "partner=no_self: 100.0% of the examples have no such partner in the batch and stay unmixed"),
    ],
)
def test_who_has_no_partner_is_said_once(kind, targets, sentence):
    mixer = Mixup(partner=kind)
    known = np.tile(targets, (3, 1))
    with pytest.warns(UserWarning, match=sentence) as said:
        draws = [mixer.draw(stream(0, "mixing", epoch), Request(3, len(targets), targets=known)) for epoch in range(3)]
    assert (len(said), len(draws)) == (1, 3)


def test_nothing_is_said_where_all_have_partners():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind, targets in (("same_class", [0, 0, 1, 1]), ("different_class", [0, 0, 1, 1]), ("pairs", [0, 1, 2])):
            Mixup(partner=kind).draw(stream(0, "mixing"), Request(3, len(targets), targets=np.tile(targets, (3, 1))))


@pytest.mark.filterwarnings("ignore:partner=")
@pytest.mark.parametrize("partner", ["random", "no_self", *BY_LABEL])
def test_partners_do_not_depend_on_what_is_done_with_them(partner):
    """Arms of one seed share partners, whatever their law, share and labels."""
    targets = np.tile([0, 1, 0, 1, 2], (4, 1))
    arms = [Mixup(0.1), Mixup(2.0, law="uniform"), Mixup(1.0, lam_per="sample", prob=0.5), CutMix(0.5, labels="soft")]
    perms = []
    for arm in arms:
        mixer = replace(arm, partner=partner)
        perms.append(mixer.draw(stream(2, "mixing"), Request(4, 5, targets=targets))["perm"])
    assert all((perm == perms[0]).all() for perm in perms)
