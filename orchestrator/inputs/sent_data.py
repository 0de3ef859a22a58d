"""Sent data: the parts that deal with it, made together."""

from typing import NamedTuple

from orchestrator.inputs.data_contents import DataContents
from orchestrator.inputs.data_parts import DataParts
from orchestrator.inputs.data_records import DataRecords
from orchestrator.inputs.manifests import Manifests
from orchestrator.s3.locations import Locations
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from shared.settings.sent_data import SentDataSettings


class DataService(NamedTuple):
    records: DataRecords
    manifests: Manifests
    contents: DataContents
    parts: DataParts


def data_service(model: Model, store: Store, locations: Locations, settings: SentDataSettings) -> DataService:
    records, manifests = DataRecords(model, store, locations, settings), Manifests(locations)
    contents = DataContents(records, manifests, store, locations)
    return DataService(records, manifests, contents, DataParts(records, contents, locations))
