"""What a space file says, a section a file."""

from spaces.space.budgets import Budget, parse_budget
from spaces.space.data import Data, Synthetic, Tokens
from spaces.space.forbid import Rule
from spaces.space.names import check_name
from spaces.space.search import Search
from spaces.space.space import Space
from spaces.space.targets import (
    LOOPBACK,
    WHERE_IT_IS_REACHED,
    Runtime,
    Target,
    check_target_names,
)
from spaces.space.teacher import TEACHER_KINDS, TeacherSource, TeacherTraining

__all__ = [
    "LOOPBACK",
    "TEACHER_KINDS",
    "WHERE_IT_IS_REACHED",
    "Budget",
    "Data",
    "Rule",
    "Runtime",
    "Search",
    "Space",
    "Synthetic",
    "Target",
    "TeacherSource",
    "TeacherTraining",
    "Tokens",
    "check_name",
    "check_target_names",
    "parse_budget",
]
