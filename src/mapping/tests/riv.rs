//! RIV-TA messages: XML in by a shape, through a table, and out as XML again.

use super::*;
use crate::domain::{Format, Kind};
use crate::fhir::issue::Severity;

const SHAPE: &str = "ns r urn:riv:r\nns c urn:riv:c\nr:Send\n  c:request\n    id @extension @root\n    version\n    kind @code\n    patient\n      personId @extension @root\n      telecom[]\n        number\n    size\n    at\n    items[]\n      code @code @codeSystem\n    info!\n      text\n";

const TABLE: &str = r#"
document = "referral"
format = "riv"
shape = "x"
[envelope]
id = "request.id.extension"
version = "request.version"
[[resource]]
name = "request"
type = "ServiceRequest"
each = "request"
need = true
row = [
  { source = "id.extension", fhir = "identifier[doc-id]", need = true },
  { source = "version",      fhir = "extension[text-ext].valuePositiveInt", via = "integer" },
  { source = "at",           fhir = "authoredOn", via = "riv-time" },
  { source = "info.text",    fhir = "note.text" },
  {                          fhir = "subject", link = "patient" },
]
fixed = [
  { fhir = "status", const = "active" }, { fhir = "intent", const = "order" },
  { source = "kind.code", const = "4" },
]
[[resource.part]]
each = "items[]"
in   = "orderDetail[]"
row  = [
  { source = "code.code",       fhir = "coding.code" },
  { source = "code.codeSystem", fhir = "coding.system", via = "oid" },
]

[[resource]]
name = "patient"
type = "Patient"
each = "request.patient"
key  = "personId.extension"
row  = [
  { source = "personId",          fhir = "identifier[person]", via = "person-id", need = true },
  { source = "telecom[].number",  fhir = "telecom[].value" },
]
fixed = [ { fhir = "telecom[].system", const = "phone" } ]
"#;

fn load() -> Mappings {
    load_with(TABLE, &[("shapes/x.shape", SHAPE)])
}

fn message(inside: &str) -> String {
    format!("<Send xmlns=\"urn:riv:r\" xmlns:c=\"urn:riv:c\"><c:request>{inside}</c:request></Send>")
}

const FULL: &str = "<c:id extension=\"SE1#1\"/><c:version>2</c:version><c:kind code=\"4\"/><c:patient><c:personId extension=\"195009072553\" root=\"1.2.752.129.2.1.3.1\"/><c:telecom><c:number>1</c:number></c:telecom><c:telecom><c:number>2</c:number></c:telecom></c:patient><c:at>20260301120000</c:at><c:items><c:code code=\"DV133\" codeSystem=\"1.2.752.116.1.3.2.1.4\"/></c:items>";

#[test]
fn a_message_goes_through_and_comes_back_as_it_was() {
    let mappings = load();
    let source = mappings.parse(Kind::Referral, Format::Riv, message(FULL).as_bytes()).unwrap();
    assert_eq!(lines(&source.issues), "");
    assert_eq!(source.tree["request"]["items"][0]["code"]["code"], "DV133");
    let chosen = mappings.choose(Kind::Referral, Format::Riv, &source.tree).unwrap();
    let envelope = chosen.envelope(&source.tree);
    assert_eq!((envelope.id.as_str(), envelope.version), ("SE1#1", Some(2)));
    let resources = both(&mappings, &source.tree);
    assert_eq!(resources[0]["orderDetail"][0]["coding"][0]["system"], "urn:oid:1.2.752.116.1.3.2.1.4");
    assert_eq!(resources[0]["extension"][0]["valuePositiveInt"], json!(2));
    assert_eq!(resources[1]["telecom"][1], json!({ "system": "phone", "value": "2" }));
    let (tree, _) = back(&mappings, &resources);
    let xml = String::from_utf8(mappings.write(chosen, &tree)).unwrap();
    let expected =
        format!("<r:Send xmlns:r=\"urn:riv:r\" xmlns:c=\"urn:riv:c\"><c:request>{FULL}<c:info/></c:request></r:Send>");
    assert_eq!(xml.lines().nth(1), Some(expected.as_str()));
}

#[test]
fn what_is_normalised_is_told() {
    let mappings = load();
    let text = FULL.replace(">2<", ">02<").replace("20260301120000", "202610250230");
    let tree = mappings.read(Kind::Referral, Format::Riv, message(&text).as_bytes()).unwrap();
    let (_, said) = out(&mappings, &tree);
    assert_eq!(
        said,
        "request.version: Comes back as 2.\n\
         request.at: The time occurs twice in the night when winter time begins; the earlier one was taken.\n\
         request.at: Comes back as 20261025023000."
    );
}

#[test]
fn a_constant_of_the_source_is_checked() {
    let mappings = load();
    let tree = mappings.read(Kind::Referral, Format::Riv, message(&FULL.replace("\"4\"", "\"5\"")).as_bytes()).unwrap();
    assert_eq!(out(&mappings, &tree).1, "request.kind.code: The value should be \"4\".");
    let without = FULL.replace("<c:kind code=\"4\"/>", "");
    let tree = mappings.read(Kind::Referral, Format::Riv, message(&without).as_bytes()).unwrap();
    assert_eq!(out(&mappings, &tree).1, "request.kind.code: Comes back as \"4\".");
}

