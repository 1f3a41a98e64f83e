"""The dictionary of fits: only better fits are kept, changes undone, the history told, files that hold it."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from spinkit import crop, fits
from spinkit.crop import Change
from spinkit.fits import ACCEPTED, KINDS, NEVER, NO_RULING, REJECTED, SOURCES, FitDictionary, Note, Verdict

COUNT = 6


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def poses(count=COUNT, seed=0):
    return 0.5 * torch.randn(count, 24, 3, generator=seeded(seed)), torch.randn(count, 10, generator=seeded(seed + 1))


def made(**settings):
    return FitDictionary(*poses(), torch.full((COUNT,), 50.0), **settings)


def write(dictionary, key, rotvec, betas, **given):
    """Write under no change, as better fits, unless told otherwise; the smaller error is the better fit's."""
    n = len(key)
    before, after = torch.full((n,), 50.0), given.get("after", torch.full((n,), 20.0))
    verdict = Verdict(before, after, given.get("better", after < before))
    change = given.get("change", Change.none(n))
    return dictionary.write(torch.tensor(key), change, rotvec, betas, verdict, given.get("step", 7))


def turned(count, seed=0):
    """Changes that mirror some crops and turn all of them."""
    change = Change.random(count, seeded(seed))
    mirror = torch.arange(count) % 2 == 0
    return Change(mirror, torch.linspace(-1, 1, count), change.scale, change.colour)


def test_only_better_fits_are_written():
    dictionary = made()
    rotvec, betas = poses(4, seed=5)
    after = torch.tensor([20.0, 50.0, 80.0, torch.nan])
    kept = write(dictionary, [0, 1, 2, 3], rotvec, betas, after=after)
    assert kept.tolist() == [True, False, False, False]
    torch.testing.assert_close(dictionary.rotvec[0], rotvec[0])
    torch.testing.assert_close(dictionary.betas[0], betas[0])
    torch.testing.assert_close(dictionary.rotvec[1:], poses()[0][1:], atol=0, rtol=0)
    assert dictionary.error.tolist() == [20, 50, 50, 50, 50, 50]
    assert dictionary.updates.tolist() == [1, 0, 0, 0, 0, 0]
    assert dictionary.updated_at.tolist() == [7, *[NEVER] * 5]


def test_who_judges_by_something_else_than_the_errors_has_the_last_word():
    dictionary = made()
    rotvec, betas = poses(4, seed=5)
    after, better = torch.tensor([20.0, 80.0, 80.0, torch.inf]), torch.tensor([False, True, False, True])
    kept = write(dictionary, [0, 1, 2, 3], rotvec, betas, after=after, better=better)
    # Even so, a fit without a finite error is never kept.
    assert kept.tolist() == [False, True, False, False]
    assert dictionary.error.tolist() == [50, 80, 50, 50, 50, 50]
    assert dictionary.events().after.tolist() == [80] and dictionary.events().before.tolist() == [50]


@pytest.mark.parametrize("broken", ["rotvec", "betas"])
def test_a_fit_that_is_not_finite_is_never_kept(broken):
    dictionary, (rotvec, betas) = made(), poses(2, seed=5)
    {"rotvec": rotvec, "betas": betas}[broken][0] = torch.nan
    assert write(dictionary, [0, 1], rotvec, betas).tolist() == [False, True]
    assert dictionary.rotvec.isfinite().all() and dictionary.betas.isfinite().all()


def test_what_is_written_under_a_change_is_read_back_under_it():
    dictionary, change = made(), turned(COUNT)
    rotvec, betas = poses(seed=5)
    key = torch.tensor([3, 1, 5, 0, 2, 4])
    write(dictionary, key.tolist(), rotvec, betas, change=change)
    again, shapes = dictionary.read(key, change)
    torch.testing.assert_close(again, rotvec, atol=1e-5, rtol=0)
    torch.testing.assert_close(shapes, betas)
    untouched, _ = dictionary.read(key, Change.none(COUNT))
    torch.testing.assert_close(untouched, crop.restore_rotvec(change, rotvec))
    assert not torch.allclose(untouched, rotvec, atol=1e-2)


