"""One click to the package of a trial, and the code to use it."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from pathlib import Path

import streamlit as st

from dashboard.caching import results, space_of
from dashboard.context import artifacts, store
from dashboard.parts.choice import choose_target
from search.bundle.forms.make import make_form
from search.bundle.write import write_bundle
from search.errors import UsageFault
from search.report.redaction import file_name, markdown, plain
from search.results import how_to_make_anew, model_of
from spaces.front_end import USUAL, FrontEnd
from spaces.recipe import Recipe
from spaces.space import Space
from storage.records import Study, TrialState
from workers.recognizer import check_bundle


def export_trial(study: Study, space: Space, number: int, state: str) -> None:
    """Target, button and code; for a trial without a file, why there is none."""
    if not TrialState(state).is_measured:
        st.caption("Only a measured trial can be exported.")
        return
    target = choose_target(space, f"export-target-{number}")
    backend = space.targets[target].backend
    if (lacking := why_not_exported(study, space, number, target)) is not None:
        st.warning(f"It cannot be exported: {markdown(lacking)}")
        return
    with st.container(horizontal=True):
        _download(study, number, target, key=f"export-{number}")
        if backend == "onnxruntime":
            _download_forms(study, number, "trial")
    zipped = bundle_name(study.name, number, target)
    name = shlex.quote(plain(study.name))
    command = f"search export --study {name} --trial {number} --target {target} {zipped}"
    with st.expander("Use it: commands and code"):
        st.caption(f"For {markdown(backend)}; the same contents as")
        st.code(command, language=None, wrap_lines=True)
        _code(study, number, backend, zipped, "trial")


def export_button(study: Study, space: Space, number: int, target: str, key: str) -> None:
    """One click to the package of a trial for a target; the reason where there is none."""
    if (lacking := why_not_exported(study, space, number, target)) is not None:
        st.button("Export", disabled=True, help=markdown(lacking), key=key)
    else:
        _download(study, number, target, key)


def other_forms(study: Study, space: Space, number: int, target: str) -> None:
    """What else a trial is exported as, and the code to use it; nothing where it has no file."""
    if why_not_exported(study, space, number, target) is not None:
        return
    backend = space.targets[target].backend
    with st.popover("Other forms, code"):
        if backend == "onnxruntime":
            _download_forms(study, number, "answer")
        _code(study, number, backend, bundle_name(study.name, number, target), "answer")


def _is_live(study: Study, number: int) -> bool:
    recipe = store().trials.get(study.id, number).recipe
    return Recipe.model_validate(recipe).student.streaming is not None


def _download(study: Study, number: int, target: str, key: str) -> None:
    st.download_button(
        f"Export trial {number}",
        lambda: bundle_bytes(study.name, number, target),
        bundle_name(study.name, number, target),
        "application/zip",
        type="primary",
        on_click="ignore",
        key=key,
        help="Every file is checked against its digest and the model is loaded before it is sent",
    )


def _download_forms(study: Study, number: int, where: str) -> None:
    """The same student as a page for browsers and as a repository for Triton."""
    is_live = _is_live(study, number)
    for form, label in _FORMS.items():
        if form == "triton" and is_live:
            continue
        st.download_button(
            label,
            lambda form=form: form_bytes(study.name, number, form),
            f"{file_name(study.name)}-trial-{number}-{form}.zip",
            "application/zip",
            on_click="ignore",
            key=f"export-{where}-{number}-{form}",
            help=f"search export --form {form}: a folder, zipped",
        )


def bundle_name(study: str, number: int, target: str) -> str:
    """The name of a package, the same in the download and in what is said of it."""
    return f"{file_name(study)}-trial-{number}-{target}.zip"


def why_not_exported(study: Study, space: Space, number: int, target: str) -> str | None:
    """Why there is no package of a trial for a target; None where there is one."""
    try:
        model, tokens = model_of(space, target, results(study, number))
    except UsageFault as fault:
        return str(fault)
    if _are_kept((*model.files.values(), tokens)):
        return None
    hint = how_to_make_anew(plain(study.name), number)
    return f"its files are no longer among the artifacts; {hint}"


@st.cache_data(show_spinner=False, ttl=60, max_entries=256)  # they may lie in a bucket far away
def _are_kept(digests: tuple[str, ...]) -> bool:
    return all(artifacts().has(digest) for digest in digests)


def bundle_bytes(name: str, number: int, target: str) -> bytes:
    """The zip that `search export` writes, opened once to see that it works.

    Raises:
        SearchError, ArtifactError, WorkError: when it cannot be made.
    """
    study = store().studies.get(name)
    trial = store().trials.get(study.id, number)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "student.zip"
        write_bundle(store(), artifacts(), study, space_of(study), trial, path, measured_on=target)
        check_bundle(path)
        return path.read_bytes()


def form_bytes(name: str, number: int, form: str) -> bytes:
    """The folder that `search export --form` writes, zipped.

    Raises:
        SearchError, ArtifactError, WorkError: when it cannot be made.
    """
    study = store().studies.get(name)
    trial = store().trials.get(study.id, number)
    with tempfile.TemporaryDirectory() as folder:
        bundle, made = Path(folder) / "bundle", Path(folder) / "made" / f"student-{number}"
        write_bundle(store(), artifacts(), study, space_of(study), trial, bundle)
        make_form(form, bundle, made, overwrite=False)
        zipped = shutil.make_archive(str(Path(folder) / "form"), "zip", made.parent)
        return Path(zipped).read_bytes()


def _code(study: Study, number: int, backend: str, zipped: str, where: str) -> None:
    """How it is used, by the name that it was downloaded under."""
    front_end = FrontEnd.of_recipe(store().trials.get(study.id, number).recipe)
    snippets = _LIVE_SNIPPETS if _is_live(study, number) else _SNIPPETS
    kinds = list(snippets) if backend == "onnxruntime" else ["Shell", "Server"]
    if backend == "onnxruntime" and not front_end.in_sherpa_onnx:
        kinds = [kind for kind in kinds if kind not in ("sherpa-onnx", "C++")]
        st.caption(f"Features every {front_end.shift_ms:g} ms: not for sherpa-onnx.")
    kind = kinds[0]
    if len(kinds) > 1:
        kind = st.segmented_control(
            "Use it from", kinds, default="Shell", required=True, key=f"code-kind-{where}"
        )
    code = snippets[kind].replace("student.zip", zipped)
    code = code.replace(_PYTHON_ARGUMENTS, _PYTHON_ARGUMENTS + front_end.sherpa_onnx_arguments)
    st.code(code.replace(_CONFIG, _CONFIG + _told(front_end)), language=None, wrap_lines=True)


def _told(front_end: FrontEnd) -> str:
    """What sherpa-onnx's configuration in C++ says of the features."""
    lines = ""
    if front_end.mels != USUAL.mels:
        lines += f"\nconfig.feat_config.feature_dim = {front_end.mels};"
    if front_end.sample_rate_hz != USUAL.sample_rate_hz:
        lines += f"\nconfig.feat_config.sample_rate = {front_end.sample_rate_hz};"
    return lines


