"""What a study cannot give, and which study is meant."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from refusals import SPACE, Refused

from spaces.families import SeparableConv
from spaces.recipe import Recipe
from storage.records import StudyState, TrialState
from storage.store import Store

TRIALS = (
    (TrialState.COMPLETE, {"wer": 0.1, "latency_p95_ms": 5.0, "size_mb": 1.0}, None),
    (TrialState.SCREENED_OUT, {"size_mb": 9.0}, "breaks size_mb <= 5 (is 9)"),
    (TrialState.FAILED, {}, "train: its process was ended by SIGKILL"),
    (TrialState.RUNNING, {}, None),
)


@pytest.fixture(scope="session")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one study, written straight into the store; beside it, its space."""
    home = tmp_path_factory.mktemp("studied")
    path = home / "tiny.yaml"
    path.write_text(SPACE)
    store = Store(f"sqlite:///{home}/store.sqlite")
    study = store.studies.create(
        name="tiny",
        space_yaml=SPACE,
        space_path=str(path),
        space_digest="0" * 64,
        seed=0,
        deterministic=False,
        trials_wanted=len(TRIALS),
    )
    store.studies.change(study.id, state=StudyState.FINISHED)
    recipe = Recipe(student=SeparableConv(channels=32))
    for number, (state, metrics, reason) in enumerate(TRIALS):
        trial = store.trials.add(
            study.id,
            number=number,
            values={"family": "separable_conv"},
            recipe=recipe.model_dump(mode="json"),
            recipe_digest=recipe.digest(),
            source="initial_design",
            label="separable_conv 32",
        )
        store.trials.save(trial.evolve(state=state, metrics=metrics, reason=reason))
    store.close()
    return home


BEST, TRIAL = "export out --best wer", "export out --trial"
NO_STUDY = 'no study "tyni" in this store; it holds: tiny'
WHICH_STUDENT = "name the student: either --trial NUMBER, --ship, --best METRIC or --front"
EXAMPLE = 'is not a condition; write for example "size_mb<=15 and latency_p95_ms<=50"'
NOT_GIVEN = {
    "status tyni": NO_STUDY,
    "front tyni": NO_STUDY,
    f"{BEST} --study tyni": NO_STUDY,
    "stop": 'study "tiny" is finished, not running; continue it with `search launch`',
    "show 99": "the study has no trial 99; it has trials 0 to 3",
    "show abc": 'TRIAL: "abc" is not a whole number',
    "cancel 0": "trial 0 is complete already",
    "extend --trials 0": "Invalid value for '--trials': 0 is not in the range x>=1.",
    "export out": WHICH_STUDENT,
    f"{BEST} --trial 0": WHICH_STUDENT,
    f"{TRIAL} 99": "the study has no trial 99; it has trials 0 to 3",
    f"{TRIAL} abc": '--trial: "abc" is not a whole number',
    f"{TRIAL} -1": "--trial: -1 is below 0",
    f"{TRIAL} 1": (
        "trial 1 is screened out (breaks size_mb <= 5 (is 9)); only a measured one can be "
        "exported: `search front tiny` lists the best"
    ),
    f"{TRIAL} 2": "trial 2 is failed (train: its process was ended by SIGKILL); only a measured",
    f"{TRIAL} 3": "trial 3 is running; only a measured one can be exported: `search front tiny`",
    f"{TRIAL} 0 --where 'rtf<1'": "--where goes with --ship, --best and --front",
    "export out --best wre": '"wre" is not a metric; did you mean "wer"?',
    "export out --best cer": (
        "cer was not measured in this study (measured: wer, latency_p95_ms, size_mb)"
    ),
    f"{BEST} --where 'small, please'": f'--where: "small" {EXAMPLE}',
    f"{BEST} --where 'size_gb<=1'": '"size_gb" is not a metric; did you mean "size_mb"?',
    f"{BEST} --where 'size_mb<=1.2.3'": '--where: "1.2.3" is not a number',
    f"{BEST} --where 'size_mb<=0.5'": ("no complete trial meets size_mb<=0.5 (size_mb: best is 1)"),
    f"{BEST} --where 'rtf<1'": "no complete trial meets rtf<1 (rtf: not measured)",
    "export file --trial 0": "file exists already; choose another place or give --overwrite",
    "export folder --trial 0 --overwrite": (
        "folder is a folder but not a bundle, so it stays; choose another place"
    ),
    "front --where best": f'--where: "best" {EXAMPLE}',
    "front --plot front.pdf": "--plot: front.pdf is neither .html nor .png",
    "front --plot folder": "Invalid value for '--plot': File 'folder' is a directory.",
    "front --plot gone/front.html": "gone/front.html: No such file or directory",
    f"{TRIAL} 0 --target nope": '--target: no target "nope" (targets: cpu)',
    f"{TRIAL} 0 --target cpu": "it has no exported file",
    "measure tyni": NO_STUDY,
    "measure --trial 99": "trial 99: not measured yet, so there is nothing to take again",
    "measure --trial 0 --trial 1 --trial 3": "trial 1, 3: not measured yet, so there is nothing",
    "measure --trial -1": "Invalid value for '--trial': -1 is not in the range x>=0.",
    "compare 0 1 --study tyni": NO_STUDY,
    "compare best 1": '"best" is neither the number of a trial nor "teacher"',
    "compare teacher 99": "the study has no trial 99; it has trials 0 to 3",
    "compare teacher 1": "trial 1 is screened out: nothing of it was measured",
    "compare 0 3": "trial 0 is complete: nothing of it was measured",
    "compare teacher teacher --again --target nope": 'no target "nope" (targets: cpu)',
    "compare teacher teacher --again": (
        "the prepared data of this study are gone; `search launch` makes them"
    ),
    "devices check --study tyni": NO_STUDY,
    "devices check --space gone.yaml": "gone.yaml: no such file; shipped spaces:",
    "devices calibrate nope": 'no target "nope" (targets: cpu)',
    "status --events -1": "Invalid value for '--events': -1 is not in the range x>=0.",
}


@pytest.mark.parametrize("line", NOT_GIVEN)
def test_what_a_study_cannot_give_is_told(
    refused: Refused, studied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = Path("file"), Path("folder/thesis.txt")
    Path("folder").mkdir()
    for path in mine:
        path.write_text("years of work")
    assert NOT_GIVEN[line] in refused("--home", studied, *shlex.split(line))
    assert not Path("out").exists()
    assert [path.read_text() for path in mine] == ["years of work"] * 2


def test_a_study_is_not_continued_with_another_space(refused: Refused, studied: Path) -> None:
    path = studied / "changed.yaml"
    path.write_text(SPACE.replace("[32, 64]", "[32, 96]"))
    said = refused("--home", studied, "launch", "--space", path)
    assert f'the space {path} differs from what study "tiny" was started with' in said
    assert "give the new search a name of its own: --study NAME" in said


def test_the_only_study_needs_no_name_but_one_of_several_does(
    refused: Refused, tmp_path: Path
) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    for name in ("one", "two"):
        store.studies.create(
            name=name,
            space_yaml=SPACE,
            space_path="tiny.yaml",
            space_digest="0" * 64,
            seed=0,
            deterministic=False,
            trials_wanted=1,
        )
    store.close()
    assert "which study? The store holds one, two" in refused("--home", tmp_path, "front")