def test_of_several_fits_of_one_sample_in_a_batch_the_best_is_kept():
    dictionary, (rotvec, betas) = made(), poses(5, seed=5)
    after = torch.tensor([30.0, 10.0, 20.0, 60.0, 10.0])
    kept = write(dictionary, [2, 2, 2, 4, 2], rotvec, betas, after=after)
    assert kept.tolist() == [False, True, False, False, False]
    torch.testing.assert_close(dictionary.rotvec[2], rotvec[1])
    assert dictionary.updates[2] == 1 and len(dictionary.events().key) == 1


def test_the_history_tells_every_update_in_order():
    dictionary = made()
    for step, keys, after in ((3, [1, 4], [40.0, 60.0]), (9, [4, 1], [30.0, 35.0])):
        write(dictionary, keys, *poses(2, seed=step), step=step, after=torch.tensor(after))
    events = dictionary.events()
    assert events.key.tolist() == [1, 4, 1] and events.step.tolist() == [3, 9, 9]
    assert events.after.tolist() == [40, 30, 35] and events.before.tolist() == [50, 50, 50]
    assert (events.after < events.before).all()


def test_every_version_of_a_tracked_sample_is_kept():
    dictionary = made(tracked=torch.tensor([1, 3]))
    first, second = poses(2, seed=5), poses(2, seed=6)
    write(dictionary, [3, 2], *first, step=4)
    write(dictionary, [3, 1], *second, step=8, after=torch.tensor([10.0, 70.0]))
    shots = dictionary.snapshots()
    assert shots.key.tolist() == [1, 3, 3, 3] and shots.step.tolist() == [NEVER, NEVER, 4, 8]
    expected = torch.stack([poses()[0][1], poses()[0][3], first[0][0], second[0][0]])
    torch.testing.assert_close(shots.rotvec, expected)


def test_without_updates_the_history_is_empty():
    dictionary = made()
    assert len(dictionary.events().key) == 0 and len(dictionary.snapshots().key) == 0


def test_arrays_hold_all_that_a_dictionary_knows():
    dictionary = made(tracked=torch.tensor([0, 5]))
    write(dictionary, [0, 1], *poses(2, seed=5))
    again = FitDictionary.from_arrays(dictionary.arrays())
    for one, other in ((dictionary, again), (dictionary.events(), again.events())):
        for name in ("rotvec", "betas", "error", "updates", "updated_at", "tracked", "key", "step", "before", "after"):
            if hasattr(one, name):
                assert torch.equal(getattr(one, name), getattr(other, name)), name
    for field in fields(dictionary.snapshots()):
        assert torch.equal(getattr(dictionary.snapshots(), field.name), getattr(again.snapshots(), field.name))
    # The copy stands alone, and goes on where the first one is.
    write(again, [5], *poses(1, seed=9), step=11)
    assert again.snapshots().step.tolist() == [NEVER, NEVER, 7, 11]
    assert dictionary.updates[5] == 0


def test_a_saved_dictionary_is_loaded(tmp_path):
    dictionary = made()
    write(dictionary, [1], *poses(1, seed=5))
    np.savez_compressed(tmp_path / "fits.npz", **dictionary.arrays())
    again = fits.load(tmp_path / "fits.npz")
    assert torch.equal(again.rotvec, dictionary.rotvec) and torch.equal(again.updates, dictionary.updates)


def test_reading_and_writing_leave_what_was_given_alone():
    rotvec, betas = poses()
    error = torch.full((COUNT,), 50.0)
    dictionary = FitDictionary(rotvec, betas, error)
    new, change = poses(seed=5), turned(COUNT)
    given = (rotvec, betas, error, *new, change.turn, change.mirror)
    before = [t.clone() for t in given]
    write(dictionary, list(range(COUNT)), *new, change=change)
    dictionary.read(torch.arange(COUNT), change)[0].zero_()
    dictionary.events().key.zero_()
    assert all(torch.equal(a, b) for a, b in zip(before, given, strict=True))
    assert dictionary.rotvec.abs().min() > 0


@pytest.mark.parametrize("broken", ["rotvec", "betas"])
def test_a_dictionary_does_not_begin_with_numbers_that_are_not_finite(broken):
    rotvec, betas = poses()
    {"rotvec": rotvec, "betas": betas}[broken][2, 1] = torch.nan
    with pytest.raises(ValueError, match="poses or betas are not finite"):
        FitDictionary(rotvec, betas, torch.zeros(COUNT))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No fits at .*fits\.npz"):
        fits.load(tmp_path / "fits.npz")


