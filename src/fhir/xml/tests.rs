//! The reader and the writer against each other, and against what R4 says.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{read, write};
use crate::fhir::guard::Limits;
use crate::fhir::issue::Issue;

fn xml(resource: &Value) -> String {
    String::from_utf8(write(resource).unwrap_or_else(|issues| panic!("{issues:#?}"))).unwrap()
}

fn back(xml: &str) -> Value {
    read(xml.as_bytes(), &Limits::RESOURCE).unwrap_or_else(|issues| panic!("{issues:#?}"))
}

/// Place, line and English text of every finding.
fn findings(xml: &str) -> Vec<String> {
    let line = |i: Issue| format!("{} {} {}", i.expression, i.origin.unwrap_or_default(), i.en);
    read(xml.as_bytes(), &Limits::RESOURCE).expect_err("it was accepted").into_iter().map(line).collect()
}

fn patient(inside: &str) -> String {
    format!("<Patient xmlns=\"http://hl7.org/fhir\">{inside}</Patient>")
}

#[test]
fn a_resource_is_written_in_the_order_of_r4_and_comes_back() {
    let resource: Value = serde_json::from_str(
        r#"{
            "resourceType": "Patient",
            "name": [{"given": ["Tolvan", null, "T"], "_given": [null, {"extension": [{"url": "urn:x", "valueBoolean": true}]}], "id": "n1", "family": "a\n\t\"<&>'b"}],
            "_birthDate": {"id": "b", "extension": [{"url": "urn:y", "extension": [{"url": "z", "valueDecimal": 1.500}, {"url": "w", "valueInteger": -0}]}]},
            "birthDate": "1912-12-12",
            "active": true,
            "contained": [{"resourceType": "Organization", "id": "o", "name": "A"}, {"resourceType": "Basic", "code": {"text": "x"}}],
            "multipleBirthInteger": 2,
            "_gender": {"extension": [{"url": "urn:g", "valueCode": "unknown"}]},
            "text": {"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"> <p>a &amp; å</p>\r\n</div>"},
            "meta": {"profile": ["urn:p"], "tag": [{"code": "t"}]},
            "id": "p1"
        }"#,
    )
    .unwrap();
    let text = xml(&resource);
    assert_eq!(
        text,
        concat!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Patient xmlns=\"http://hl7.org/fhir\"><id value=\"p1\"/>",
            "<meta><profile value=\"urn:p\"/><tag><code value=\"t\"/></tag></meta>",
            "<text><status value=\"generated\"/><div xmlns=\"http://www.w3.org/1999/xhtml\"> <p>a &amp; å</p>\r\n</div></text>",
            "<contained><Organization><id value=\"o\"/><name value=\"A\"/></Organization></contained>",
            "<contained><Basic><code><text value=\"x\"/></code></Basic></contained>",
            "<active value=\"true\"/>",
            "<name id=\"n1\"><family value=\"a&#10;&#9;&quot;&lt;&amp;&gt;'b\"/><given value=\"Tolvan\"/>",
            "<given><extension url=\"urn:x\"><valueBoolean value=\"true\"/></extension></given><given value=\"T\"/></name>",
            "<gender><extension url=\"urn:g\"><valueCode value=\"unknown\"/></extension></gender>",
            "<birthDate id=\"b\" value=\"1912-12-12\"><extension url=\"urn:y\">",
            "<extension url=\"z\"><valueDecimal value=\"1.500\"/></extension>",
            "<extension url=\"w\"><valueInteger value=\"-0\"/></extension></extension></birthDate>",
            "<multipleBirthInteger value=\"2\"/></Patient>",
        )
    );
    let mut wanted = resource;
    // Lists of companions are as long as those of values.
    wanted["name"][0]["_given"].as_array_mut().unwrap().push(Value::Null);
    assert_eq!(back(&text), wanted);
}

