// Pages through a search with fhir-kit-client: prints how many distinct resources came.
const [, , clientModule, base, unit, resourceType, count] = process.argv;
const { Client } = await import(clientModule);

const client = new Client({ baseUrl: base, customHeaders: { 'Vardkedja-Unit': unit } });
await client.capabilityStatement();
const found = new Set();
let page = await client.search({ resourceType, searchParams: { _count: count } });
while (page) {
  for (const entry of page.entry ?? []) {
    if (found.has(entry.resource.id)) throw new Error('a resource came twice');
    found.add(entry.resource.id);
  }
  page = page.link.some((link) => link.relation === 'next') ? await client.nextPage({ bundle: page }) : null;
}
const [first] = found;
const read = await client.read({ resourceType, id: first });
if (read.id !== first) throw new Error('another resource was read');
console.log(found.size);
