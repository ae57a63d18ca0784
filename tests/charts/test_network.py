"""Who may reach whom."""

from __future__ import annotations

import pytest
from factories.helm import CI, find, render

FULL, MINIMAL, GPU, BESIDE = (CI[name] for name in ("full", "minimal", "gpu", "official-airflow"))


def test_a_stage_reaches_mlflow_s3_git_and_dns_alone() -> None:
    stage = find(render(FULL), "NetworkPolicy", "alambique-stages")["spec"]
    ports = [[port["port"] for port in rule["ports"]] for rule in stage["egress"]]
    assert ports == [[5000], [9000], [443, 22]]
    assert [rule["to"][0].get("ipBlock", {}).get("cidr") for rule in stage["egress"]] == [
        None,
        "10.30.0.0/24",
        "10.40.0.0/24",
    ]
    assert "ingress" not in stage
    elsewhere = find(render(BESIDE), "NetworkPolicy", "alambique-stages")["spec"]["egress"]
    assert [rule["ports"][0]["port"] for rule in elsewhere] == [443, 443, 443]


@pytest.mark.parametrize(
    ("endpoint", "port"), [("", 443), ("http://minio", 80), ("http://minio.s3.svc:9000", 9000), ("https://s3", 443)]
)
def test_s3_is_reached_on_the_port_of_its_endpoint(endpoint: str, port: int) -> None:
    policy = find(render(GPU, {"s3": {"endpoint": endpoint}}), "NetworkPolicy", "alambique-mlflow")
    assert policy["spec"]["egress"][1]["ports"][0]["port"] == port


def test_mlflow_is_reached_by_stages_airflow_the_test_and_who_is_named() -> None:
    (rule,) = find(render(FULL), "NetworkPolicy", "alambique-mlflow")["spec"]["ingress"]
    stage, airflow, test, prometheus, ingress = rule["from"]
    assert stage["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "stage"
    assert airflow["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "vision"}
    assert airflow["podSelector"]["matchLabels"] == {"tier": "airflow"}
    assert test["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    assert prometheus["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    assert ingress["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "ingress-nginx"}


def test_a_trial_s_database_is_reached_by_mlflow_alone() -> None:
    policy = find(render(MINIMAL), "NetworkPolicy", "alambique-postgresql")["spec"]
    components = [
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in policy["ingress"][0]["from"]
    ]
    assert components == ["mlflow", "mlflow-migration"]


def test_network_policies_can_be_left_to_others() -> None:
    assert "NetworkPolicy" not in [manifest["kind"] for manifest in render(FULL, {"networkPolicy": {"enabled": False}})]
