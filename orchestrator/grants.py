"""Which node may write which object: the rights that travel in assignments, and their renewal on request."""

from orchestrator.locations import Locations
from orchestrator.model import Model
from orchestrator.records import ExecutionRecord, Location
from shared.errors import GrantRefused, StorageUnavailable
from shared.ids import ExecutionId, NodeId
from shared.messages import GrantGiven, GrantRequest, RequestRefused
from shared.signed_url import SignedUrl

CREDENTIAL_CODES = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
)
"""What S3 says to a URL whose keys are not, or no longer, right (Amazon S3 API reference, "Error responses")."""


class Grants:
    """Gives rights to PUT archives, each for one object."""

    def __init__(self, model: Model, locations: Locations) -> None:
        self._model = model
        self._locations = locations

    async def archive(self, location: Location) -> SignedUrl:
        """The right to PUT this archive. Raises StorageUnavailable if nothing can be signed at present."""
        return await self._locations.sign_put(location)

    async def renew(self, sender: NodeId, request: GrantRequest) -> GrantGiven | RequestRefused:
        """Answer the node that the subject names. Nothing that it says about itself counts."""
        if request.s3_code in CREDENTIAL_CODES:
            self._locations.doubt_credentials()
        try:
            record = self._model.execution(request.execution_id)
            location = entitled(sender, request.execution_id, record)
            if record is not None and self._model.is_surplus(record):
                raise GrantRefused(f"Execution {record.id} is being stopped.")  # noqa: TRY301  # one way to refuse
            return GrantGiven(archive=await self.archive(location))
        except (GrantRefused, StorageUnavailable) as error:
            return RequestRefused(code=error.code, message=error.message, retryable=error.retryable)


def entitled(sender: NodeId, execution: ExecutionId, record: ExecutionRecord | None) -> Location:
    """Where this node may publish this execution's result. Raises GrantRefused.

    The execution must exist, be this node's, be going on, and have a result. Whether it exists is not told to a node
    that does not hold it. An execution that is New by the record may be ended on its node, whose report is under way.
    """
    if record is None or record.node_id != sender:
        raise GrantRefused(f"Node {sender} holds no execution {execution}.")
    if record.state.is_terminal:
        raise GrantRefused(f"Execution {execution} is {record.state}.")
    if record.location is None:
        raise GrantRefused(f"Execution {execution} has no publisher.")
    return record.location