#[test]
fn how_xml_is_written_makes_no_difference() {
    let wanted = json!({ "resourceType": "Bundle", "type": "collection", "entry": [
        { "fullUrl": "urn:a", "resource": { "resourceType": "Patient", "name": [{ "id": "n", "text": "Å & <b> c" }] } }] });
    for text in [
        "\u{feff}<?xml version='1.0' encoding='utf-8'?>\r\n<!-- a --><?p q?>\n<Bundle xmlns='http://hl7.org/fhir' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:schemaLocation='a b'>\n <type value = 'collection'/><!-- b --><entry>\n<fullUrl value=\"urn:a\"></fullUrl><resource> <Patient><name  id='n' ><text value='&#xC5; &amp; &lt;b>\nc'/></name></Patient>\n</resource></entry></Bundle>\n<!-- c -->",
        "<f:Bundle xmlns:f='http://hl7.org/fhir'><f:type value='collection'/><f:entry><f:fullUrl value='urn:a'/><f:resource><g:Patient xmlns:g='http://hl7.org/fhir'><g:name id='n'><g:text value='Å &#38; &#60;b&gt; c'/></g:name></g:Patient></f:resource></f:entry></f:Bundle>",
        "<Bundle xmlns='http://hl7.org/fhir'><type value='collection'/><entry><fullUrl value='urn:a'/><resource><Patient xmlns='http://hl7.org/fhir'><name id='n'><text value='Å &amp; &lt;b> c'><![CDATA[ ]]></text></name></Patient></resource></entry></Bundle>",
    ] {
        assert_eq!(back(text), wanted);
    }
}

#[test]
fn the_digits_of_a_number_are_kept() {
    for number in ["0.010", "1.50", "-0", "100", "1e3", "1.0E+2", "12345678901234567890.123456789012345678"] {
        let value: Value = serde_json::from_str(&format!(
            "{{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{{\"text\":\"x\"}},\"valueQuantity\":{{\"value\":{number}}}}}"
        ))
        .unwrap();
        let text = xml(&value);
        assert_eq!(back(&text), value, "{number}");
        assert_eq!(back(&text)["valueQuantity"]["value"].to_string(), value["valueQuantity"]["value"].to_string());
    }
}

#[test]
fn everything_wrong_is_told_at_once_with_its_place_and_line() {
    let text = patient(concat!(
        "\n<active value='yes'/>",
        "\n<name><famly value='a'/><given/><family value='b'/><period start='x'/></name>",
        "\n<name><given value='a'/><family value='b'/></name>",
        "\n<gender value='male'/><gender value='male'/>",
        "\n<birthDate>1912-12-12</birthDate>",
        "\n<multipleBirthInteger value='01'/>",
        "\n<contact/><x:link xmlns:x='urn:x'/>",
        "\n<extension url=''><url value='urn:a'/></extension>",
    ));
    assert_eq!(
        findings(&text),
        [
            "Patient.active 2:1 must be true or false",
            "Patient.name[0].famly 3:7 is not an element of HumanName; did you mean family?",
            "Patient.name[0].given[0] 3:33 has no attribute value; give it one, or leave the element out",
            "Patient.name[0].family 3:33 stands in the wrong order; move it before given",
            "Patient.name[0].period.start 3:52 is no attribute that R4 has here",
            "Patient.name[0].period 3:71 is empty; leave it out",
            "Patient.name[1].family 4:25 stands in the wrong order; move it before given",
            "Patient.gender 5:23 may occur only once",
            "Patient.birthDate 6:12 has text between its tags; the value is written in the attribute value",
            "Patient.birthDate 6:22 has no attribute value; give it one, or leave the element out",
            "Patient.multipleBirthInteger 7:1 must be a whole number",
            "Patient.contact[0] 8:11 is empty; leave it out",
            "Patient.link 8:11 must be in the namespace http://hl7.org/fhir",
            "Patient.extension 9:1 stands in the wrong order; move it before contact",
            "Patient.extension[0].url 9:1 is empty; leave it out",
            "Patient.extension[0].url 9:19 is written as an attribute, not as an element",
            "Patient.extension[0] 9:39 is empty; leave it out",
        ]
    );
}

