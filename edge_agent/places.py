"""Where each thing lives under the state folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Places:
    """The paths below ``root``, the state folder."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def journal(self) -> Path:
        return self.root / "update" / "journal.json"

    @property
    def trust(self) -> Path:
        return self.root / "update" / "trust"

    @property
    def uploads(self) -> Path:
        return self.root / "update" / "uploads"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox.sqlite"

    @property
    def commands(self) -> Path:
        return self.root / "commands.json"

    @property
    def tuning(self) -> Path:
        """With which options models run best here, as far as was tried."""
        return self.root / "tuning"

    def own(self, path: Path) -> bool:
        """Whether ``path`` is the agent's own: the state folder itself, or what is kept in it. Pure."""
        journals = [self.outbox.with_name(f"{self.outbox.name}{end}") for end in ("-wal", "-shm")]
        kept = (self.store, self.journal.parent, self.outbox, *journals, self.commands, self.tuning)
        return path == self.root or any(path.is_relative_to(one) for one in kept)

    def make(self) -> None:
        """Create the folders. Raises ConfigError when the state folder cannot be written."""
        try:
            for folder in (self.root, self.store, self.journal.parent, self.trust, self.uploads, self.tuning):
                folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        except OSError as error:
            raise ConfigError([Problem("device.state_dir", f"{error.filename}: {error.strerror}")]) from None
