"""Routes of users: make one and be told its key once, list and revoke them. Nobody else may give what they all may."""

import asyncio

from aiohttp import web
from msgspec.structs import replace

from orchestrator.admission.own_hosts import own_hosts
from orchestrator.admission.tls.encryption import api_has_tls
from orchestrator.admission.user_changes import create_user, revoke_user, user_view
from orchestrator.api.access.auditing import tell
from orchestrator.api.bodies import answer, body_of
from orchestrator.api.routes import USERS, Route, principal_of
from orchestrator.assembly import Assembly
from shared.protocol import rest_users
from shared.protocol.capabilities import EVERYTHING
from shared.settings.config import ApiSettings

STORE_SECONDS = 15.0
EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  # it is not listened on


class UserRoutes:
    """A key has the `authority` by which its holder knows the API, and where that is, if nobody says otherwise."""

    def __init__(self, assembly: Assembly, authority: tuple[bytes, ...]) -> None:
        self._authority = authority
        self._addresses = _addresses(assembly.config.api)
        self._model = assembly.model
        self._store = assembly.store

    def routes(self) -> tuple[Route, ...]:
        create, one = "Make a user; the answer has its key, which is told nowhere else.", f"{USERS}/{{user}}"
        return (
            Route(
                "PUT",
                USERS,
                self.create_user,
                create,
                rest_users.CreateUserResponse,
                body=rest_users.CreateUserRequest,
                needs=EVERYTHING,
                everywhere=True,
            ),
            Route(
                "GET",
                USERS,
                self.list_users,
                "All users, also those that were revoked.",
                rest_users.ListUsersResponse,
                needs=EVERYTHING,
                everywhere=True,
            ),
            Route(
                "DELETE",
                one,
                self.revoke_user,
                "End a user's key, and what is open by it.",
                rest_users.RevokeUserResponse,
                needs=EVERYTHING,
                everywhere=True,
            ),
        )

    async def create_user(self, request: web.Request) -> web.Response:
        wanted, _ = await body_of(request, rest_users.CreateUserRequest)
        self._store.check_ready()
        if not wanted.addresses:
            wanted = replace(wanted, addresses=self._addresses)
        by = principal_of(request).name
        async with asyncio.timeout(STORE_SECONDS):
            record, key = await create_user(self._model, self._store, wanted, authority=self._authority, made_by=by)
        may, where = ", ".join(record.capabilities), ", ".join(record.namespaces)
        tell(request, record.name, detail=f"may {may} in {where}; key {record.key_id}")
        return answer(rest_users.CreateUserResponse(user=user_view(record), key=key.reveal()))

    async def list_users(self, _: web.Request) -> web.Response:
        self._store.check_ready()
        return answer(rest_users.ListUsersResponse(users=tuple(map(user_view, self._model.users.all()))))

    async def revoke_user(self, request: web.Request) -> web.Response:
        self._store.check_ready()
        name, by = request.match_info["user"], principal_of(request).name
        async with asyncio.timeout(STORE_SECONDS):
            record = await revoke_user(self._model, self._store, name, revoked_by=by)
        return answer(rest_users.RevokeUserResponse(user=user_view(record)))


def _addresses(api: ApiSettings) -> tuple[str, ...]:
    """Where the API is for others, as far as this machine knows."""
    scheme = "https" if api_has_tls(api) else "http"
    is_known_by_authority = scheme == "https" and not api.tls.cert_file
    hosts = own_hosts(with_addresses=is_known_by_authority) if api.host in EVERYWHERE else (api.host,)
    return tuple(f"{scheme}://{f'[{host}]' if ':' in host else host}:{api.port}" for host in hosts)
