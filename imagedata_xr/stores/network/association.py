"""Associations with an archive (PS3.8): made, refused in words that say why, released."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...errors import SourceError
from .address import Address
from .settings import Settings

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

_log = logging.getLogger(__name__)

MOST_CONTEXTS = 128
"""Presentation contexts of one association (PS3.8 section 9.3.2.2)."""
_PDU = 131072


class NothingAcceptedError(SourceError):
    """The archive associates with us, and accepts no service or class of those that were proposed."""


def pynetdicom() -> Any:
    """Import pynetdicom, or say how to get it.

    It would log what was asked for and each answer, names of patients among them, at the level INFO.
    """
    try:
        import pynetdicom as module
        from pynetdicom import _config
    except ImportError:
        raise SourceError("addresses of DICOM archives need pynetdicom: pip install 'imagedata-xr[net]'") from None
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    return module


def entity(settings: Settings) -> Any:
    """Application entity with our title and time-outs."""
    ae = pynetdicom().AE(ae_title=settings.aet)
    ae.acse_timeout = ae.connection_timeout = settings.connect
    ae.dimse_timeout = ae.network_timeout = settings.timeout
    ae.maximum_pdu_size = _PDU
    return ae


@contextmanager
def associated(
    address: Address,
    settings: Settings,
    contexts: Sequence[PresentationContext],
    roles: Sequence[Any] = (),
    handlers: Sequence[tuple[Any, Callable[..., Any]]] = (),
) -> Iterator[Association]:
    """Associate with an archive; released in the end, aborted after an error.

    Parameters
    ----------
    address : Address
    settings : Settings
    contexts : sequence of PresentationContext
        At most `MOST_CONTEXTS`.
    roles : sequence of SCP_SCU_RoleSelectionNegotiation
    handlers : sequence of (event, function)

    Raises
    ------
    SourceError
        The archive can't be reached, is not the one that it should be, or refuses us.
    """
    if len(contexts) > MOST_CONTEXTS:
        raise SourceError(f"{len(contexts)} presentation contexts are more than the {MOST_CONTEXTS} of an association")
    assoc = _connect(address, settings, contexts, roles, handlers)
    try:
        yield assoc
    except BaseException:
        if assoc.is_established:
            assoc.abort()
        raise
    if assoc.is_established:
        assoc.release()


@contextmanager
def listening(
    settings: Settings, contexts: Sequence[PresentationContext], handlers: Sequence[tuple[Any, Callable[..., Any]]]
) -> Iterator[None]:
    """Run a server of ours on ``port``, for the associations that an archive opens by itself.

    Parameters
    ----------
    settings : Settings
        With ``tls`` the server encrypts too, shows our certificate, and wants one of the archive.
    contexts : sequence of PresentationContext
    handlers : sequence of (event, function)

    Raises
    ------
    SourceError
        The port can't be opened, or there is no certificate to show.
    """
    ae = entity(settings)
    for one in contexts:
        # the archive is the user of storage, and the provider of commitment that tells of itself
        ae.add_supported_context(one.abstract_syntax, one.transfer_syntax, scu_role=True, scp_role=True)
    secured = settings.own_context() if settings.tls else None
    try:
        server = ae.start_server(("", settings.port), block=False, evt_handlers=list(handlers), ssl_context=secured)
    except OSError as error:
        raise SourceError(
            f"port={settings.port} can't be opened for the archive to connect to: {error.strerror or error}"
        ) from error
    try:
        yield
    finally:
        server.shutdown()


def _connect(
    address: Address, settings: Settings, contexts: Sequence[Any], roles: Sequence[Any], handlers: Sequence[Any]
) -> Association:
    why = ""
    for attempt in range(settings.retries + 1):
        if attempt:
            time.sleep(min(0.5 * 2**attempt, 5.0))
        why, again = "", True
        ae = entity(settings)
        extended = [*roles, *_identity(settings)]
        tls = (settings.context(), address.host) if settings.tls else None
        assoc = ae.associate(
            address.host, address.port, contexts=list(contexts), ae_title=address.aet, ext_neg=extended,
            evt_handlers=list(handlers), tls_args=tls, max_pdu=_PDU,
        )  # fmt: skip
        if assoc.is_established:
            return assoc  # type: ignore[no-any-return]
        if len(assoc.rejected_contexts) == len(contexts):
            raise NothingAcceptedError(f"{address.server} accepts nothing of what is asked for")
        why, again = _refusal(assoc, address, settings)
        if not again:
            break
    raise SourceError(f"{address.server}: {why}")


def _identity(settings: Settings) -> list[Any]:
    """User identity negotiation (PS3.7 annex D.3.3.7): by name, or by name and password."""
    if not settings.username:
        return []
    from pynetdicom.pdu_primitives import UserIdentityNegotiation

    item = UserIdentityNegotiation()
    item.user_identity_type = 2 if settings.password else 1
    item.primary_field = settings.username.encode()
    if settings.password:
        item.secondary_field = settings.password.encode()
    item.positive_response_requested = False
    return [item]


def _refusal(assoc: Association, address: Address, settings: Settings) -> tuple[str, bool]:
    """Say why there is no association, and whether another try may help."""
    if assoc.is_rejected:
        primitive = assoc.acceptor.primitive
        reason = primitive.reason_str if primitive is not None else "no reason given"
        transient = primitive is not None and primitive.result == 0x02
        return (
            f"the archive refuses the association: {reason} (called {address.aet!r}, calling {settings.aet!r})",
            bool(transient),
        )
    reached = _reach(address, settings)
    if reached:
        return reached, "name or service" not in reached.lower() and "certificate" not in reached.lower()
    if assoc.is_aborted:
        return (
            "the archive ends the association before it begins: the title, the user or the encryption may be wrong",
            False,
        )
    return f"no answer within {settings.connect:g} s to a request for an association: is it a DICOM port?", True


def _reach(address: Address, settings: Settings) -> str:
    """Try the connection itself, since pynetdicom does not tell what failed; empty where it can be made."""
    try:
        plain = socket.create_connection((address.host, address.port), settings.connect)
    except OSError as error:
        return f"the archive can't be reached: {error.strerror or error}"
    with plain:
        return _encrypt(plain, address, settings) if settings.tls else ""


def _encrypt(plain: socket.socket, address: Address, settings: Settings) -> str:
    try:
        with settings.context().wrap_socket(plain, server_hostname=address.host) as secure:
            secure.settimeout(1.0)
            try:
                if secure.recv(1) == b"":
                    return "the archive ends the encrypted connection: it may want a certificate (cert=, key=)"
            except TimeoutError:
                pass
    except ssl.SSLCertVerificationError as error:
        return f"the certificate of the archive is not accepted: {error.verify_message}"
    except OSError as error:
        said = getattr(error, "reason", None) or error.strerror or "TLS failed"
        return f"no encrypted connection: {said}; the archive may not encrypt, or want a certificate"
    return ""


def context(abstract: str, *syntaxes: str) -> Any:
    """Presentation context of a service or a class of images."""
    from pynetdicom import build_context

    return build_context(abstract, list(syntaxes) or None)


def status_of(answer: Any) -> int | None:
    """Status of an answer; None where the connection was lost."""
    return int(answer.Status) if answer is not None and "Status" in answer else None


def comment(answer: Any) -> str:
    """Status as it may be shown: its number and meaning; the free text of the archive may name a patient."""
    code = status_of(answer)
    if code is None:
        return "no answer"
    return f"status 0x{code:04X}"
