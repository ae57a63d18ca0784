"""As much of a Kubernetes API server as Helm's `lookup` of Secrets asks for."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_SECRETS = {"name": "secrets", "namespaced": True, "kind": "Secret", "verbs": ["get"]}
_DISCOVERY = {
    "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [_SECRETS]},
}
_NOT_FOUND = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


@contextmanager
def secret_server(secrets: list[dict[str, Any]]) -> Iterator[str]:
    """A server on loopback that has these Secrets; yields its URL."""
    answers = dict(_DISCOVERY)
    for secret in copy.deepcopy(secrets):
        metadata = secret["metadata"]
        metadata["annotations"] |= {  # as Helm marks what it installs
            "meta.helm.sh/release-name": metadata["labels"]["app.kubernetes.io/instance"],
            "meta.helm.sh/release-namespace": metadata["namespace"],
        }
        answers[f"/api/v1/namespaces/{metadata['namespace']}/secrets/{metadata['name']}"] = secret

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            body = json.dumps(answer or _NOT_FOUND).encode()
            self.send_response(200 if answer else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
