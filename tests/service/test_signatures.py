"""A receiver can tell what is ours, and fresh, from what is not."""

import hashlib
import hmac

import pytest

from service.signatures import BadSignature, signed, verify

SECRET, BODY, NOW = "whsec_only_for_this_test", b'{"id": "job:3"}', 1_700_000_000


def test_what_we_sign_is_verified_whatever_the_case_of_the_headers() -> None:
    headers = signed(SECRET, NOW, BODY)
    verify(SECRET, headers, BODY, now=NOW + 10)
    verify(SECRET, {name.upper(): value for name, value in headers.items()}, BODY, now=NOW)


def test_the_signature_is_what_the_documentation_says() -> None:
    by_hand = hmac.new(SECRET.encode(), f"{NOW}.".encode() + BODY, hashlib.sha256).hexdigest()
    assert signed(SECRET, NOW, BODY) == {
        "Paretrack-Timestamp": str(NOW),
        "Paretrack-Signature": f"v1={by_hand}",
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"secret": "whsec_of_somebody_else"},
        {"body": BODY + b" "},
        {"now": NOW + 301},
        {"now": NOW - 301},
        {"headers": {}},
        {"headers": {"Paretrack-Timestamp": str(NOW)}},
        {"headers": {**signed(SECRET, NOW, BODY), "Paretrack-Timestamp": str(NOW + 1)}},
        {"headers": {**signed(SECRET, NOW, BODY), "Paretrack-Timestamp": "yesterday"}},
        {"headers": {**signed(SECRET, NOW, BODY), "Paretrack-Signature": "v1=ä"}},
    ],
)
def test_anything_else_is_refused(changed: dict[str, object]) -> None:
    said = {"secret": SECRET, "headers": signed(SECRET, NOW, BODY), "body": BODY, "now": NOW}
    with pytest.raises(BadSignature):
        verify(**{**said, **changed})  # type: ignore[arg-type]