@pytest.mark.parametrize("kept", [0, 3, 400, -400, -1])
def test_a_damaged_file_is_refused_by_name(tmp_path, kept):
    path = tmp_path / "fits.npz"
    np.savez(path, **made().arrays())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"fits\.npz: not an npz file"):
        fits.load(path)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "fits.npz"
    np.savez(path, rotvec=np.zeros((3, 24, 3)))
    with pytest.raises(ValueError, match=r"no field betas, error, .*spinkit saved"):
        fits.load(path)


def decided_on(key, *acts, dictionary=None):
    """A dictionary on one of whose samples a person has acted; every act is noted with its own name."""
    dictionary = dictionary or made(tracked=torch.tensor([1]))
    note = Note(step=20, reason="by hand", time=1e9)
    for act in acts:
        if act == "refit":
            dictionary.refit(key, *(values[0] for values in poses(1, seed=8)), 12.5, note)
        elif act == "undo":
            dictionary.undo(key, note)
        else:
            dictionary.rule(key, {"accept": ACCEPTED, "reject": REJECTED}[act], note)
    return dictionary


def test_an_accepted_fit_is_not_replaced_by_training():
    dictionary = decided_on(2, "accept")
    kept = write(dictionary, [2, 3], *poses(2, seed=5))
    assert kept.tolist() == [False, True]
    torch.testing.assert_close(dictionary.rotvec[2], poses()[0][2], atol=0, rtol=0)
    assert dictionary.ruling.tolist() == [0, 0, ACCEPTED, 0, 0, 0]


def test_a_rejected_fit_gives_way_to_the_first_usable_one_and_the_ruling_is_lifted():
    dictionary = decided_on(2, "reject")
    after = torch.tensor([torch.inf])
    assert write(dictionary, [2], *poses(1, seed=5), after=after).tolist() == [False]
    assert dictionary.ruling[2] == REJECTED
    worse = torch.tensor([90.0, 80.0])
    assert write(dictionary, [2, 3], *poses(2, seed=6), after=worse).tolist() == [True, False]
    assert dictionary.ruling[2] == NO_RULING and dictionary.error[2] == 90
    assert dictionary.events().key.tolist() == [2] and dictionary.events().after.tolist() == [90]
    # Nobody rules over the new one, which keeps its place as any other does.
    assert write(dictionary, [2], *poses(1, seed=7), after=torch.tensor([95.0])).tolist() == [False]


def test_a_ruling_over_one_sample_changes_nothing_for_the_others():
    plain, ruled = made(), decided_on(4, "accept", dictionary=made())
    for dictionary in (plain, ruled):
        write(dictionary, [0, 1, 2], *poses(3, seed=5), after=torch.tensor([20.0, 60.0, 50.0]))
    for name, value in plain.arrays().items():
        if name != "ruling" and not name.startswith("decision"):
            np.testing.assert_array_equal(value, ruled.arrays()[name], err_msg=name)
    assert plain.rulings(torch.tensor([0, 4])) is None
    assert ruled.rulings(torch.tensor([0, 4])).tolist() == [NO_RULING, ACCEPTED]


@pytest.mark.parametrize("acts", [["accept"], ["reject"], ["refit"], ["reject", "refit"], ["refit", "accept"]])
def test_undo_restores_fit_error_and_ruling_of_before(acts):
    before = decided_on(1, *acts[:-1])
    dictionary = decided_on(1, *acts, "undo")
    for name in ("rotvec", "betas", "error", "ruling", "updates"):
        assert torch.equal(getattr(dictionary, name), getattr(before, name)), name
    assert dictionary.source(100).tolist() == before.source(100).tolist()
    assert [KINDS[kind] for kind in dictionary.decisions.kind] == [*acts, "undo"]


def test_all_decisions_can_be_taken_back_one_after_the_other_and_then_no_more():
    dictionary = decided_on(1, "refit", "accept", "undo", "reject", "undo", "undo")
    assert torch.equal(dictionary.rotvec, made().rotvec) and not dictionary.ruling.any()
    with pytest.raises(ValueError, match="no decision on sample 1 is left to undo"):
        decided_on(1, "undo", dictionary=dictionary)


def test_a_decision_on_a_fit_that_training_has_replaced_cannot_be_taken_back():
    dictionary = decided_on(2, "reject")
    write(dictionary, [2], *poses(1, seed=5))
    with pytest.raises(ValueError, match="training has replaced the fit of sample 2 since"):
        decided_on(2, "undo", dictionary=dictionary)


