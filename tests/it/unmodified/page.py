"""Pages through a search with fhirpy: prints how many distinct resources came."""

import sys

from fhirpy import SyncFHIRClient

base, unit, resource_type, count = sys.argv[1:]
client = SyncFHIRClient(base, extra_headers={"Vardkedja-Unit": unit})
search = client.resources(resource_type).limit(int(count))
found = [resource.id for resource in search]
assert len(found) == len(set(found)), "a resource came twice"
# What a read gives is what the search gave.
first = client.resources(resource_type).search(_id=found[0]).get()
assert first.id == found[0]
print(len(found))
