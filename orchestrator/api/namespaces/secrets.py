"""Secrets of tasks in the HTTP API: what goes in by one of these routes comes out by none."""

import base64
import binascii

from aiohttp import web

from orchestrator.admission.task_secrets import StoredSecret
from orchestrator.api.access.auditing import tell
from orchestrator.api.bodies import answer, body_of, query_of
from orchestrator.api.queries import SecretsQuery
from orchestrator.api.routes import SECRETS, Route, principal_of
from orchestrator.assembly import Assembly
from shared.errors import InvalidInput
from shared.jobs.secrets import MAX_SECRET_BYTES
from shared.protocol.capabilities import READ_JOB, WRITE_JOB
from shared.protocol.namespaces.rest_secrets import (
    DeleteSecretResponse,
    ListSecretsResponse,
    PutSecretRequest,
    PutSecretResponse,
    SecretView,
)

MAX_BODY_BYTES = 8 * MAX_SECRET_BYTES
"""JSON may need six bytes for one."""


class SecretRoutes:
    """They take the capabilities of jobs: whoever may submit one can have a task print the secrets of its namespace."""

    def __init__(self, assembly: Assembly) -> None:
        self._secrets = assembly.secrets

    def routes(self) -> tuple[Route, ...]:
        one = f"{SECRETS}/{{secret}}"
        return (
            Route(
                "GET",
                SECRETS,
                self.list_secrets,
                "The secrets of tasks in a namespace, without their values.",
                ListSecretsResponse,
                SecretsQuery,
                needs=READ_JOB,
            ),
            Route(
                "PUT",
                one,
                self.put_secret,
                "Store a secret for the tasks of a namespace, or another value of it.",
                PutSecretResponse,
                SecretsQuery,
                PutSecretRequest,
                needs=WRITE_JOB,
            ),
            Route(
                "DELETE",
                one,
                self.delete_secret,
                "Delete a secret; tasks that have it keep it.",
                DeleteSecretResponse,
                SecretsQuery,
                needs=WRITE_JOB,
            ),
        )

    async def list_secrets(self, request: web.Request) -> web.Response:
        found = self._secrets.of(_namespace(request))
        return answer(ListSecretsResponse(secrets=tuple(map(_view, found))))

    async def put_secret(self, request: web.Request) -> web.Response:
        namespace, name = _namespace(request), request.match_info["secret"]
        wanted, _ = await body_of(request, PutSecretRequest, at_most=MAX_BODY_BYTES)
        return answer(PutSecretResponse(secret=_view(await self._secrets.put(namespace, name, _value(wanted)))))

    async def delete_secret(self, request: web.Request) -> web.Response:
        namespace, name = _namespace(request), request.match_info["secret"]
        await self._secrets.delete(namespace, name)
        return answer(DeleteSecretResponse(name=name, namespace=namespace))


def _namespace(request: web.Request) -> str:
    """The one that is named or meant. Raises NamespaceForbidden."""
    principal = principal_of(request)
    namespace = principal.meant(query_of(request, SecretsQuery).namespace)
    principal.check_namespace(namespace)
    tell(request, request.match_info.get("secret", ""), namespace)
    return namespace


def _value(wanted: PutSecretRequest) -> bytes:
    """Raises InvalidInput, which repeats nothing of it."""
    match wanted.encoding.lower():
        case "":
            try:
                return wanted.value.encode()
            except UnicodeEncodeError:
                raise InvalidInput(
                    "Value has a character that is half of a surrogate pair.", hint="Send bytes in base64."
                ) from None
        case "base64":
            try:
                return base64.b64decode(wanted.value, validate=True)
            except (binascii.Error, ValueError):
                raise InvalidInput(
                    "Value is not base64, as Encoding says.", hint="Leave out Encoding for a text."
                ) from None
        case _:
            raise InvalidInput("Encoding is neither empty nor base64.", hint="Leave it out for a text.")


def _view(stored: StoredSecret) -> SecretView:
    record = stored.record
    return SecretView(
        name=record.name,
        namespace=record.namespace,
        size_bytes=record.size_bytes,
        is_text=record.is_text,
        usable=stored.is_usable,
        create_time=record.create_time,
        modify_time=record.modify_time,
    )