#[test]
fn a_constant_beside_a_row_comes_back_only_where_the_row_wrote() {
    let table = TABLE
        .replace("  { source = \"kind.code\", const = \"4\" },\n", "  { source = \"id.root\", const = \"1.2.3\" },\n");
    let table = table.replace(
        "{ source = \"id.extension\", fhir = \"identifier[doc-id]\", need = true }",
        "{ source = \"id.extension\", fhir = \"identifier[doc-id]\" }",
    );
    let mappings = load_with(&table, &[("shapes/x.shape", SHAPE)]);
    let read = |text: &str| {
        let text = text.replace("<c:kind code=\"4\"/>", "");
        mappings.read(Kind::Referral, Format::Riv, message(&text).as_bytes()).unwrap()
    };
    both(&mappings, &read(&FULL.replace("extension=\"SE1#1\"", "extension=\"SE1#1\" root=\"1.2.3\"")));
    both(&mappings, &read(&FULL.replace("<c:id extension=\"SE1#1\"/>", "")));
    let alone = read(&FULL.replace("extension=\"SE1#1\"", "root=\"1.2.3\""));
    assert_eq!(out(&mappings, &alone).1, "request.id.root: no row reads this field");
    assert_eq!(out(&mappings, &read(FULL)).1, "request.id.root: Comes back as \"1.2.3\".");
}

#[test]
fn a_constant_of_a_part_comes_back_only_where_the_part_did() {
    let part = "[[resource.part]]\neach = \"kind\"\nrow = [ { source = \"code\", fhir = \"instantiatesUri\" } ]\nfixed = [ { source = \"#text\", const = \"K\" } ]\n";
    let table = TABLE.replace("  { source = \"kind.code\", const = \"4\" },\n", "");
    let table = table.replace("[[resource]]\nname = \"patient\"", &format!("{part}\n[[resource]]\nname = \"patient\""));
    let mappings = load_with(&table, &[("shapes/x.shape", SHAPE)]);
    let read = |kind: &str| {
        let text = FULL.replace("<c:kind code=\"4\"/>", kind);
        mappings.read(Kind::Referral, Format::Riv, message(&text).as_bytes()).unwrap()
    };
    both(&mappings, &read("<c:kind code=\"4\">K</c:kind>"));
    both(&mappings, &read(""));
}

#[test]
fn strangers_are_kept_for_the_ledger() {
    let mappings = load();
    let text = format!("{FULL}<o:more xmlns:o=\"urn:o\"><o:x>1</o:x></o:more>");
    let tree = mappings.read(Kind::Referral, Format::Riv, message(&text).as_bytes()).unwrap();
    assert_eq!(out(&mappings, &tree).1, "request.more.x: no row reads this field");
}

#[test]
fn a_message_that_cannot_be_read_is_refused_with_a_finding() {
    let mappings = load();
    let issues = mappings.read(Kind::Referral, Format::Riv, b"<a/>").unwrap_err();
    assert_eq!((issues.len(), issues[0].severity), (1, Severity::Fatal));
    assert!(mappings.read(Kind::Activity, Format::Riv, message(FULL).as_bytes()).is_err());
    let issues = mappings.read(Kind::Referral, Format::Json, b"{\"a\": }").unwrap_err();
    assert_eq!(issues[0].en, "The JSON cannot be read, line 1, column 7.");
}

#[test]
fn rows_are_held_against_the_shape() {
    for (from, to, words) in [
        ("\"at\"", "\"ta\"", "The element request has no field ta. Did you mean \u{201c}at\u{201d}?"),
        ("\"telecom[].number\"", "\"telecom.number\"", "do not have the same number of []"),
        ("\"info.text\"", "\"info[].text\"", "The element info does not repeat in the format; remove []."),
        (", via = \"integer\"", "", "is a whole number in JSON but XML has only texts; use via."),
        ("const = \"4\"", "const = 4", "XML has only texts; write \"4\"."),
        ("\"at\"", "\"kind\"", "The field has fields of its own and is not a value"),
        ("\"id.extension\", fhir", "\"id.extension.x\", fhir", "extension is an attribute and has no fields."),
    ] {
        let (mappings, issues) = Mappings::load(&files(&TABLE.replace(from, to), &[("shapes/x.shape", SHAPE)]));
        let said = lines(&issues);
        assert!(said.contains(words), "{to}\n{said}");
        assert_eq!(mappings.tables().count(), 0);
    }
}

#[test]
fn an_only_element_of_a_repeating_one_is_written_as_a_list() {
    let table =
        TABLE.replace("\"telecom[].number\"", "\"telecom.number\"").replace("\"telecom[].value\"", "\"telecom.value\"");
    let mappings = load_with(&table.replace("telecom[].system", "telecom.system"), &[("shapes/x.shape", SHAPE)]);
    let one = FULL.replace("<c:telecom><c:number>2</c:number></c:telecom>", "");
    let tree = mappings.read(Kind::Referral, Format::Riv, message(&one).as_bytes()).unwrap();
    assert_eq!(tree["request"]["patient"]["telecom"], json!([{ "number": "1" }]));
    both(&mappings, &tree);
}
