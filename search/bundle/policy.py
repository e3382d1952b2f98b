"""Which of several students to use, by their measurements: as bundles carry it, in plain Python.

policy.json: {"members": [{"name", "wer", "service_ms": {target: ms for a second of audio},
"latency_p95_ms": {target: ms}}], "down": 0.75, "up": 0.5, "calm_s": 2.0}, fewest errors first.
"""

import json


class Policy:
    """The member with the fewest errors that a machine can carry under its load now.

    Under more than `down` of what the machine can do, it falls to a smaller member; it goes back
    when the larger one would need less than `up`, for `calm_s` seconds. Both are shares of the time
    of `copies` that run at once.
    """

    def __init__(
        self, told: dict, target: str, budget_ms: float = float("inf"), copies: int = 1
    ) -> None:
        every = [m for m in told["members"] if target in m["service_ms"]]
        if not every:
            raise ValueError(f"no member was measured on {target}")
        fit = [m for m in every if m["latency_p95_ms"].get(target, 0.0) <= budget_ms]
        self.members = fit or every[-1:]  # the smallest, where none keeps the budget
        self.cost_s = [m["service_ms"][target] / 1000 for m in self.members]
        self.down, self.up, self.calm_s = told["down"], told["up"], told["calm_s"]
        self.copies, self.place = copies, 0
        self.calm_since: float | None = None

    @classmethod
    def read(cls, path: str, target: str, budget_ms: float = float("inf")) -> "Policy":
        with open(path, encoding="utf-8") as file:
            return cls(json.load(file), target, budget_ms)

    def choose(
        self, now_s: float, audio_s_per_s: float, waiting_s: float = 0.0, busy: float | None = None
    ) -> str:
        """The member for the next request: of how many seconds of audio come in a second, how long
        requests wait, and what share of its time the member that is used now was busy, where that
        is known: measurements are of requests alone, and those heard together take less."""
        load = [cost_s * audio_s_per_s / self.copies for cost_s in self.cost_s]
        if busy is not None and load[self.place] > 0:
            seen = min(2.0, max(0.1, busy / load[self.place]))
            load = [share * seen for share in load]
        last, larger = len(load) - 1, max(0, self.place - 1)
        if self.place < last and (load[self.place] > self.down or waiting_s > self.calm_s / 10):
            fitting = (i for i in range(self.place + 1, last) if load[i] <= self.down)
            self.place, self.calm_since = next(fitting, last), None
        elif load[larger] > self.up or waiting_s > self.calm_s / 20 or larger == self.place:
            self.calm_since = None
        elif self.calm_since is None:
            self.calm_since = now_s
        elif now_s - self.calm_since >= self.calm_s:
            self.place, self.calm_since = larger, None
        return self.members[self.place]["name"]
