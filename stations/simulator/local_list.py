"""The local authorization list of a station (OCPP 1.6 ed. 2, 3.5.2)."""

from __future__ import annotations

from ocpp.v16.enums import UpdateStatus, UpdateType


class LocalList:
    """Entries by upper-case idTag, since idTags compare without regard to case."""

    def __init__(self, *, most_per_request: int, most_entries: int) -> None:
        self.version = 0  # 0: empty
        self._entries: dict[str, dict] = {}
        self._most_per_request = most_per_request
        self._most_entries = most_entries

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, id_tag: str) -> dict | None:
        """Return the idTagInfo of an entry (snake_case members), or None."""
        return self._entries.get(id_tag.upper())

    def update(self, version: int, update_type: str, entries: list[dict]) -> UpdateStatus:
        """Carry out SendLocalList.req; anything but Accepted leaves the list as it was.

        Source: OCPP 1.6 ed. 2, 5.15: every entry of a full list has idTagInfo; in a differential one an entry without
        it is deleted. Errata v4.0 3.52: versions 0 and -1 cannot be sent.
        """
        tags = [entry["id_tag"].upper() for entry in entries]
        if version < 1 or len(entries) > self._most_per_request or len(set(tags)) < len(tags):
            return UpdateStatus.failed
        if update_type == UpdateType.full:
            if any("id_tag_info" not in entry for entry in entries):
                return UpdateStatus.failed
            changed = {}
        else:
            if version <= self.version:
                return UpdateStatus.version_mismatch
            changed = dict(self._entries)
        for tag, entry in zip(tags, entries, strict=True):
            if "id_tag_info" in entry:
                changed[tag] = entry["id_tag_info"]
            else:
                changed.pop(tag, None)
        if len(changed) > self._most_entries:
            return UpdateStatus.failed
        self._entries = changed
        self.version = version
        return UpdateStatus.accepted
