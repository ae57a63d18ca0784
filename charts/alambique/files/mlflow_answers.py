"""Ask MLflow over its Service: it is up, refuses a request without a user, and accepts the stages' user."""

import base64
import os
import sys
import urllib.error
import urllib.request

SERVER = os.environ["MLFLOW_TRACKING_URI"]
USER = f"{os.environ['MLFLOW_TRACKING_USERNAME']}:{os.environ['MLFLOW_TRACKING_PASSWORD']}"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
AUTHORIZATION = {"Authorization": "Basic " + base64.b64encode(USER.encode()).decode()}


def status(path, headers):
    request = urllib.request.Request(SERVER + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


for path, headers, expected in [("/health", {}, 200), (SEARCH, {}, 401), (SEARCH, AUTHORIZATION, 200)]:
    if (answered := status(path, headers)) != expected:
        who = "the stages' user" if headers else "nobody"
        sys.exit(f"GET {SERVER}{path} as {who} answered {answered}, not {expected}")
print("MLflow answers")
