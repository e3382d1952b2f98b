"""What a space file says, a section a file."""

from spaces.space.budgets import Budget, parse_budget
from spaces.space.data import Data, Synthetic, Tokens
from spaces.space.forbid import Rule
from spaces.space.names import check_name
from spaces.space.search import Search
from spaces.space.space import Space
from spaces.space.targets import LOOPBACK, Runtime, Target
from spaces.space.teacher import TeacherSource, TeacherTraining

__all__ = [
    "LOOPBACK",
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
    "parse_budget",
]
