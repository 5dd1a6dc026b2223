"""Of the certificates of the mesh and of its webhooks."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.reference_mesh.cli.breaking import (
    HOOKS,
    INJECTOR,
    ISSUER,
    ROOTS,
    VALIDATOR,
    Signed,
    anchors,
    client_of,
    gone,
    issuer,
    put,
    serve,
    trust,
)
from tests.reference_mesh.cli.causes.model import Cause

CAUSES = [
    # linkerd-identity
    Cause("certificate config is valid", gone("Secret", ISSUER), f'secrets "{ISSUER}" not found'),
    Cause("certificate config is valid", gone("ConfigMap", ROOTS), ROOTS),
    Cause(
        "certificate config is valid",
        lambda api: put(api, ISSUER, key_pem=Signed(-1, 9).key_pem),
        "belongs to another certificate",
    ),
    Cause(
        "certificate config is valid",
        lambda api: api.of("Secret", ISSUER)["data"].pop("key.pem"),
        f"Secret {ISSUER} has neither crt.pem and key.pem nor tls.crt and tls.key",
    ),
    Cause(
        "trust anchors are using supported crypto algorithm",
        lambda api: anchors(api, Signed(-1, 300, key=ed25519.Ed25519PrivateKey.generate())),
        "has a key of type Ed25519",
    ),
    Cause(
        "trust anchors are within their validity period",
        lambda api: anchors(api, Signed(-9, -1)),
        "trust anchor expired on",
    ),
    Cause(
        "trust anchors are within their validity period",
        lambda api: anchors(api, Signed(1, 300)),
        "trust anchor not valid before",
    ),
    Cause(
        "trust anchors are valid for at least 60 days",
        lambda api: anchors(api, Signed(-1, 59)),
        "trust anchor will expire on",
        "warning",
    ),
    Cause(
        "issuer cert is using supported crypto algorithm",
        lambda api: issuer(api, key=ed25519.Ed25519PrivateKey.generate()),
        "has a key of type Ed25519",
    ),
    Cause(
        "issuer cert is within its validity period",
        lambda api: issuer(api, -9, -1),
        "issuer expired on",
    ),
    Cause(
        "issuer cert is within its validity period",
        lambda api: issuer(api, 1),
        "issuer not valid before",
    ),
    Cause(
        "issuer cert is valid for at least 60 days",
        lambda api: issuer(api, -1, 59),
        "issuer will expire on",
        "warning",
    ),
    Cause(
        "issuer cert is issued by the trust anchor",
        lambda api: anchors(api, Signed(-1, 300)),
        "not signed by any of the trust anchors",
    ),
    # linkerd-webhooks-and-apisvc-tls
    *(
        cause
        for hook, secret in zip(HOOKS, (INJECTOR, VALIDATOR, VALIDATOR), strict=True)
        for cause in (
            Cause(
                f"{hook} webhook has valid cert",
                gone(*HOOKS[hook]),
                f'"{HOOKS[hook][1]}" not found',
            ),
            Cause(
                f"{hook} webhook has valid cert",
                lambda api, hook=hook: trust(api, hook, Signed(-1, 300).pem),
                "does not trust the certificate in Secret",
            ),
            Cause(
                f"{hook} webhook has valid cert",
                lambda api, secret=secret: serve(api, secret, started=366),
                f"the certificate in Secret {secret} expired on",
            ),
            Cause(
                f"{hook} webhook has valid cert",
                lambda api, secret=secret: put(api, secret, tls_key=Signed(-1, 9).key_pem),
                "belongs to another certificate",
            ),
            Cause(
                f"{hook} webhook has valid cert",
                lambda api, hook=hook: trust(api, hook, "garbage"),
                "not a PEM bundle",
            ),
            Cause(
                f"{hook} webhook has valid cert",
                lambda api, hook=hook: client_of(api, hook).pop("caBundle"),
                f"{HOOKS[hook][1]}: its caBundle cannot be read",
            ),
            Cause(
                f"{hook} cert is valid for at least 60 days",
                lambda api, secret=secret: serve(api, secret, started=310),
                "will expire on",
                "warning",
            ),
        )
    ),
    Cause(
        "proxy-injector webhook has valid cert",
        lambda api: serve(api, INJECTOR, 1, host="injector.example"),
        "is not for host linkerd-proxy-injector.linkerd.svc",
    ),
]
