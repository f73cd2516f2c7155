"""Scenes of the synthetic benchmark: pixels, truth, and what each split is asked to contain."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.datasets import synthetic
from workers.datasets._synthetic import canvas
from workers.datasets._synthetic.camera import HEIGHT, WIDTH
from workers.datasets._synthetic.families import BANDS, FAMILIES, draw_hues, near_hues
from workers.datasets._synthetic.motion import Roam, Wave
from workers.datasets._synthetic.scene import Scene, set_up
from workers.datasets._synthetic.strata import CYCLE, SHARES, configure

SPLITS = st.sampled_from(synthetic.SPLITS)
GOLDEN = {
    "train": "1260b736404625d4",
    "val": "22b4df6165c4c354",
    "test": "bd1238acd1e8fcd3",
    "hard": "0276f560419cd157",
}
few_scenes = settings(max_examples=5, deadline=None)


def scene(split: str, index: int, attributes: frozenset[str] | None = None) -> Scene:
    return set_up(configure(split, 0, index, attributes))


def lone(subject: Scene) -> Scene:
    """The same scene in still light, without grain and with nothing in front."""
    dark = replace(subject.light, gain=Wave(1.0), shade=np.full_like(subject.light.shade, 255))
    return replace(subject, noise=np.zeros_like(subject.noise), light=dark, front=())


def without_target(subject: Scene) -> Scene:
    away = Roam(Wave(-9000.0), Wave(-9000.0))
    return replace(subject, target=replace(subject.target, path=away))


# ---- pixels


def test_the_pixels_of_this_version_are_these() -> None:
    # A change of these hashes is a change of the benchmark: VERSION must change with them.
    digests = {}
    for split in synthetic.SPLITS:
        digest = hashlib.sha256()
        for index in (4, 14):  # each attribute is in exactly one of these two
            subject = scene(split, index)
            for t in subject.moments(3):
                digest.update(subject.render(t).frame.tobytes())
        digests[split] = digest.hexdigest()[:16]
    assert synthetic.VERSION == "synthetic-1"
    assert digests == GOLDEN


@few_scenes
@given(split=SPLITS, index=st.integers(0, 5000), moments=st.permutations([0, 3, 17, 40]))
def test_a_moment_looks_the_same_whatever_was_drawn_before(
    split: str, index: int, moments: list[int]
) -> None:
    used = scene(split, index)
    drawn = {t: used.render(t) for t in moments}
    fresh = scene(split, index).render(17)
    assert np.array_equal(drawn[17].frame, fresh.frame)
    assert drawn[17].box == fresh.box
    assert drawn[17].visibility == fresh.visibility


def test_scenes_differ_by_split_seed_and_index() -> None:
    configs = [("train", 0, 0), ("val", 0, 0), ("val", 1, 0), ("val", 0, CYCLE)]
    frames = [set_up(configure(*config)).render(0).frame for config in configs]
    assert len({frame.tobytes() for frame in frames}) == len(frames)


# ---- truth


@few_scenes
@given(split=SPLITS, index=st.integers(0, 5000), t=st.integers(0, 40))
def test_the_box_is_where_the_picture_changes_when_the_target_is_taken_away(
    split: str, index: int, t: int
) -> None:
    subject = lone(scene(split, index, frozenset()))
    shown = subject.render(t)
    changed = np.abs(shown.frame.astype(int) - without_target(subject).render(t).frame).max(axis=2)
    x, y, w, h = (int(v) for v in shown.box)
    outside = changed.copy()
    # Half transparent pixels at the edge change a little: one ring of them.
    outside[max(y - 2, 0) : y + h + 2, max(x - 2, 0) : x + w + 2] = 0
    assert not outside.any()
    assert 0 <= x <= x + w <= WIDTH
    assert 0 <= y <= y + h <= HEIGHT
    inside = changed[y : y + h, x : x + w] > 8
    assert inside.any(axis=0).mean() > 0.85
    assert inside.any(axis=1).mean() > 0.85


def test_visibility_is_the_share_of_the_targets_pixels_that_nothing_hides() -> None:
    subject = next(s for i in range(60) if "occlusion" in (s := scene("val", i)).config.attributes)
    still = replace(lone(subject), exposure=0.0, shake=0.0)
    shares = []
    for t in range(0, 40, 4):
        alone = np.any(still.render(t).frame != without_target(still).render(t).frame, axis=2)
        crowd = replace(still, front=subject.front)
        seen = np.any(crowd.render(t).frame != without_target(crowd).render(t).frame, axis=2)
        shares.append((crowd.render(t).visibility, seen.sum() / alone.sum()))
    told, counted = np.array(shares).T
    assert told.min() < 0.5 < told.max()
    assert np.abs(told - counted).max() < 0.1
    assert np.abs(told - counted).mean() < 0.03


def test_a_target_beyond_the_border_keeps_its_box_and_loses_its_visibility() -> None:
    subject = scene("val", 0, frozenset())
    whole = subject.render(5)
    gone = replace(subject.target, path=Roam(Wave(-200.0), Wave(50.0)))
    half = replace(subject.target, path=Roam(Wave(0.0), Wave(120.0)))
    moments = [replace(subject, target=target).render(5) for target in (gone, half)]
    assert moments[0].visibility == 0.0
    assert moments[0].box[0] < -150
    assert moments[0].box[2:] == pytest.approx(whole.box[2:], abs=2)
    assert 0.2 < moments[1].visibility < 0.8


@few_scenes
@given(split=SPLITS, index=st.integers(0, 5000))
def test_a_video_starts_when_over_90_percent_of_the_target_is_seen(split: str, index: int) -> None:
    subject = scene(split, index)
    assert subject.render(subject.moments(4)[0]).visibility > 0.9


# ---- what a scene is asked to contain


def extents(subject: Scene) -> tuple[np.ndarray, np.ndarray]:
    moments = [(subject.render(t).box, subject.visibility(t)) for t in range(0, 60, 4)]
    return np.array([box for box, _ in moments]), np.array([seen for _, seen in moments])


def test_a_forced_attribute_can_be_seen_and_its_absence_too() -> None:
    plain_boxes, plain_seen = extents(scene("test", 3, frozenset()))
    assert plain_seen.min() > 0.8
    sizes = {}
    for name in ("scale", "low_resolution"):
        boxes, _ = extents(scene("test", 3, frozenset({name})))
        sizes[name] = np.sqrt(boxes[:, 2] * boxes[:, 3])
    plain = np.sqrt(plain_boxes[:, 2] * plain_boxes[:, 3])
    assert sizes["scale"].max() / sizes["scale"].min() > 1.4 > plain.max() / plain.min()
    assert np.median(sizes["low_resolution"]) < 25 < np.median(plain)
    assert extents(scene("test", 3, frozenset({"out_of_view"})))[1].min() < 0.05
    assert extents(scene("test", 3, frozenset({"occlusion"})))[1].min() < 0.4


def test_changing_light_changes_the_brightness_and_blur_the_sharpness() -> None:
    def brightness(attributes: frozenset[str]) -> float:
        subject = scene("test", 9, attributes)
        return float(np.ptp([subject.render(t).frame.mean() for t in range(0, 60, 6)]))

    assert brightness(frozenset({"illumination"})) > 3 * brightness(frozenset())
    sharp, blurred = (scene("test", 9, a) for a in (frozenset(), frozenset({"motion_blur"})))
    assert sharp.exposure == 0.0 < blurred.exposure
    assert any(not np.array_equal(sharp.render(t).frame, blurred.render(t).frame) for t in (0, 9))


def test_forced_speed_and_distractors_are_obeyed() -> None:
    fast, slow = (configure("val", 0, 2, a) for a in (frozenset({"fast_motion"}), frozenset()))
    assert fast.speed > slow.speed
    crowd, alone = (configure("val", 0, 2, a) for a in (frozenset({"distractors"}), frozenset()))
    assert crowd.distractors > alone.distractors == 4
    subject = set_up(crowd)
    assert len(subject.behind) + len(subject.front) == crowd.distractors


def test_val_and_test_ask_for_the_same_difficulties_in_the_same_shares() -> None:
    def asked(split: str, count: int) -> list[tuple[frozenset[str], float, float, float, int]]:
        configs = [configure(split, 0, i) for i in range(count)]
        return [(c.attributes, c.speed, c.size, c.occluded, c.distractors) for c in configs]

    val, test = asked("val", 96), asked("test", 128)
    assert sorted(map(str, val * 4)) == sorted(map(str, test * 3))
    assert {d for *_, d in val} == {4, 5, 6}
    assert {d for *_, d in asked("hard", 64)} == {5, 6, 7}


def test_each_attribute_is_there_and_absent_and_no_two_go_together() -> None:
    present = {
        name: np.array([name in configure("val", 0, i).attributes for i in range(96)])
        for name in synthetic.ATTRIBUTES
    }
    for name, share in SHARES.items():
        assert present[name].sum() == 3 * share
    assert 15 <= present["fast_motion"].sum() <= 48
    table = np.array([present[name] for name in synthetic.ATTRIBUTES], dtype=float)
    assert np.abs(np.corrcoef(table) - np.eye(len(table))).max() < 0.3


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), low=st.floats(-5, 5), width=st.floats(0.1, 10))
def test_no_split_draws_from_the_bands_of_another(seed: int, low: float, width: float) -> None:
    rng = np.random.RandomState(seed)
    for family in FAMILIES.values():
        share = (family.draw(rng, low, low + width) - low) / width
        hues = draw_hues(rng, family)
        for value in (share, *hues, *near_hues(rng, family, hues)):
            assert [f for f in FAMILIES.values() if f.owns(value)] == [family]


def test_every_band_belongs_to_one_split_and_held_out_textures_to_hard() -> None:
    owners = [sum(f.owns((b + 0.5) / BANDS) for f in FAMILIES.values()) for b in range(BANDS)]
    assert owners == [1] * BANDS
    everyday = {kind for name in ("train", "val", "test") for kind in FAMILIES[name].kinds}
    assert not everyday & set(FAMILIES["hard"].kinds)


def test_training_moments_are_scattered_and_the_others_consecutive() -> None:
    train, val = scene("train", 4).moments(8), scene("val", 4).moments(8)
    assert np.all(np.diff(val) == 1)
    assert np.all(np.diff(train) > 0)
    assert train[-1] - train[0] > 40


def test_compositing_is_exact_to_a_rounding() -> None:
    products = np.arange(255 * 255 + 1, dtype=np.uint16)
    assert np.array_equal(canvas.divide_by_255(products), np.rint(products / 255).astype(np.uint8))
