"""What routes need: the service that they are part of, and who calls."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from service.callers import Caller, Role
from service.errors import Problem
from service.serving import Service

# Only so that the OpenAPI document says how to authenticate; ``caller`` reads the header.
_bearer = HTTPBearer(auto_error=False, description="A token: paretrack token create")


def service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


ServiceDep = Annotated[Service, Depends(service)]


def caller(
    request: Request, at: ServiceDep, _documented: Annotated[Any, Security(_bearer)]
) -> Caller:
    """Who calls; refused without a token, unless the service has but one user."""
    found = at.caller(request.headers.get("authorization"))
    request.state.caller = found
    return found


def needs(role: Role) -> Callable[..., Caller]:
    """Refuses whoever is less than that."""

    def checked(found: Annotated[Caller, Depends(caller)]) -> Caller:
        if found.role < role:
            raise Problem(
                "forbidden",
                f"this needs the role {role.word}, your token has {found.role.word}: ask an "
                "operator for another token",
            )
        return found

    checked.role = role  # type: ignore[attr-defined]  # the authorisation table reads it
    return checked


Viewer = Annotated[Caller, Depends(needs(Role.VIEWER))]
Submitter = Annotated[Caller, Depends(needs(Role.SUBMITTER))]
Operator = Annotated[Caller, Depends(needs(Role.OPERATOR))]
