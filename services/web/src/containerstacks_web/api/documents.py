"""The documents that the API answers with."""

from datetime import UTC, datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import Field

from containerstacks_shared.billing.documents import DaemonDetails, DaemonStatus
from containerstacks_shared.core.documents import Document, Timestamp
from containerstacks_shared.fleet.api_keys import ApiKeyRecord, ApiKeyScope, NewApiKey
from containerstacks_shared.fleet.platform import PlatformDetails, PlatformStatistics
from containerstacks_shared.fleet.vps import VpsDetails, VpsStatistics
from containerstacks_shared.status.documents import ComponentReport, ComponentState, Incident
from containerstacks_web.actions.api_keys import ApiKeyRequest


class Answer(Document):
    """What every document of the API begins with."""

    success: Literal[True] = True
    timestamp: Timestamp = Field(default_factory=lambda: datetime.now(UTC))


class HealthDocument(Document):
    success: Literal[True] = True
    message: str
    timestamp: Timestamp
    version: str


class VpsStatisticsDocument(Answer):
    last_updated: Timestamp
    vps: VpsDetails | VpsStatistics


class DaemonStatusDocument(Answer):
    daemon: DaemonDetails | DaemonStatus


class PlatformStatisticsDocument(Answer):
    stats: PlatformDetails | PlatformStatistics


class ComponentsDocument(Answer):
    """`stale`: newer states could not be read since `last_updated`."""

    last_updated: Timestamp
    stale: bool
    overall: ComponentState
    components: list[ComponentReport]


class IncidentsDocument(Answer):
    """One page, the newest first. The next one is in the Link header, rel="next"."""

    incidents: list[Incident]


class IncidentDocument(Document):
    success: Literal[True] = True
    incident: Incident


class ApiKeyDocument(Document):
    """`prefix` is how the key begins."""

    id: UUID
    email: str
    name: str
    prefix: str
    scopes: list[ApiKeyScope]
    created_at: Timestamp | None
    last_used_at: Timestamp | None
    expires_at: Timestamp | None
    active: bool

    @classmethod
    def of(cls, record: ApiKeyRecord) -> Self:
        return cls(**vars(record) | {"scopes": sorted(record.scopes)})


class ApiKeysDocument(Answer):
    """Newest first; the header `Link` leads to the page after."""

    keys: list[ApiKeyDocument]


class NewApiKeyDocument(Answer):
    """`key` is shown this once and kept nowhere."""

    id: UUID
    key: str
    name: str
    scopes: list[ApiKeyScope]
    expires_at: Timestamp | None

    @classmethod
    def of(cls, made: NewApiKey, wanted: ApiKeyRequest) -> Self:
        return cls(
            timestamp=made.created_at,
            id=made.id,
            key=made.key,
            name=wanted.name,
            scopes=sorted(set(wanted.scopes)),
            expires_at=wanted.expires_at,
        )