def test_a_refit_is_told_with_its_errors_its_reason_and_as_a_version():
    dictionary = decided_on(1, "reject", "refit")
    told = dictionary.decisions
    assert told.before.tolist() == [50, 50] and told.after.tolist() == [50, 12.5]
    assert told.step.tolist() == [20, 20] and told.time.tolist() == [1e9, 1e9] and told.reason == ("by hand",) * 2
    assert dictionary.ruling[1] == NO_RULING, "the ruling was over the fit that is gone"
    assert dictionary.snapshots().step.tolist() == [NEVER, 20]
    assert torch.equal(dictionary.snapshots().rotvec[1], dictionary.rotvec[1])
    assert not len(dictionary.events().key), "events are those of training"


def test_the_source_of_every_fit_is_told():
    dictionary = decided_on(3, "refit")
    write(dictionary, [1], *poses(1, seed=5), step=7)
    write(dictionary, [2], *poses(1, seed=5), step=30)
    assert [SOURCES[i] for i in dictionary.source(30)] == [
        "initial",
        "loop",
        "last fits",
        "human",
        "initial",
        "initial",
    ]
    write(dictionary, [3], *poses(1, seed=6), step=9)
    assert SOURCES[dictionary.source(30)[3]] == "loop", "training has replaced what the person put there"


def test_decisions_are_saved_and_older_files_hold_none(tmp_path):
    dictionary = decided_on(2, "refit", "accept")
    np.savez(tmp_path / "fits.npz", **dictionary.arrays())
    again = fits.load(tmp_path / "fits.npz")
    assert torch.equal(again.ruling, dictionary.ruling) and again.decisions.reason == ("by hand", "by hand")
    for field in fields(dictionary.decisions):
        one, other = (getattr(d.decisions, field.name) for d in (dictionary, again))
        assert one == other if field.name == "reason" else torch.equal(one, other) and one.dtype == other.dtype
    decided_on(2, "undo", "undo", dictionary=again)
    assert torch.equal(again.rotvec, made().rotvec)
    older = {n: v for n, v in dictionary.arrays().items() if n != "ruling" and not n.startswith("decision_")}
    assert not FitDictionary.from_arrays(older).ruling.any() and not len(FitDictionary.from_arrays(older).decisions)


def test_a_file_with_half_of_its_decisions_is_refused():
    arrays = decided_on(2, "accept").arrays()
    with pytest.raises(ValueError, match="no field decision_reason"):
        FitDictionary.from_arrays({n: v for n, v in arrays.items() if n != "decision_reason"})
    with pytest.raises(ValueError, match="ruling are of different lengths"):
        FitDictionary.from_arrays(arrays | {"ruling": arrays["ruling"][:2]})


def test_unusable_decisions_are_refused():
    dictionary, note = made(), Note(step=0)
    with pytest.raises(ValueError, match="ACCEPTED or REJECTED, got 0"):
        dictionary.rule(0, NO_RULING, note)
    rotvec, betas = (values[0] for values in poses(1, seed=5))
    for bad in ((rotvec * torch.nan, betas, 1.0), (rotvec, betas, float("inf"))):
        with pytest.raises(ValueError, match="sample 0 is not usable"):
            dictionary.refit(0, *bad, note)
    assert not len(dictionary.decisions)


def test_a_reason_is_one_line_of_bounded_length():
    dictionary = made()
    dictionary.rule(0, ACCEPTED, Note(step=0, reason="two\nlines   " + 500 * "x"))
    (reason,) = dictionary.decisions.reason
    assert reason.startswith("two lines xxx") and len(reason) == 200


def test_of_two_fits_of_a_sample_in_one_batch_one_that_is_better_is_kept():
    """Each is judged in its own crop: the lower error may belong to the one that is no better there."""
    fits = FitDictionary(torch.zeros(1, 24, 3), torch.zeros(1, 10), torch.full((1,), 9.0))
    before, after = torch.tensor([10.0, 50.0]), torch.tensor([20.0, 30.0])
    verdict = Verdict(before, after, after < before)
    new = torch.ones(2, 24, 3) * torch.tensor([1.0, 2.0])[:, None, None]
    kept = fits.write(torch.tensor([0, 0]), Change.none(2), new, torch.zeros(2, 10), verdict, 1)
    assert kept.tolist() == [False, True]
    torch.testing.assert_close(fits.rotvec[0], new[1])