_FORMS = {"browser": "As a page for browsers", "triton": "For Triton"}
_PYTHON_ARGUMENTS, _CONFIG = '"model.onnx", "tokens.txt"', "OfflineRecognizerConfig config;"


_SNIPPETS = {
    "Shell": "search transcribe student.zip recording.wav",
    "Server": """# search serve student=student.zip
import openai

client = openai.OpenAI(base_url="http://localhost:8000/v1", api_key="none")
with open("recording.wav", "rb") as file:
    print(client.audio.transcriptions.create(model="student", file=file).text)""",
    "sherpa-onnx": """# unzip student.zip
import sherpa_onnx, soundfile

recognizer = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc("model.onnx", "tokens.txt")
samples, rate = soundfile.read("recording.wav", dtype="float32")
stream = recognizer.create_stream()
stream.accept_waveform(rate, samples)
recognizer.decode_stream(stream)
print(stream.result.text)""",
    "Python": """from pathlib import Path

from workers.data.audio import read_audio
from workers.recognizer import open_bundle

recognizer = open_bundle(Path("student.zip"))
print(recognizer.transcribe(read_audio("recording.wav")))""",
    "C++": """// unzip student.zip
#include "sherpa-onnx/c-api/cxx-api.h"
using namespace sherpa_onnx::cxx;

OfflineRecognizerConfig config;
config.model_config.zipformer_ctc.model = "model.onnx";
config.model_config.tokens = "tokens.txt";
OfflineRecognizer recognizer = OfflineRecognizer::Create(config);
Wave wave = ReadWave("recording.wav");
OfflineStream stream = recognizer.CreateStream();
stream.AcceptWaveform(wave.sample_rate, wave.samples.data(), wave.samples.size());
recognizer.Decode(&stream);
std::cout << recognizer.GetResult(&stream).text << "\\n";""",
}

_LIVE_SNIPPETS = {
    **{kind: code for kind, code in _SNIPPETS.items() if kind in ("Shell", "Python")},
    "Server": """# search serve student=student.zip
import asyncio, json, websockets

async def speak(pieces):  # bytes of 16 kHz mono 16-bit samples, as they come
    url = "ws://localhost:8000/v1/audio/stream?model=student"
    async with websockets.connect(url) as server:
        for piece in pieces:
            await server.send(piece)
        await server.send('{"type": "end"}')
        async for message in server:
            print(json.loads(message)["text"])""",
    "sherpa-onnx": """# unzip student.zip
import sherpa_onnx

recognizer = sherpa_onnx.OnlineRecognizer.from_zipformer2_ctc(
    model="model.onnx", tokens="tokens.txt"
)
stream = recognizer.create_stream()
stream.accept_waveform(16000, samples)  # again and again, as they come
while recognizer.is_ready(stream):
    recognizer.decode_stream(stream)
print(recognizer.get_result(stream))""",
}
