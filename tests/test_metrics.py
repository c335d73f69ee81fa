"""Metrics: the values scikit-learn has, however the data are cut into batches and merged."""

from __future__ import annotations

import math
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

import flambeau
from flambeau.record.stats import stats
from flambeau.trainer.metrics import (
    AUROC,
    Accuracy,
    ConfusionMatrix,
    F1Score,
    FBetaScore,
    MaxMetric,
    MeanAbsoluteError,
    MeanMetric,
    MeanSquaredError,
    Metric,
    MetricCollection,
    MinMetric,
    Perplexity,
    Precision,
    R2Score,
    Recall,
    StatScores,
    SumMetric,
)
from own_draws import own_draw, rng  # noqa: F401  (a fixture)

N = 60
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, N)
SCORES = RNG.dirichlet(np.ones(4), N).astype(np.float32)
BINARY = RNG.integers(0, 2, N)
CHANCES = RNG.random(N).astype(np.float32)
SETS = RNG.integers(0, 2, (N, 3))
SET_CHANCES = RNG.random((N, 3)).astype(np.float32)


def of(metric: Metric, preds: np.ndarray, target: np.ndarray, cuts: int = 3) -> np.ndarray:
    """The metric's value of data that come in several batches."""
    for p, t in zip(np.array_split(preds, cuts), np.array_split(target, cuts), strict=True):
        metric.update(flambeau.tensor(p), flambeau.tensor(t))
    return metric.compute().numpy()


AVERAGES = ["micro", "macro", "weighted", "none"]
SKLEARN = {
    Precision: partial(sk.precision_score, zero_division=0),
    Recall: partial(sk.recall_score, zero_division=0),
    F1Score: partial(sk.f1_score, zero_division=0),
    partial(FBetaScore, beta=0.5): partial(sk.fbeta_score, beta=0.5, zero_division=0),
}


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("kind", SKLEARN)
def test_precision_recall_f1(kind, average):
    score = SKLEARN[kind]
    how = None if average == "none" else average
    many = kind(task="multiclass", num_classes=4, average=average)
    wanted = score(LABELS, SCORES.argmax(1), average=how)
    np.testing.assert_allclose(of(many, SCORES, LABELS), wanted, rtol=1e-6)
    several = kind(task="multilabel", num_labels=3, average=average)
    wanted = score(SETS, SET_CHANCES > 0.5, average=how)
    np.testing.assert_allclose(of(several, SET_CHANCES, SETS), wanted, rtol=1e-6)
    two = kind(task="binary", threshold=0.3)
    wanted = score(BINARY, CHANCES > 0.3)
    np.testing.assert_allclose(of(two, CHANCES, BINARY), wanted, rtol=1e-6)


def test_classes_that_never_come_do_not_count():
    preds, target = np.array([0, 1, 1, 5]), np.array([0, 1, 0, 5])
    for kind, score in SKLEARN.items():
        metric = kind(task="multiclass", num_classes=9, average="macro")
        wanted = score(target, preds, average="macro")
        np.testing.assert_allclose(of(metric, preds, target, 2), wanted, rtol=1e-6)