#[test]
fn what_is_no_resource_is_refused() {
    for (text, wanted) in [
        ("<Patient/>", "Patient 1:1 must be in the namespace http://hl7.org/fhir"),
        ("<Person2 xmlns='http://hl7.org/fhir'/>", "Person2 1:1 is no resource type of R4"),
        ("<HumanName xmlns='http://hl7.org/fhir'/>", "HumanName 1:1 is no resource type of R4"),
        ("<Patient xmlns='http://hl7.org/fhir' id='a'/>", "Patient.id 1:1 is no attribute that R4 has here"),
        (
            "<?xml version='1.0' encoding='iso-8859-1'?><Patient/>",
            "  FHIR XML is written in UTF-8; save the document so, and say it in its first line",
        ),
        ("<!DOCTYPE Patient SYSTEM 'x'><Patient/>", " 1:1 The document has a DOCTYPE; it is not accepted."),
        (
            "<Patient xmlns='http://hl7.org/fhir'><id value='&a;'/></Patient>",
            "Patient 1:38 The document uses an entity that is not one of XML's five.",
        ),
        ("{\"resourceType\":\"Patient\"}", " 1:1 The XML cannot be read."),
    ] {
        assert_eq!(findings(text), [wanted], "{text}");
    }
    for inside in ["", "x", "<Patient/><Patient/>", "<Patient/>x"] {
        assert_eq!(findings(&patient(&format!("<contained>{inside}</contained>"))).len(), 1, "{inside}");
    }
}

#[test]
fn a_name_that_may_be_a_person_is_not_repeated() {
    let all =
        findings(&patient("<a191212121212 value='x'/><active value='191212121212'/><id b191212121212='x' value='a'/>"))
            .join("\n");
    assert!(all.contains("(unknown name)") && !all.contains("1912"), "{all}");
}

#[test]
fn size_depth_and_findings_are_bounded() {
    let limits = Limits { bytes: 1000, depth: 6, ..Limits::RESOURCE };
    let refused = |text: &str| read(text.as_bytes(), &limits).unwrap_err()[0].en.clone();
    assert!(refused(&" ".repeat(1001)).contains("1000 are accepted"));
    let nested = |n: usize| patient(&format!("{}{}", "<extension url='a'>".repeat(n), "</extension>".repeat(n)));
    assert!(refused(&nested(3)).contains("6 levels"));
    assert!(refused(&nested(20)).contains("levels"));
    assert!(read(nested(2).replace("'a'></", "'a'><valueCode value='x'/></").as_bytes(), &limits).is_ok());
    assert!(refused(&patient(&"<a/>".repeat(200))).contains("not an element"));
    assert!(refused(&patient(&format!("<a{}/>", " x='1'".repeat(40)))).contains("attributes"));
    assert_eq!(findings(&patient(&"<a/>".repeat(1000))).len(), 100);
    assert!(findings(&"<a>".repeat(1_000_000)).len() < 3);
}

