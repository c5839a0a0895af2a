"""Give every service its user and its endpoints; run again, it changes only what differs."""

import json
import sys

from keystoneauth1 import session
from keystoneauth1.identity import v3

with open(sys.argv[1]) as source:
    wanted = json.load(source)
keystone = session.Session(auth=v3.Password(**wanted["auth"]))
base = wanted["auth"]["auth_url"]


def call(method, path, **body):
    answer = keystone.request(base + path, method, json=body or None, authenticated=True)
    return answer.json() if answer.content else {}


def find(kind, **filters):
    query = "&".join(f"{key}={value}" for key, value in filters.items())
    return call("GET", f"/{kind}s?{query}")[f"{kind}s"]


def ensure(kind, found, **fields):
    if found:
        return found[0]["id"]
    return call("POST", f"/{kind}s", **{kind: fields})[kind]["id"]


project = ensure("project", find("project", name="service"), name="service", domain_id="default")
roles = {role["name"]: role["id"] for role in find("role")}
roles["service"] = roles.get("service") or ensure("role", [], name="service")
for user in wanted["users"]:
    found = find("user", name=user["name"])
    id = ensure("user", found, name=user["name"], password=user["password"], domain_id="default")
    if found:
        call("PATCH", f"/users/{id}", user={"password": user["password"]})
    for role in ("admin", "service"):
        call("PUT", f"/projects/{project}/users/{id}/roles/{roles[role]}")
    print(f"user {user['name']}", flush=True)
for entry in wanted["endpoints"]:
    service = ensure(
        "service", find("service", type=entry["type"]), type=entry["type"], name=entry["name"]
    )
    present = {endpoint["interface"]: endpoint for endpoint in find("endpoint", service_id=service)}
    for interface in ("public", "internal", "admin"):
        fields = {
            "service_id": service,
            "interface": interface,
            "url": entry["url"],
            "region_id": wanted["region"],
        }
        if interface not in present:
            call("POST", "/endpoints", endpoint=fields)
        elif present[interface]["url"] != entry["url"]:
            call("PATCH", f"/endpoints/{present[interface]['id']}", endpoint={"url": entry["url"]})
    print(f"endpoint {entry['type']} {entry['url']}", flush=True)
