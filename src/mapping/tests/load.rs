//! What a table is told when it is loaded: every finding with file, block and row.

use super::*;
use crate::domain::{Format, Kind};

/// Loads a table that must be refused; the findings as `origin: text`.
fn refused(table: &str) -> String {
    refused_with(table, &[])
}

fn refused_with(table: &str, more: &[(&str, &str)]) -> String {
    let (mappings, issues) = Mappings::load(&files(table, more));
    let said: Vec<String> =
        issues.iter().map(|i| format!("{}: {}", i.origin.as_deref().unwrap_or("?"), i.en)).collect();
    assert_eq!(mappings.tables().count(), 0, "the table was accepted");
    said.join("\n")
}

/// A CareTeam with these rows.
fn team(rows: &str) -> String {
    format!(
        "[[resource]]\nname = \"team\"\ntype = \"CareTeam\"\nrow = [\n  {{ source = \"id\", fhir = \"identifier[doc-id]\" }},\n  {rows}\n]\n"
    )
}

/// One wrong row, and the words that its finding must have.
fn wrong_row(row: &str, words: &str) {
    let said = refused(&team(row));
    assert!(said.contains(words), "{row}\n{said}");
    assert!(said.contains("t.json.toml [team]"), "{said}");
}

#[test]
fn wrong_rows_are_told_what_is_wrong_and_what_was_meant() {
    wrong_row(r#"{ source = "a", fhir = "nmae" }"#, "CareTeam has no element nmae. Did you mean \u{201c}name\u{201d}?");
    wrong_row(
        r#"{ source = "a", fhir = "identifier[doc-di].value" }"#,
        "The name [doc-di] is not known. Did you mean \u{201c}doc-id\u{201d}?",
    );
    wrong_row(
        r#"{ source = "a", fhir = "name", via = "integr" }"#,
        "no converter or code map integr. Did you mean \u{201c}integer\u{201d}?",
    );
    wrong_row(r#"{ fhir = "subject", link = "taem" }"#, "no block taem. Did you mean \u{201c}team\u{201d}?");
    wrong_row(r#"{ fhir = "subject", link = "team" }"#, "may not point at CareTeam; R4 allows Patient, Group");
    wrong_row(r#"{ source = "a", fhir = "name[]" }"#, "name is not a list; remove []");
    wrong_row(r#"{ source = "a[]", fhir = "name" }"#, "do not have the same number of []");
    wrong_row(r#"{ source = "a", fhir = "note[].text" }"#, "do not have the same number of []");
    wrong_row(
        r#"{ source = "a", fhir = "reasonCode" }"#,
        "ends at CodeableConcept, which is not a value; go on to one of: extension, coding, text",
    );
    wrong_row(
        r#"{ source = "a", fhir = "extension[text-ext].value" }"#,
        "value has several types; write which: valueBase64Binary",
    );
    wrong_row(r#"{ source = "a", fhir = "extension[text-ext]" }"#, "ends at Extension, which is not a value");
    wrong_row(r#"{ source = "a", fhir = "id" }"#, "the gateway's to set");
    wrong_row(r#"{ source = "a", fhir = "name", via = "personnummer" }"#, "makes Identifier, but this is string");
    wrong_row(
        r#"{ source = "a", fhir = "name", via = "integer" }"#,
        "makes integer, positiveInt, unsignedInt, but this is string",
    );
    wrong_row(
        r#"{ source = "a", fhir = "telecom[hsa].value" }"#,
        "cannot pick a ContactPoint; write the name as { at, is }",
    );
    wrong_row(r#"{ source = "a..b", fhir = "name" }"#, "The path cannot be read");
    wrong_row(r#"{ source = "a[phone]", fhir = "name" }"#, "belongs on the FHIR side");
    wrong_row(
        r#"{ source = "a", fhir = "name", nede = true }"#,
        "The key nede is not known here. Did you mean \u{201c}need\u{201d}?",
    );
    wrong_row(r#"{ source = "a", fhir = "name", only = "in" }"#, "only should be \"out\" or \"back\"");
    wrong_row(r#"{ source = "a" }"#, "row should be `fhir` with `source` or `link`");
    wrong_row(r#"{ source = "a", fhir = "name", const = "x" }"#, "in `fixed`, apart from the data");
    wrong_row(
        r#"{ source = "a", fhir = "name", when = { b = 1.5 } }"#,
        "when should be a text, a whole number or true/false",
    );
}

#[test]
fn a_finding_names_file_block_and_row() {
    let said = refused(&team(r#"{ source = "a", fhir = "name" }, { source = "b", fhir = "nmae" }"#));
    assert_eq!(said, "t.json.toml [team] row 3: CareTeam has no element nmae. Did you mean \u{201c}name\u{201d}?");
}

#[test]
fn all_findings_are_told_at_once() {
    let said = refused(&team(
        r#"{ source = "a", fhir = "nmae" }, { source = "b", fhir = "x", via = "y" }, { fhir = "subject", link = "z" }"#,
    ));
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn lists_are_reached_in_one_way() {
    for (rows, words) in [
        (
            r#"{ source = "a", fhir = "note.text" }, { source = "b[]", fhir = "note[].time" }"#,
            "CareTeam.note stands with [] in one row and without in another: t.json.toml [team] row 2 and t.json.toml [team] row 3",
        ),
        (
            r#"{ source = "a", fhir = "telecom[phone].value" }, { source = "b", fhir = "telecom.rank" }"#,
            "CareTeam.telecom is picked by a name in one row and not in another",
        ),
        (
            r#"{ source = "a", fhir = "telecom[phone].value" }, { source = "b[]", fhir = "telecom[each phone].rank" }"#,
            "is picked with each in one row and without",
        ),
        (
            r#"{ source = "a", fhir = "category[kva]" }, { source = "b", fhir = "category.coding.display" }"#,
            "CareTeam.category is picked by a name in one row and not in another",
        ),
        (
            r#"{ source = "a[].b", fhir = "note[].text" }, { source = "a", fhir = "name" }"#,
            "a stands with [] in one row and without in another",
        ),
        (
            r#"{ source = "a[].b", fhir = "note[].text" }, { source = "c[].d", fhir = "note[].time" }, { source = "a[].e", fhir = "reasonCode[].text" }"#,
            "The list a[] already belongs with another FHIR list",
        ),
    ] {
        let said = refused(&team(rows));
        assert!(said.contains(words), "{rows}\n{said}");
    }
    let table =
        team(r#"{ source = "a", fhir = "telecom[phone].value" }, { source = "b", fhir = "telecom[tel].rank" }"#);
    let said = refused(&format!("{HEADER}[alias]\ntel = {{ at = \"system\", is = [\"fax\", \"phone\"] }}\n{table}"));
    assert!(said.contains("picked by two names that can both fit"), "{said}");
}

#[test]
fn every_field_has_one_row_that_is_read_back() {
    let said = refused(&team(r#"{ source = "a", fhir = "name" }, { source = "a", fhir = "note.text" }"#));
    assert!(said.contains("row 3: Two rows read the field back, also t.json.toml [team] row 2"), "{said}");
    let said = refused(&team(r#"{ source = "a", fhir = "name", only = "out" }"#));
    assert!(said.contains("row 2: The row is a copy (only = \"out\"), but no row reads the field back."), "{said}");
    load(&team(r#"{ source = "a", fhir = "name" }, { source = "a", fhir = "note.text", only = "out" }"#));
    load(&team(
        r#"{ when = { x = 1 }, source = "a", fhir = "name" }, { when = { x = 2 }, source = "a", fhir = "note.text" }"#,
    ));
}

#[test]
fn a_field_is_a_value_or_has_fields() {
    let said = refused(&team(r#"{ source = "a", fhir = "name" }, { source = "a.b", fhir = "note.text" }"#));
    assert!(
        said.contains("row 2: The field has fields of its own and is not a value; go on to one of them."),
        "{said}"
    );
    let patient = |row: &str| {
        format!(
            "[[resource]]\nname = \"p\"\ntype = \"Patient\"\nkey = \"personId.extension\"\nrow = [ {{ source = \"personId\", fhir = \"identifier[person]\", via = \"person-id\" }}, {row} ]\n"
        )
    };
    load(&patient(r#"{ source = "personId.extension", fhir = "name.text", only = "out" }"#));
    let said = refused(&patient(r#"{ source = "personId.extension", fhir = "name.text" }"#));
    assert!(said.contains("row 2: Two rows read the field back, also t.json.toml [p] row 1"), "{said}");
}

#[test]
fn branches_must_be_told_apart() {
    for rows in [
        r#"{ when = { x = 1 }, source = "a", fhir = "name" }, { when = { x = 2 }, source = "b", fhir = "name" }"#,
        r#"{ source = "a", fhir = "name" }, { source = "b", fhir = "name" }"#,
        r#"{ when = { x = 1 }, fhir = "encounter", link = "e" }, { when = { x = 2 }, fhir = "encounter", link = "e" }"#,
    ] {
        let encounter = "[[resource]]\nname = \"e\"\ntype = \"Encounter\"\neach = \"e\"\nrow = [ { source = \"s\", fhir = \"status\" }, { source = \"c\", fhir = \"class.code\" } ]\n";
        let said = refused(&format!("{}{encounter}", team(rows)));
        assert!(said.contains("row 3: The row writes the same element as t.json.toml [team] row 2"), "{rows}\n{said}");
    }
    let fixed = |a: &str, b: &str| {
        format!(
            "{}fixed = [ {{ when = {{ x = {a} }}, fhir = \"status\", const = \"active\" }}, {{ when = {{ x = {b} }}, fhir = \"status\", const = \"inactive\" }} ]\n",
            team("")
        )
    };
    load(&fixed("true", "false"));
    assert!(refused(&fixed("true", "true")).contains("fixed 2: The row writes the same element"));
    let same = fixed("true", "false").replace("inactive", "active");
    assert!(refused(&same).contains("fixed 2: The row writes the same element"));
}

#[test]
fn what_r4_requires_must_be_written() {
    let said = refused(
        "[[resource]]\nname = \"a\"\ntype = \"CarePlan\"\nrow = [ { source = \"id\", fhir = \"identifier[doc-id]\" }, { source = \"x[]\", fhir = \"activity[].detail.description\" } ]\n",
    );
    for name in
        ["status in CarePlan,", "intent in CarePlan,", "subject in CarePlan,", "status in CarePlan.activity[].detail,"]
    {
        assert!(said.contains(&format!("R4 requires {name} but no row writes it.")), "{name}\n{said}");
    }
}

#[test]
fn constants_are_held_against_r4() {
    let with = |fixed: &str| format!("{}fixed = [ {fixed} ]\n", team(""));
    assert!(
        refused(&with(r#"{ fhir = "status", const = "actve" }"#))
            .contains("The code actve is not allowed by R4. Did you mean \u{201c}active\u{201d}?")
    );
    assert!(refused(&with(r#"{ fhir = "name", const = true }"#)).contains("This should be a text"));
    assert!(
        refused(&with(r#"{ fhir = "note[].text", const = "x" }"#))
            .contains("A constant below [] needs a row that makes")
    );
    assert!(refused(&with(r#"{ const = "x" }"#)).contains("`const` with `fhir` or `source`"));
}

#[test]
fn code_maps_are_held_against_the_element() {
    let map = codes("x", &[("a", "actve"), ("b", "inactive")]);
    let said = refused_with(&team(r#"{ source = "s", fhir = "status", via = "codes/x" }"#), &[("codes/x.json", &map)]);
    assert!(said.contains("row 2 via codes/x: The code actve is not allowed by R4."), "{said}");
    let said = refused_with(&team(r#"{ source = "s", fhir = "status", via = "codes/z" }"#), &[("codes/x.json", &map)]);
    assert!(said.contains("Did you mean \u{201c}codes/x\u{201d}?"), "{said}");
}

#[test]
fn blocks_have_keys_that_rows_know() {
    let unit = |head: &str| {
        format!(
            "{}[[resource]]\nname = \"unit\"\ntype = \"Organization\"\n{head}row = [ {{ source = \"unit\", fhir = \"identifier[hsa]\" }} ]\n",
            team(r#"{ fhir = "participant[].member", link = "unit" }"#)
        )
    };
    assert!(
        refused(&unit("each = \"units[]\"\n"))
            .contains("[unit]: A block that repeats or stands for an actor needs a key.")
    );
    assert!(
        refused(&unit("each = \"units[]\"\nkey = \"untit\"\n"))
            .contains("[unit] key: No row reads the key untit. Did you mean \u{201c}unit\u{201d}?")
    );
    load(&unit("each = \"units[]\"\nkey = \"unit\"\n"));
    let two = unit("each = \"units[]\"\nkey = \"unit\"\n").replace("unit\\\" }", "");
    assert!(
        refused(&two.replace("type = \"Organization\"", "type = \"Organisation\""))
            .contains("resource type Organisation is not known. Did you mean \u{201c}Organization\u{201d}?")
    );
    assert!(refused(&format!("{}{}", team(""), team(""))).contains("Two blocks have the same name."));
}

#[test]
fn links_to_several_need_brackets_and_links_by_key_need_one() {
    let unit = "[[resource]]\nname = \"unit\"\ntype = \"Organization\"\neach = \"units[]\"\nkey = [\"unit\", \"name\"]\nrow = [ { source = \"unit\", fhir = \"identifier[hsa]\" }, { source = \"name\", fhir = \"name\" } ]\n";
    let said = refused(&format!("{}{unit}", team(r#"{ fhir = "managingOrganization", link = "unit" }"#)));
    assert!(said.contains("There may be several unit; the path needs []."), "{said}");
    let said =
        refused(&format!("{}{unit}", team(r#"{ source = "lead", fhir = "managingOrganization", link = "unit" }"#)));
    assert!(said.contains("needs unit to have exactly one key"), "{said}");
}

#[test]
fn a_resource_needs_a_place_to_return_to() {
    let table = format!(
        "{}[[resource]]\nname = \"task\"\ntype = \"Task\"\neach = \"units[]\"\nkey = \"unit\"\nrow = [ {{ source = \"role\", fhir = \"description\" }}, {{ source = \"unit\", fhir = \"note.text\", only = \"out\" }}, {{ fhir = \"focus\", link = \"team\" }} ]\nfixed = [ {{ fhir = \"status\", const = \"requested\", only = \"out\" }}, {{ fhir = \"intent\", const = \"order\" }} ]\n",
        team(r#"{ source = "units[].unit", fhir = "note[].text" }"#)
    );
    let said = refused(&table);
    assert!(
        said.contains("units[] belongs with a list in a resource; the block needs a link from a row in that list."),
        "{said}"
    );
}

#[test]
fn headers_are_checked() {
    let block = team("");
    for (header, words) in [
        (
            "document = \"referal\"\n[envelope]\nid = \"id\"\n",
            "document should be one of rehab-plan, referral, handover, activity",
        ),
        ("format = \"json\"\n[envelope]\nid = \"id\"\n# document = \n", "document should be present in the header"),
        ("document = \"activity\"\nformat = \"xml\"\n[envelope]\nid = \"id\"\n", "format should be one of json, riv"),
        (
            "document = \"activity\"\nformat = \"riv\"\n[envelope]\nid = \"id\"\n",
            "The format riv has a shape, json none.",
        ),
        (
            "document = \"activity\"\nformat = \"riv\"\nshape = \"x\"\n[envelope]\nid = \"id\"\n",
            "There is no shape shapes/x.shape.",
        ),
        ("document = \"activity\"\n", "envelope should be a table with at least id"),
        (
            "document = \"activity\"\n[envelope]\nversion = \"v\"\n",
            "id should be present: the path of the document's id",
        ),
        (
            "document = \"activity\"\nanchor = \"taem\"\n[envelope]\nid = \"id\"\n",
            "There is no block taem. Did you mean \u{201c}team\u{201d}?",
        ),
        ("document = \"activity\"\ntitle = \"x\"\n[envelope]\nid = \"id\"\n", "The key title is not known here."),
        (
            "document = \"activity\"\n[envelope]\nid = \"id\"\n[alias]\na = 1\n",
            "a should be a system, a list or { at, is }",
        ),
        ("document = \"activity\"\n[envelope\nid = \"id\"\n", "The file cannot be read as TOML, line 2"),
    ] {
        let said = refused(&format!("{header}{block}"));
        assert!(said.contains(words), "{header}\n{said}");
    }
}

#[test]
fn a_table_with_an_error_is_left_out_and_the_others_stay() {
    let mut all = files(&team(""), &[]);
    all.insert("u.json.toml".into(), format!("{HEADER}{}", team(r#"{ source = "a", fhir = "nmae" }"#)));
    let (mappings, issues) = Mappings::load(&all);
    assert_eq!(mappings.tables().map(Table::name).collect::<Vec<_>>(), ["t.json"]);
    assert!(issues[0].origin.as_deref().unwrap().starts_with("u.json.toml"));
}

#[test]
fn shared_rows_are_included_and_their_findings_name_them() {
    let table = "[[resource]]\nname = \"team\"\ntype = \"CareTeam\"\ninclude = [\"parts/x\"]\nrow = [ { source = \"id\", fhir = \"identifier[doc-id]\" } ]\n";
    let mappings = load_with(table, &[("parts/x.toml", "row = [ { source = \"name\", fhir = \"name\" } ]")]);
    both(&mappings, &json!({ "name": "N", "id": "1" }));
    let said = refused_with(table, &[("parts/x.toml", "row = [ { source = \"name\", fhir = \"nmae\" } ]")]);
    assert!(said.starts_with("parts/x.toml in t.json.toml [team] row 1: CareTeam has no element nmae."), "{said}");
    let again = ("parts/x.toml", "include = [\"parts/x\"]\nrow = []");
    assert!(refused_with(table, &[again]).contains("include should be files that do not include each other"));
    let said = refused_with(table, &[("parts/xx.toml", "row = []")]);
    assert!(said.contains("There is no file parts/x.toml. Did you mean \u{201c}parts/xx\u{201d}?"), "{said}");
}

#[test]
fn the_version_changes_with_every_file_the_table_uses_and_no_other() {
    let table = team(r#"{ source = "s", fhir = "status", via = "codes/x" }"#);
    let version = |systems: &str, map: &str, other: &str| {
        let mut files = files(&table, &[("codes/x.json", map), ("codes/y.json", other)]);
        files.insert("parts/systems.toml".into(), format!("{SYSTEMS}{systems}"));
        let (mappings, issues) = Mappings::load(&files);
        assert_eq!(lines(&issues), "");
        super::table(&mappings).version().to_owned()
    };
    let (a, b) = (codes("x", &[("a", "active")]), codes("x", &[("b", "active")]));
    let first = version("", &a, &a);
    assert_eq!(first.len(), 64);
    assert_eq!(first, version("", &a, &b));
    assert_ne!(first, version("", &b, &a));
    assert_ne!(first, version("# more\n", &a, &a));
}

#[test]
fn the_table_is_chosen_by_its_guard_and_a_miss_lists_what_there_is() {
    let table = |kind: &str| {
        format!("document = \"handover\"\nwhen = {{ kind = \"{kind}\" }}\n[envelope]\nid = \"id\"\n{}", team(""))
    };
    let mut all = files(&table("sip"), &[]);
    all.insert("u.json.toml".into(), table("active"));
    let (mappings, issues) = Mappings::load(&all);
    assert_eq!(lines(&issues), "");
    let chosen = mappings.choose(Kind::Handover, Format::Json, &json!({ "kind": "active" })).unwrap();
    assert_eq!(chosen.name(), "u.json");
    let issue = mappings.choose(Kind::Handover, Format::Json, &json!({ "kind": "spi" })).unwrap_err();
    assert_eq!(issue.expression, "kind");
    assert_eq!(
        issue.en,
        "No table for handover fits the document. There are: t.json (kind = \"sip\"); u.json (kind = \"active\")."
    );
    let issue = mappings.choose(Kind::Referral, Format::Json, &json!({})).unwrap_err();
    assert_eq!(issue.en, "There is no table for referral in the format json.");
    let (tree, said) = back(
        &mappings,
        &chosen
            .out(&json!({ "kind": "active", "id": "1" }), &Plain)
            .resources
            .iter()
            .map(|r| r.value.clone())
            .collect::<Vec<_>>(),
    );
    assert_eq!((tree, said.as_str()), (json!({ "kind": "sip", "id": "1" }), ""));
}

#[test]
fn broken_shared_files_are_told() {
    let said = |name: &str, text: &str| lines(&Mappings::load(&files(&team(""), &[(name, text)])).1);
    assert!(said("codes/x.json", "{").contains("cannot be read as JSON"));
    assert!(said("codes/x.json", "{}").contains("should be a ConceptMap"));
    assert!(said("parts/x.toml", "row = [").contains("cannot be read as TOML, line 1"));
    assert!(said("parts/x.toml", "rwo = []").contains("The key rwo is not known in a shared file."));
    assert!(said("shapes/x.shape", "x").contains("The prefix has no line"));
}
