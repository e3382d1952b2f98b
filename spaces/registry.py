"""Names that other packages may add to: families, backends, losses, pruning rules, stages.

What is ours stands in a table; a package from outside adds to it by an entry point of the
table's group. Nothing is imported before it is asked for by name.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class UnknownName(ValueError):
    """No such name in a table, or one from outside that cannot be loaded; says what is known."""


class Registry(Mapping[str, T], Generic[T]):
    """A table of names.

    Args:
        group: entry points of other packages that belong to it.
        noun: what the names are, for messages.
        kind: what a loaded entry has to be an instance of; for classes, `type`.
        ours: the entry itself, or where it is as `module:name` (`module` alone is the module).
    """

    def __init__(
        self, group: str, noun: str, kind: type[object], ours: Mapping[str, T | str]
    ) -> None:
        self.group, self.noun, self._kind, self._ours = group, noun, kind, ours
        self._loaded: dict[str, T] = {}

    @cached_property
    def _theirs(self) -> dict[str, importlib.metadata.EntryPoint]:
        found = importlib.metadata.entry_points(group=self.group)
        return {e.name: e for e in found if e.name not in self._ours}

    def __iter__(self) -> Iterator[str]:
        """Ours, then those of other packages."""
        yield from self._ours
        yield from self._theirs

    def __len__(self) -> int:
        return len(self._ours) + len(self._theirs)

    def __contains__(self, name: object) -> bool:
        return name in self._ours or name in self._theirs

    def __getitem__(self, name: str) -> T:
        """The entry of that name.

        Raises:
            UnknownName: when there is none, or one from outside that cannot be loaded.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> T:
        if name in self._ours:
            entry = self._ours[name]
            return cast(T, _imported(entry)) if isinstance(entry, str) else entry
        if name not in self._theirs:
            raise UnknownName(f'no {self.noun} "{name}"; {self.hint(name)}')
        entry_point = self._theirs[name]
        try:
            loaded = entry_point.load()
        except Exception as error:  # whatever a stranger's module does when it is imported
            raise UnknownName(
                f'{self.noun} "{name}" of {entry_point.value} cannot be loaded '
                f"({type(error).__name__}: {error})"
            ) from error
        loaded = getattr(loaded, "INFO", loaded)
        if not isinstance(loaded, self._kind):
            raise UnknownName(
                f'{self.noun} "{name}": {entry_point.value} is not a {self._kind.__name__} and has '
                "no INFO that is one"
            )
        return cast(T, loaded)

    def hint(self, name: str) -> str:
        """What may have been meant by a name that is not known."""
        near = difflib.get_close_matches(name, list(self), 1, 0.5)
        return f'did you mean "{near[0]}"?' if near else f"known: {', '.join(self)}"


def _imported(where: str) -> object:
    module, _, name = where.partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, name) if name else loaded