def test_accuracy():
    accuracy = Accuracy(task="multiclass", num_classes=4)
    wanted = sk.accuracy_score(LABELS, SCORES.argmax(1))
    np.testing.assert_allclose(of(accuracy, SCORES, LABELS), wanted, rtol=1e-6)
    balanced = Accuracy(task="multiclass", num_classes=4, average="macro")
    wanted = sk.balanced_accuracy_score(LABELS, SCORES.argmax(1))
    np.testing.assert_allclose(of(balanced, SCORES, LABELS), wanted, rtol=1e-6)
    each = Accuracy(task="multilabel", num_labels=3, average="none")
    wanted = ((SET_CHANCES > 0.5) == SETS).mean(0)
    np.testing.assert_allclose(of(each, SET_CHANCES, SETS), wanted, rtol=1e-6)
    two = Accuracy(task="binary")
    wanted = sk.accuracy_score(BINARY, CHANCES > 0.5)
    np.testing.assert_allclose(of(two, CHANCES, BINARY), wanted, rtol=1e-6)
    # The sigmoid of a logit is above one half where the logit is positive.
    logits = np.log(CHANCES / (1 - CHANCES))
    np.testing.assert_allclose(of(Accuracy(task="binary"), logits, BINARY), wanted, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k(k):
    wanted = sk.top_k_accuracy_score(LABELS, SCORES, k=k)
    got = of(Accuracy(task="multiclass", num_classes=4, top_k=k), SCORES, LABELS)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_shapes_with_further_dimensions():
    scores = SCORES.reshape(20, 3, 4).transpose(0, 2, 1).copy()
    wanted = sk.accuracy_score(LABELS, SCORES.argmax(1))
    for k in (1, 2):
        a = of(Accuracy("multiclass", num_classes=4, top_k=k), scores, LABELS.reshape(20, 3))
        b = of(Accuracy("multiclass", num_classes=4, top_k=k), SCORES, LABELS)
        assert a == b
    labels = SCORES.argmax(1).reshape(20, 3)
    metric = Accuracy("multiclass", num_classes=4)
    np.testing.assert_allclose(of(metric, labels, LABELS.reshape(20, 3)), wanted, rtol=1e-6)


@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
def test_confusion_matrix(normalize):
    many = ConfusionMatrix(task="multiclass", num_classes=4, normalize=normalize)
    wanted = sk.confusion_matrix(LABELS, SCORES.argmax(1), normalize=normalize)
    np.testing.assert_allclose(of(many, SCORES, LABELS), wanted, rtol=1e-6)
    two = ConfusionMatrix(task="binary", normalize=normalize)
    wanted = sk.confusion_matrix(BINARY, CHANCES > 0.5, normalize=normalize)
    np.testing.assert_allclose(of(two, CHANCES, BINARY), wanted, rtol=1e-6)
    labels, guesses = rng.integers(0, 70, 200), rng.integers(0, 70, 200)
    more = ConfusionMatrix(task="multiclass", num_classes=70, normalize=normalize)
    wanted = sk.confusion_matrix(labels, guesses, labels=range(70), normalize=normalize)
    np.testing.assert_allclose(of(more, guesses, labels), wanted, rtol=1e-6)
    several = of(ConfusionMatrix(task="multilabel", num_labels=3), SET_CHANCES, SETS)
    assert (several == sk.multilabel_confusion_matrix(SETS, SET_CHANCES > 0.5)).all()


@pytest.mark.parametrize("average", ["macro", "weighted", "none"])
def test_exact_auroc(average):
    how = None if average == "none" else average
    # Rounded scores: many ties.
    for scores in (SCORES, (SCORES * 8).round() / 8):
        metric = AUROC(task="multiclass", num_classes=4, average=average)
        one_hot = np.eye(4)[LABELS]
        wanted = sk.roc_auc_score(one_hot, scores, average=how)
        np.testing.assert_allclose(of(metric, scores, LABELS), wanted, rtol=1e-6)
    metric = AUROC(task="multilabel", num_labels=3, average=average)
    wanted = sk.roc_auc_score(SETS, SET_CHANCES, average=how)
    np.testing.assert_allclose(of(metric, SET_CHANCES, SETS), wanted, rtol=1e-6)


def test_auroc_of_two_classes():
    wanted = sk.roc_auc_score(BINARY, CHANCES)
    np.testing.assert_allclose(of(AUROC(task="binary"), CHANCES, BINARY), wanted, rtol=1e-6)
    micro = AUROC(task="multilabel", num_labels=3, average="micro")
    wanted = sk.roc_auc_score(SETS, SET_CHANCES, average="micro")
    np.testing.assert_allclose(of(micro, SET_CHANCES, SETS), wanted, rtol=1e-6)
    assert math.isnan(AUROC(task="binary")(flambeau.rand(3), flambeau.ones(3, dtype=flambeau.long)))


@pytest.mark.parametrize("max_fpr", [0.03, 0.3, 0.99, 1.0])
def test_the_beginning_of_the_curve(max_fpr):
    for digits in (8, 1):
        chances = CHANCES.round(digits)
        wanted = sk.roc_auc_score(BINARY, chances, max_fpr=max_fpr)
        found = of(AUROC("binary", max_fpr=max_fpr), chances, BINARY)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    binned = AUROC("binary", [i / 10 for i in range(11)], max_fpr=max_fpr)
    np.testing.assert_allclose(of(binned, chances, BINARY), wanted, rtol=1e-6)
    for average in ("macro", "weighted", "micro"):
        metric = AUROC("multilabel", num_labels=3, average=average, max_fpr=max_fpr)
        wanted = sk.roc_auc_score(SETS, SET_CHANCES, average=average, max_fpr=max_fpr)
        np.testing.assert_allclose(of(metric, SET_CHANCES, SETS), wanted, rtol=1e-6)
    assert math.isnan(of(AUROC("binary", max_fpr=max_fpr), CHANCES, np.zeros_like(BINARY)))


@pytest.mark.parametrize("thresholds", [5, [0.5, 0.2, 0.9], flambeau.linspace(0, 1, 11)])
def test_binned_auroc_is_exact_on_what_the_thresholds_tell_apart(thresholds):
    edges = np.sort(np.asarray(AUROC("binary", thresholds=thresholds).thresholds.tolist()))
    binned = np.searchsorted(edges, SCORES, side="right")
    for average in ("macro", "none"):
        metric = AUROC("multiclass", thresholds, num_classes=4, average=average)
        how = None if average == "none" else average
        wanted = sk.roc_auc_score(np.eye(4)[LABELS], binned, average=how)
        np.testing.assert_allclose(of(metric, SCORES, LABELS), wanted, rtol=1e-6)
    binned = np.searchsorted(edges, CHANCES, side="right")
    wanted = sk.roc_auc_score(BINARY, binned)
    np.testing.assert_allclose(of(AUROC("binary", thresholds), CHANCES, BINARY), wanted, rtol=1e-6)
    micro = AUROC("multilabel", thresholds, num_labels=3, average="micro")
    wanted = sk.roc_auc_score(SETS, np.searchsorted(edges, SET_CHANCES, "right"), average="micro")
    np.testing.assert_allclose(of(micro, SET_CHANCES, SETS), wanted, rtol=1e-6)


Y = RNG.normal(1e4, 0.1, (N, 2))
Y_HAT = Y + RNG.normal(0, 0.05, (N, 2))


def test_errors_of_numbers():
    for metric, wanted in [
        (MeanSquaredError(), sk.mean_squared_error(Y, Y_HAT)),
        (MeanSquaredError(squared=False), sk.root_mean_squared_error(Y.ravel(), Y_HAT.ravel())),
        (MeanAbsoluteError(), sk.mean_absolute_error(Y, Y_HAT)),
        (
            MeanSquaredError(num_outputs=2),
            sk.mean_squared_error(Y, Y_HAT, multioutput="raw_values"),
        ),
        (
            MeanAbsoluteError(num_outputs=2),
            sk.mean_absolute_error(Y, Y_HAT, multioutput="raw_values"),
        ),
    ]:
        np.testing.assert_allclose(of(metric, Y_HAT, Y), wanted, rtol=1e-5)


@pytest.mark.parametrize("how", ["uniform_average", "raw_values", "variance_weighted"])
def test_r2(how):
    wanted = sk.r2_score(Y, Y_HAT, multioutput=how)
    np.testing.assert_allclose(of(R2Score(2, multioutput=how), Y_HAT, Y), wanted, rtol=1e-5)
    adjusted = of(R2Score(adjusted=3), Y_HAT[:, 0], Y[:, 0])
    plain = sk.r2_score(Y[:, 0], Y_HAT[:, 0])
    np.testing.assert_allclose(adjusted, 1 - (1 - plain) * (N - 1) / (N - 3 - 1), rtol=1e-5)
    flat = np.ones(4)
    assert of(R2Score(), flat, flat) == sk.r2_score(flat, flat) == 1
    assert of(R2Score(), flat + 1, flat) == sk.r2_score(flat, flat + 1) == 0


def test_perplexity():
    logits = rng.normal(size=(6, 5, 9)).astype(np.float32)
    words = rng.integers(0, 9, (6, 5))
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    wanted = np.exp(sk.log_loss(words.ravel(), chances.reshape(-1, 9), labels=range(9)))
    np.testing.assert_allclose(of(Perplexity(), logits, words), wanted, rtol=1e-5)
    kept = words.ravel() != 2
    wanted = np.exp(sk.log_loss(words.ravel()[kept], chances.reshape(-1, 9)[kept], labels=range(9)))
    np.testing.assert_allclose(of(Perplexity(ignore_index=2), logits, words), wanted, rtol=1e-5)


def test_numbers_put_together():
    x, w = rng.normal(size=N), rng.random(N)
    mean = MeanMetric()
    for a, b in zip(np.array_split(x, 4), np.array_split(w, 4), strict=True):
        mean.update(flambeau.tensor(a), flambeau.tensor(b))
    np.testing.assert_allclose(mean.compute(), np.average(x, weights=w), rtol=1e-6)
    for kind, wanted in [(SumMetric, x.sum()), (MaxMetric, x.max()), (MinMetric, x.min())]:
        metric = kind()
        for a in np.array_split(x, 4):
            metric.update(flambeau.tensor(a))
        np.testing.assert_allclose(metric.compute(), wanted, rtol=1e-6)


def test_nan_among_the_numbers():
    x = flambeau.tensor([1.0, math.nan, 3.0])
    with pytest.warns(UserWarning, match="Encountered `nan`"):
        metric = MeanMetric()
        metric.update(x)
        assert metric.compute() == 2
    assert MeanMetric(nan_strategy="ignore")(x) == 2
    assert MeanMetric(nan_strategy=5.0)(x) == 3
    assert MaxMetric(nan_strategy="ignore")(x) == 3
    assert MeanMetric(nan_strategy="disable")(x).isnan()
    metric = SumMetric(nan_strategy="error")
    metric.update(x)
    with pytest.raises(RuntimeError, match="nan"):
        metric.compute()


IGNORED = [
    (Accuracy("multiclass", num_classes=4, ignore_index=1), SCORES, LABELS),
    (Accuracy("multiclass", num_classes=4, ignore_index=-1), SCORES, np.where(LABELS < 2, -1, 3)),
    (F1Score("multiclass", num_classes=4, ignore_index=1, average="macro"), SCORES, LABELS),
    (ConfusionMatrix("multiclass", num_classes=4, ignore_index=-7), SCORES, LABELS - 7 * BINARY),
    (AUROC("multiclass", num_classes=4, ignore_index=3, average="none"), SCORES, LABELS),
    (AUROC("multiclass", 7, num_classes=4, ignore_index=3, average="none"), SCORES, LABELS),
    (AUROC("binary", ignore_index=-1), CHANCES, np.where(LABELS == 2, -1, BINARY)),
    (Accuracy("binary", ignore_index=-1), CHANCES, np.where(LABELS == 2, -1, BINARY)),
]


@pytest.mark.parametrize("metric, preds, target", IGNORED)
def test_ignored_targets_are_as_if_they_were_not_there(metric, preds, target):
    if metric.ignore_index == -7:
        target = np.where(target < 0, -7, target)
    kept = target != metric.ignore_index
    assert 0 < kept.sum() < N
    np.testing.assert_array_equal(
        of(metric.clone(), preds, target), of(metric.clone(), preds[kept], target[kept])
    )


EVERY = [
    (Accuracy("multiclass", num_classes=4, average="macro"), SCORES, LABELS),
    (Accuracy("multiclass", num_classes=4, top_k=2), SCORES, LABELS),
    (F1Score("multilabel", num_labels=3, average="weighted"), SET_CHANCES, SETS),
    (ConfusionMatrix("multiclass", num_classes=4, normalize="true"), SCORES, LABELS),
    (AUROC("multiclass", num_classes=4), SCORES, LABELS),
    (AUROC("binary", thresholds=9), CHANCES, BINARY),
    (MeanSquaredError(), Y_HAT, Y),
    (MeanAbsoluteError(num_outputs=2), Y_HAT, Y),
    (R2Score(2, multioutput="variance_weighted"), Y_HAT, Y),
    (Perplexity(ignore_index=2), np.log(SCORES), LABELS),
    (MeanMetric(), CHANCES, SCORES.sum(1)),
]
CUTS = st.lists(st.integers(1, N - 1), max_size=4, unique=True).map(sorted)


@pytest.mark.parametrize("metric, preds, target", EVERY, ids=lambda x: type(x).__name__)
@settings(max_examples=8, deadline=None)
@given(cuts=CUTS, order=st.randoms(use_true_random=False))
def test_cut_and_merged_as_you_like(metric, preds, target, cuts, order):
    whole = metric.clone()
    whole.update(flambeau.tensor(preds), flambeau.tensor(target))
    streaming, called, several = metric.clone(), metric.clone(), []
    parts = zip(np.split(preds, cuts), np.split(target, cuts), strict=True)
    for p, t in parts:
        batch = flambeau.tensor(p), flambeau.tensor(t)
        streaming.update(*batch)
        one = metric.clone()
        one.update(*batch)
        with np.errstate(invalid="ignore"):
            value = called(*batch)
            if not (isinstance(metric, R2Score) and len(p) < 2):
                np.testing.assert_array_equal(value.numpy(), one.compute().numpy())
        several.append(pickle.loads(pickle.dumps(one)))
    order.shuffle(several)
    merged = metric.clone()
    for one in several:
        merged = merged + one
    assert merged.update_count == streaming.update_count == len(cuts) + 1
    for other in (streaming, called, merged):
        np.testing.assert_allclose(other.compute(), whole.compute(), rtol=1e-6)


def test_what_cannot_be():
    with pytest.raises(ValueError, match="num_classes"):
        Accuracy("multiclass")
    with pytest.raises(ValueError, match="expected one of"):
        Accuracy("ternary")
    with pytest.raises(ValueError, match="average"):
        Accuracy("binary", average="median")
    with pytest.raises(ValueError, match="threshold"):
        Accuracy("binary", threshold=2.0)
    with pytest.raises(ValueError, match="top_k"):
        Accuracy("multiclass", num_classes=3, top_k=4)
    with pytest.raises(ValueError, match="normalize"):
        ConfusionMatrix("binary", normalize="rows")
    with pytest.raises(ValueError, match="max_fpr"):
        AUROC("binary", max_fpr=1.5)
    with pytest.raises(ValueError, match="multiclass"):
        AUROC("multiclass", num_classes=3, max_fpr=0.5)
    with pytest.raises(ValueError, match="thresholds"):
        AUROC("binary", thresholds=[2.0])
    with pytest.raises(ValueError, match="multioutput"):
        R2Score(multioutput="all")
    with pytest.raises(ValueError, match="two samples"):
        metric = R2Score()
        metric.update(flambeau.ones(1), flambeau.ones(1))
        metric.compute()
    labels = flambeau.tensor([0, 1])
    with pytest.raises(RuntimeError, match="same shape"):
        Accuracy("binary").update(flambeau.rand(3), labels)
    with pytest.raises(ValueError, match="int or long"):
        Accuracy("binary").update(flambeau.rand(2), flambeau.rand(2))
    with pytest.raises(ValueError, match="shape"):
        Accuracy("multiclass", num_classes=3).update(flambeau.rand(2, 4), labels)
    with pytest.raises(ValueError, match="floating"):
        AUROC("binary").update(labels, labels)


@pytest.mark.parametrize(
    "metric, preds, target",
    [
        (Accuracy("multiclass", num_classes=3), [0, 1], [0, 3]),
        (Recall("multiclass", num_classes=3, average="macro"), [0, 1], [0, -1]),
        (ConfusionMatrix("multiclass", num_classes=3), [0, 9], [0, 1]),
        (Accuracy("binary"), [0, 1], [0, 2]),
        (AUROC("binary"), [0.1, 0.2], [0, 2]),
    ],
)
def test_labels_out_of_range_are_told_when_the_value_is_asked_for(metric, preds, target):
    metric.update(flambeau.tensor(preds), flambeau.tensor(target))
    with pytest.raises(ValueError, match=r"1 (predictions or )?targets"):
        metric.compute()
    metric.reset()
    with pytest.warns(UserWarning, match="before the"):
        metric.compute()


def test_an_update_reads_nothing():
    collection = MetricCollection(
        [
            Accuracy("multiclass", num_classes=4),
            F1Score("multiclass", num_classes=4, average="macro"),
            ConfusionMatrix("multiclass", num_classes=4),
            AUROC("multiclass", thresholds=10, num_classes=4),
            Perplexity(ignore_index=3),
        ]
    )
    scores = flambeau.tensor(SCORES, requires_grad=True)
    target = flambeau.tensor(LABELS)
    for _ in range(2):
        logits = (scores * 2).softmax(1)
        before = stats.flushes
        values = collection(logits, target)
        assert stats.flushes == before
        logits.sum().backward()
    assert not any(value.requires_grad for value in values.values())


def test_a_collection():
    both = MetricCollection({"acc": Accuracy("binary"), "f": F1Score("binary")}, prefix="val_")
    other = both.clone(prefix="test_")
    p, t = flambeau.tensor(CHANCES), flambeau.tensor(BINARY)
    both.update(p[:20], t[:20])
    other.update(p[20:], target=t[20:])
    both.merge_state(other)
    values = both.compute()
    assert list(values) == ["val_acc", "val_f"] and list(other) == ["test_acc", "test_f"]
    np.testing.assert_allclose(values["val_acc"], sk.accuracy_score(BINARY, CHANCES > 0.5))
    np.testing.assert_allclose(values["val_f"], sk.f1_score(BINARY, CHANCES > 0.5), rtol=1e-6)
    assert both["acc"] is both["val_acc"] and len(both) == 2
    both.reset()
    assert both["acc"].update_count == 0
    with pytest.raises(ValueError, match="both named"):
        both.add_metrics({"acc": Accuracy("binary")})
    with pytest.raises(ValueError, match="not an instance"):
        MetricCollection([flambeau.nn.Linear(1, 1)])
    with pytest.raises(ValueError, match="collections hold"):
        both.merge_state(MetricCollection([Accuracy("binary")]))


def test_states_are_kept_moved_and_saved():
    metric = Accuracy("multiclass", num_classes=4, average="macro")
    of(metric, SCORES, LABELS)
    around = flambeau.nn.Sequential(metric)
    assert around.state_dict() == {}
    metric.persistent(True)
    saved = around.state_dict()
    assert set(saved) == {"0.tp", "0.fp", "0.tn", "0.fn", "0.invalid"}
    fresh = Accuracy("multiclass", num_classes=4, average="macro")
    flambeau.nn.Sequential(fresh).load_state_dict(saved)
    assert fresh.compute() == metric.compute()
    # Counts stay exact when the module around them is made half as wide.
    mean = MeanMetric()
    mean.update(1 / 3)
    around = flambeau.nn.Sequential(flambeau.nn.Linear(1, 1), mean).half().to("cpu")
    assert around[0].weight.dtype == flambeau.half and mean.mean_value.dtype == flambeau.double
    exact = AUROC("binary")
    of(exact, CHANCES, BINARY)
    other = AUROC("binary")
    other.metric_state = exact.metric_state
    assert other.compute() == exact.compute()


def test_only_like_and_like_merge():
    with pytest.raises(ValueError, match="instance of Accuracy"):
        Accuracy("binary").merge_state(Recall("binary"))
    with pytest.raises(ValueError, match="shape"):
        Recall("multilabel", num_labels=3) + Recall("multilabel", num_labels=4)
    with pytest.raises(ValueError, match="has the states"):
        Accuracy("binary").merge_state({"tp": flambeau.tensor(1)})


def test_a_metric_of_ones_own():
    class Mine(Metric):
        def __init__(self):
            super().__init__()
            self.add_state("average", flambeau.tensor(0.0), dist_reduce_fx="mean")
            self.add_state("seen", [], dist_reduce_fx="cat")
            self.add_state("most", flambeau.tensor(0.0), dist_reduce_fx=lambda s: s.max(0).values)

        def update(self, x):
            self.average = self.average + (x - self.average) / (self.update_count + 1)
            self.seen.append(x)
            self.most = flambeau.maximum(self.most, x)

        def compute(self):
            return {"average": self.average, "seen": len(self.seen), "most": self.most}

    a, b = Mine(), Mine()
    for x in (1.0, 2.0, 3.0):
        a.update(flambeau.tensor(x))
    b(flambeau.tensor(10.0))
    assert (a + b).compute() == {"average": 4, "seen": 4, "most": 10}
    assert a.compute() == {"average": 2, "seen": 3, "most": 3}
    with pytest.raises(ValueError, match="tensor or any empty list"):
        a.add_state("x", [1])
    with pytest.raises(ValueError, match="dist_reduce_fx"):
        a.add_state("x", [], dist_reduce_fx="median")
    with warnings.catch_warnings(), pytest.raises(TypeError):
        a("x")
    assert a.update_count == 3 and a.compute()["seen"] == 3


def test_counts():
    counts = of(StatScores("multilabel", num_labels=3, average="micro"), SET_CHANCES, SETS)
    (tn, fp), (fn, tp) = sk.confusion_matrix(SETS.ravel(), SET_CHANCES.ravel() > 0.5)
    assert counts.tolist() == [tp, fp, tn, fn, tp + fn]
