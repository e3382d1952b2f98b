"""The study's own stages: its data, its teacher, its supernets; what must be known of them to go
on."""

from __future__ import annotations

from collections.abc import Collection

from search.errors import StudyFault
from search.objectives import metrics_of
from search.policy import Policy
from search.results import TrialResults, readings_of_test
from search.strategy.verdict import deciding_metrics
from search.strategy.weight_sharing import Decision, decide
from search.study.ends import next_end
from search.study.judging import Judge
from search.study.ledger import Ledger
from search.study.measuring import Step, Submit
from search.study.pipeline import next_study_step, study_context, teacher_readings
from search.study.settings import StudyContext, StudySettings
from spaces.metrics import LIVE_METRICS, MetricRef
from spaces.space import Space
from workers.jobs import Convert, Job, Measure, Score, Screen
from workers.results import TeacherTargetsResult, Unavailable


class TeacherPhase:
    """Brings data and teacher to where trials can begin; `context` is None until then."""

    def __init__(
        self, space: Space, settings: StudySettings, policy: Policy, ledger: Ledger, judge: Judge
    ) -> None:
        self._space, self._settings, self._policy = space, settings, policy
        self._ledger, self._judge = ledger, judge
        self.context: StudyContext | None = None
        self._sharing: Decision | None = None

    def next_step(self, unavailable_targets: Collection[str]) -> Step:
        """The next stage of the study itself.

        Raises:
            StudyFault: when no student can meet the budgets.
        """
        results = self._ledger.results(None)
        if self._is_first(results):
            end = next_end(self._space, self._settings, self._policy, results, unavailable_targets)
            if end is not None:
                return Submit(end)
        shared = self._shared_families() if results.teacher_targets is not None else ()
        return next_study_step(self._space, self._settings, results, unavailable_targets, shared)

    def _shared_families(self) -> tuple[str, ...]:
        """The families whose students begin as slices; told once a run."""
        if self._sharing is None:
            self._sharing = decide(self._space, self._ledger.study.trials_wanted)
            if self._space.search.weight_sharing != "off":
                self._ledger.event("supernet", f"weight sharing: {self._sharing.reason}")
        return self._space.trained_families if self._sharing.is_shared else ()

    def _is_first(self, results: TrialResults) -> bool:
        """Whether nothing but the data is there."""
        done = (results.train, results.export, results.teacher_targets)
        is_begun = any(done) or results.converted or results.scored or self._ledger.trials
        return results.prepare is not None and not is_begun

    def begin_trials(self) -> None:
        """Data and teacher are ready.

        Raises:
            StudyFault: when what the space asks for cannot be told here.
        """
        results = self._ledger.results(None)
        self.context = study_context(self._space, self._settings, results)
        self._check_teaches(self.context, results)
        self._check(self.context, results)
        self._save(self.context)

    def measured_late(self) -> None:
        """A device was away when the search began, and has measured the teacher now."""
        results = self._ledger.results(None)
        self.context = study_context(self._space, self._settings, results)
        self._save(self.context)

    def remember_corpus(self, corpus: str) -> None:
        """Data that changed under a study would make its teacher and trials incomparable.

        Raises:
            StudyFault: when they did.
        """
        before = self._ledger.study.corpus
        if before is None:
            self._ledger.change_study(corpus=corpus)
        elif before != corpus:
            raise StudyFault(
                "the data changed since this study began (audio, transcripts or tokens differ, or "
                "a band without sound is left out only since this version), so "
                "its trials could not be compared; put it back, or start a new study with --study",
                is_user_fault=True,
            )

    def can_do_without(self, job: Job) -> bool:
        """A teacher may be too big for a device or a runtime; students need not be. What the ends
        of the space would have told, its trials tell."""
        if isinstance(job, Screen):
            return True
        if isinstance(job, Measure):
            return job.target.is_remote or job.target.backend != "onnxruntime"
        return isinstance(job, Convert) or (isinstance(job, Score) and job.onnx_texts is not None)

    def _save(self, context: StudyContext) -> None:
        results = self._ledger.results(None)
        readings = teacher_readings(self._space, self._settings, results)
        self._judge.save_measurements("teacher", readings)
        teacher = context.teacher_metrics
        tested = metrics_of(self._space, readings_of_test(self._space, results))
        self._ledger.save_teacher({**teacher, **tested})
        parts = [f"WER {teacher['wer']:.1%}"] if "wer" in teacher else []
        parts += [f"{teacher['size_mb']:.2f} MB"] if "size_mb" in teacher else []
        parts += _pseudo_label_share(self._ledger.results(None).teacher_targets)
        self._ledger.event("teacher", f"teacher ready: {', '.join(parts)}")
        self._judge.judge_again(context)

    def _check_teaches(self, context: StudyContext, results: TrialResults) -> None:
        """Students of a teacher that gets nothing right would be worse than without it. One that
        was trained here for too short a time, or has students already, is the user's to judge."""
        if self._space.teacher.train is not None or self._ledger.trials:
            return
        wer, targets = context.teacher_metrics.get("wer", 0.0), results.teacher_targets
        is_unused = targets is not None and targets.n_pseudo_labels == 0
        if wer > 1 or is_unused:
            reason = (
                f"its WER on dev is {wer:.1%}" if wer > 1 else "none of its transcripts is near"
            )
            raise StudyFault(
                f"teacher: cannot teach: {reason}; check that its tokens and its language are "
                "those of the data, or train one here: teacher: {train: {}}",
                is_user_fault=True,
            )

    def _check(self, context: StudyContext, results: TrialResults) -> None:
        """What leans on a figure that the teacher will never have could never be broken, and what
        the teacher's machine does not tell it will not tell of a student."""
        pending = self._pending_targets(results)
        needed = self._space.needs_teacher_value()
        lacking = [m for m in needed if self._is_lacking(m, context, pending)]
        if lacking:
            raise StudyFault(
                f"budgets: {', '.join(lacking)} of this teacher is not measured here, so "
                '"<= teacher" means nothing; write a number',
                is_user_fault=True,
            )
        if self._space.gate.olive_asr and self._policy.timed_decides:
            speeds = [MetricRef("throughput", name) for name in self._space.targets]
            unknown = [m.target for m in speeds if self._is_lacking(m, context, pending)]
            if unknown:
                raise StudyFault(
                    f"gate.olive_asr: the teacher's speed on {', '.join(unknown)} is not measured, "
                    "so nobody can be twice as fast; take the gate or the target out",
                    is_user_fault=True,
                )
        self._check_counted(context)
        self._check_told(context, results)
        undecided = self._policy.undecided(self._space)
        if undecided:
            self._ledger.event(
                "study",
                f"deterministic: {', '.join(undecided)} is timed, varies from run to run "
                "and therefore decides nothing; use --where on the front",
            )

    def _pending_targets(self, results: TrialResults) -> set[str]:
        """Targets on which the teacher is measured later, when their device is back."""
        pending: set[str] = set()
        while True:
            step = next_study_step(self._space, self._settings, results)
            if not isinstance(step, Submit) or not isinstance(step.job, Measure):
                return pending
            name = step.job.target_name
            pending.add(name)
            results = results.having(f"measure@{name}", Unavailable(reason="later"))

    def _is_lacking(self, metric: MetricRef, context: StudyContext, pending: set[str]) -> bool:
        """Whether the teacher will never have a figure."""
        target = metric.target or self._space.first_target
        is_later = metric.known.noisy and target in pending
        return metric not in context.teacher_metrics and not is_later

    def _check_counted(self, context: StudyContext) -> None:
        """Of a file that was brought nobody has counted the operations."""
        file = context.teacher_file
        deciding = [m.name for m in deciding_metrics(self._space, self._policy)]
        is_family = "teacher" in self._space.students
        if is_family and "macs" in deciding and file is not None and file.macs is None:
            raise StudyFault(
                "students.teacher: macs decide here (as objective, as budget, or for times with "
                "--deterministic), and those of an ONNX file are not known; take them or the "
                "family out",
                is_user_fault=True,
            )

    def _check_told(self, context: StudyContext, results: TrialResults) -> None:
        """Figures that a target did not tell of the teacher though it was measured there."""
        for metric in deciding_metrics(self._space, self._policy):
            target = metric.target or self._space.first_target
            measured = results.measure(target)
            of_students_only = metric.name in ("regression", *LIVE_METRICS)
            is_told = metric in context.teacher_metrics or of_students_only
            if metric.known.noisy and measured is not None and measured.readings and not is_told:
                raise StudyFault(
                    f"{metric}: {target} does not tell {metric.name}, so it can be neither "
                    "objective nor budget there",
                    is_user_fault=True,
                )


def _pseudo_label_share(targets: TeacherTargetsResult | None) -> list[str]:
    """How many transcripts of the teacher students learn from, where they learn from those."""
    if targets is None:
        return []
    said = [] if targets.combined is None else [targets.combined]
    if targets.n_pseudo_labels is not None:
        share = f"{targets.n_pseudo_labels} of {targets.n_utterances}"
        said.append(f"{share} of its transcripts are used")
    if targets.n_unlabelled:
        why = ", ".join(f"{count} {reason}" for reason, count in targets.left_out.items())
        share = f"{targets.n_unlabelled_used} of {targets.n_unlabelled}"
        said.append(f"{share} unlabelled utterances are learnt from{f' (not: {why})' * bool(why)}")
    return said