#[test]
fn what_xml_cannot_hold_is_refused_and_not_dropped() {
    for (inside, place) in [
        (json!({ "famly": "a" }), "Patient.famly"),
        (json!({ "gender": "a\u{1}" }), "Patient.gender"),
        (json!({ "gender": "" }), "Patient.gender"),
        (json!({ "gender": 1 }), "Patient.gender"),
        (json!({ "active": "true" }), "Patient.active"),
        (json!({ "multipleBirthInteger": "1" }), "Patient.multipleBirthInteger"),
        (json!({ "name": { "text": "a" } }), "Patient.name"),
        (json!({ "name": [] }), "Patient.name"),
        (json!({ "name": [{}] }), "Patient.name[0]"),
        (json!({ "name": ["a"] }), "Patient.name[0]"),
        (json!({ "name": [{ "given": [null] }] }), "Patient.name[0].given[0]"),
        (json!({ "_name": [{ "id": "a" }] }), "Patient._name"),
        (json!({ "_gender": { "id": "a" } }), "Patient.gender"),
        (json!({ "_gender": [] }), "Patient.gender"),
        (json!({ "_gender": { "value": "male" } }), "Patient.gender.value"),
        (json!({ "extension": [{ "_url": { "id": "a" }, "url": "b" }] }), "Patient.extension[0]._url"),
        (json!({ "text": { "div": "<p/>" } }), "Patient.text.div"),
        (json!({ "contained": [{ "resourceType": "Bicycle" }] }), "Patient.contained[0]"),
    ] {
        let mut resource = inside.clone();
        resource["resourceType"] = json!("Patient");
        let found: Vec<String> =
            write(&resource).expect_err("it was written").into_iter().map(|i| i.expression).collect();
        assert_eq!(found, [place], "{inside}");
    }
}

fn words() -> impl Strategy<Value = String> {
    "[ -~åäö\n\r\t\u{a0}\u{1F600}]{1,20}"
}

fn extension() -> impl Strategy<Value = Value> {
    let leaf = (words(), words()).prop_map(|(url, text)| json!({ "url": url, "valueString": text }));
    leaf.prop_recursive(3, 8, 3, |inner| {
        (words(), proptest::collection::vec(inner, 1..3))
            .prop_map(|(url, list)| json!({ "url": url, "extension": list }))
    })
}

fn generated() -> impl Strategy<Value = Value> {
    let given = proptest::collection::vec((proptest::option::of(words()), extension()), 1..4);
    (
        given,
        any::<bool>(),
        any::<i32>(),
        "-?(0|[1-9][0-9]{0,12})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?",
        words(),
        extension(),
    )
        .prop_map(|(given, active, whole, decimal, text, extension)| {
            let values: Vec<Value> = given.iter().map(|(v, _)| json!(v)).collect();
            let beside: Vec<Value> = given
                .iter()
                .map(|(v, e)| if v.is_none() || active { json!({ "extension": [e] }) } else { Value::Null })
                .collect();
            let mut name = json!({ "text": text, "period": { "extension": [extension] } });
            if values.iter().any(|v| !v.is_null()) {
                name["given"] = json!(values);
            }
            if beside.iter().any(|b| !b.is_null()) {
                name["_given"] = json!(beside);
            }
            let number: Value = serde_json::from_str(&decimal).unwrap();
            let inner = json!({ "resourceType": "Observation", "valueQuantity": { "value": number, "unit": text } });
            json!({
                "resourceType": "Patient",
                "name": [{ "id": "a" , "text": "b" }, name],
                "active": active,
                "multipleBirthInteger": whole,
                "contained": [inner],
            })
        })
}

proptest! {
    #[test]
    fn any_resource_comes_back_from_xml_as_it_was(resource in generated()) {
        prop_assert_eq!(back(&xml(&resource)), resource);
    }

    #[test]
    fn no_bytes_make_the_reader_fall_over(resource in generated(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6)) {
        let mut bytes = write(&resource).unwrap();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => bytes.truncate(at.max(1)),
                _ => { let tail = bytes[at..].to_vec(); bytes.extend(tail); }
            }
        }
        if let Ok(value) = read(&bytes, &Limits::RESOURCE) {
            // What was accepted can be written and says the same.
            prop_assert_eq!(back(&xml(&value)), value);
        }
    }

    #[test]
    fn no_tags_make_the_reader_fall_over(inside in "(<(/?)(name|given|text|div|contained|Patient|extension)( (id|url|value|xmlns)=\"[a&;<]{0,2}\")?(/?)>|a|&|<!--|-->|<!\\[CDATA\\[|\\]\\]>){0,12}") {
        let _ = read(patient(&inside).as_bytes(), &Limits::RESOURCE);
    }
}
