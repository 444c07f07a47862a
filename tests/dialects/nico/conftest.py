"""What the tests of this wire are given: tokens, and a wire."""

import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.dialects.nico.wire import Wire


@pytest.fixture(scope="session")
def signing_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def jwks(signing_key, tmp_path):
    key = {
        **json.loads(RSAAlgorithm.to_jwk(signing_key.public_key())),
        "kid": "k1",
        "use": "sig",
        "alg": "RS256",
    }
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [key]}))
    return file


@pytest.fixture
def mint(signing_key):
    def token(*roles, key=signing_key, algorithm="RS256", kid="k1", **claims):
        claims = {
            "iss": "https://login.example/realms/acme",
            "sub": "8f1e",
            "exp": int(time.time()) + 600,
            "email": "ana@example.com",
            "given_name": "Ana",
            "family_name": "Ruiz",
            "realm_access": {"roles": list(roles)},
            **claims,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": kid} if kid else None)

    return token


@pytest.fixture
def wire(yard, jwks, mint):
    return Wire(yard, {"jwks_file": str(jwks), "secret_key": "a key to seal credentials with"}, mint)
