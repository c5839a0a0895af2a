"""What heat needs of keystone beyond a user and an endpoint; run again, it changes what differs.

The domain is for the users that stacks make, its administrator for heat, which makes them. Who has
the role heat_stack_owner may have stacks of their own; heat_stack_user is what those users get.
"""

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
    print(f"{kind} {fields.get('name', '')}", flush=True)
    return call("POST", f"/{kind}s", **{kind: fields})[kind]["id"]


roles = {
    name: ensure("role", find("role", name=name), name=name)
    for name in ("admin", "heat_stack_owner", "heat_stack_user")
}
about = "Users that stacks make"
domain = wanted["domain"]
domain = ensure("domain", find("domain", name=domain), name=domain, description=about)
admin = wanted["domain_admin"]
found = find("user", name=admin["name"], domain_id=domain)
id = ensure("user", found, domain_id=domain, **admin)
if found:
    call("PATCH", f"/users/{id}", user={"password": admin["password"]})
call("PUT", f"/domains/{domain}/users/{id}/roles/{roles['admin']}")

owner = find("user", name=wanted["auth"]["username"], domain_id="default")[0]["id"]
project = find("project", name=wanted["auth"]["project_name"], domain_id="default")[0]["id"]
call("PUT", f"/projects/{project}/users/{owner}/roles/{roles['heat_stack_owner']}")

entry = wanted["endpoint"]
found = find("service", type=entry["type"])
service = ensure("service", found, type=entry["type"], name=entry["name"])
present = {endpoint["interface"]: endpoint for endpoint in find("endpoint", service_id=service)}
for interface in ("public", "internal", "admin"):
    if interface not in present:
        fields = {
            "service_id": service,
            "interface": interface,
            "url": entry["url"],
            "region_id": wanted["region"],
        }
        call("POST", "/endpoints", endpoint=fields)
    elif present[interface]["url"] != entry["url"]:
        call("PATCH", f"/endpoints/{present[interface]['id']}", endpoint={"url": entry["url"]})
print(f"endpoint {entry['type']} {entry['url']}", flush=True)
