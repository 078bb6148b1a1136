"""`schemathesis` reads the published description and makes requests from it, right and wrong.

Whatever it sends, the server answers with a status and a body that the description names.
"""

from __future__ import annotations

import pytest
from http_servers import ToldEngine, app_over
from hypothesis import HealthCheck, Phase, settings

schemathesis = pytest.importorskip("schemathesis")

from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

# Not `positive_data_acceptance`: no description can say that a token id is in the vocabulary.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
APP = app_over(ToldEngine("né 🚀".encode()))
schema = schemathesis.openapi.from_asgi("/openapi.json", APP)


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_every_answer_is_one_that_the_description_names(case):
    case.call_and_validate(checks=CHECKS)


def test_the_description_is_of_every_route():
    described = {
        (path, method.upper())
        for path, operations in schema.raw_schema["paths"].items()
        for method in operations
    }
    assert described == {
        (route.path.replace(":path", ""), method)
        for route in APP.routes
        for method in route.methods - {"HEAD"}
        if route.path != "/openapi.json"
    }
    for path, operations in schema.raw_schema["paths"].items():
        for operation in operations.values():
            assert "422" not in operation["responses"]
            if path.startswith("/v1/") and "requestBody" in operation:
                assert {"200", "400", "404", "413", "415", "429", "503"} <= set(
                    operation["responses"]
                )
