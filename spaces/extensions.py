"""What can be added to training, pruning and the stages: a file and a line each.

The line is one of these tables, or an entry point of the group that is named here.
`CONTRIBUTING.md` has an example of each.
"""

from __future__ import annotations

from types import ModuleType

from spaces.registry import Registry

# name of a loss → module with `make_loss`; weighed by `losses:` of a space
LOSSES: Registry[ModuleType] = Registry("compression_search.losses", "loss", ModuleType, {})

# name of a pruning rule → module with `unit_scores`; chosen by `prune.rule` of a space
PRUNING_RULES: Registry[ModuleType] = Registry(
    "compression_search.pruning_rules",
    "pruning rule",
    ModuleType,
    {
        "l1": "workers.compress.pruning.l1",
        "taylor": "workers.compress.pruning.taylor",
        "gates": "workers.compress.pruning.gates",
    },
)

# name of a further stage → module with `run`; asked for by `stages:` of a space
STAGES: Registry[ModuleType] = Registry("compression_search.stages", "stage", ModuleType, {})
