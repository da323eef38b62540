//! What people and other systems read of an answer: Swedish sentences, JSON, a CarePlan; and what is read of FHIR.

use serde_json::{Value, json};

use super::{ID, day, files, load, told};
use crate::rules::explain::because;
use crate::rules::{care_plan, judge, of_resources, shown};

fn said(area: &str, body: Value) -> String {
    let (sets, _) = load(&files());
    told(&sets, area, body, |finding| because(finding, &sets.inputs).unwrap())
}

#[test]
fn a_nurse_reads_who_and_why() {
    let primary =
        said("fatigue", json!({ "needs": { "fatigue": "basic" }, "criteria": { "fatigueLimitsDailyLife": true } }));
    assert_eq!(
        primary,
        "Primärvård, därför att patienten upplever begränsningar i vardagen på grund av fatigue (FAT-P1: ”Utredning när \
         patienter upplever begränsningar i vardagen på grund av fatigue”). Kan erbjudas: behandling, och vid behov hembesök."
    );
    let alcohol = said("alcohol", json!({ "needs": { "alcohol": "special" } }));
    assert_eq!(
        alcohol,
        "Regleras inte här utan i RMR Sjukdomsförebyggande åtgärder vid riskbruk av alkohol (ALC-R1: ”Hänvisning till RMR \
         Sjukdomsförebyggande åtgärder vid riskbruk av alkohol”)."
    );
    let criteria =
        json!({ "skeletalMetastases": true, "needsPhysiotherapySupport": true, "livesFarFromHospital": true });
    let conflict =
        said("physical-activity", json!({ "needs": { "physical-activity": "basic" }, "criteria": criteria }));
    assert!(
        conflict.starts_with(
            "Motstridigt, en människa får avgöra: för specialistvård talar att patienten har skelettmetastaser (PA-S2"
        ),
        "{conflict}"
    );
    assert!(conflict.contains(". Men för primärvård talar att patienten behöver stöd"), "{conflict}");
    assert!(
        conflict.contains("gruppträning, 12 veckor") && conflict.ends_with("Yrkesgrupper: fysioterapeut."),
        "{conflict}"
    );
    let unknown = said("fatigue", json!({ "criteria": { "fatigueLimitsDailyLife": true } }));
    assert!(unknown.starts_with("Kan inte avgöras ännu. Besked saknas: hur stort behovet är inom fatigue. Det som är känt talar för primärvård: "), "{unknown}");
    let relapse = json!({ "needs": { "psychosocial": "basic" }, "treatment": { "phase": "after", "end": "2024-01-01", "intent": "curative" },
        "criteria": { "earlierPsychiatricProblemsResurface": true } });
    assert!(
        said("psychosocial", relapse).starts_with("Tidigare vårdgivare (psykiatri), därför att tidigare psykiatrisk")
    );
    assert_eq!(said("fatigue", json!({ "needs": { "fatigue": "none" } })), "Inget behov är bedömt.");
    let end = json!({ "needs": { "psychosocial": "basic" }, "treatment": { "phase": "after", "end": "2025-03-02", "intent": "curative" },
        "criteria": { "earlierPsychiatricProblemsResurface": false, "mutualAgreement": false } });
    assert!(
        said("psychosocial", end)
            .starts_with("Gemensamt ansvar för specialistvård och primärvård, därför att det i dag är ett år")
    );
}

#[test]
fn an_answer_carries_the_rules_with_their_words_and_place() {
    let (sets, _) = load(&files());
    let body = json!({ "needs": { "tobacco": "basic" }, "levelOfCare": "specialist", "criteria": { "canBeTransferredToPrimaryCare": true } });
    let assessment = sets.inputs.check(body.as_object().unwrap(), day("2026-03-02")).unwrap();
    let judged = judge(sets.by_id(ID).unwrap(), &assessment, &[]);
    let answer = shown(&judged, &sets.inputs, &assessment);
    let area = &answer["areas"][0];
    assert_eq!((area["area"].as_str(), area["responsible"].as_str()), (Some("tobacco"), Some("specialist")));
    assert_eq!(area["fired"][0]["id"], "TOB-2");
    assert_eq!(area["fired"][0]["strength"], "must");
    assert!(area["fired"][0]["quote"].as_str().unwrap().contains("ska tobaksavvänjning vid behov erbjudas där"));
    assert_eq!(area["fired"][0]["source"], "HS9766-305841775-381 version 3.0, rad 390–392");
    assert_eq!((area["setAside"][0]["id"].as_str(), &area["setAside"][0]["by"]), (Some("TOB-1"), &json!(["TOB-2"])));
    assert_eq!(answer["ruleSet"]["version"], "3.0");
    assert_eq!(answer["topics"][0]["duties"][0]["id"], "TRF-1", "a transfer is spoken of where one is thought of");
    assert_eq!(answer["topics"].as_array().unwrap().len(), 1);
}

#[test]
fn a_care_plan_has_an_activity_for_each_area() {
    let (sets, _) = load(&files());
    let body = json!({ "needs": { "physical-activity": "basic", "alcohol": "basic" },
        "criteria": { "skeletalMetastases": true, "needsPhysiotherapySupport": false }, "treatment": { "intent": "curative" } });
    let assessment = sets.inputs.check(body.as_object().unwrap(), day("2026-03-02")).unwrap();
    let judged = judge(sets.by_id(ID).unwrap(), &assessment, &[]);
    let plan = care_plan(&judged, &sets.inputs, &assessment, json!({ "display": "x" }));
    assert_eq!(
        plan["instantiatesCanonical"][0],
        "https://vardkedja.example/fhir/PlanDefinition/vgr-cancerrehabilitering|3.0"
    );
    let detail = &plan["activity"][0]["detail"];
    assert_eq!(detail["extension"][0]["valueCode"], "specialist");
    assert_eq!(detail["extension"][1]["valueCode"], "specialist");
    assert_eq!(
        detail["instantiatesUri"][0],
        "https://vardkedja.example/fhir/PlanDefinition/vgr-cancerrehabilitering#PA-S2"
    );
    assert_eq!(
        detail["reasonCode"][1]["text"],
        "PA-S2: ”har skelettmetastaser” (HS9766-305841775-381 version 3.0, rad 105)"
    );
    assert_eq!(plan["activity"][1]["detail"]["extension"][0]["valueCode"], "not-regulated");
}

fn observation(kind: &str, value: Value) -> Value {
    let base = "https://vardkedja.example/fhir/CodeSystem";
    let mut observation = json!({ "resourceType": "Observation", "status": "final",
        "code": { "coding": [{ "system": format!("{base}/assessment-input"), "code": kind }] } });
    for (name, value) in value.as_object().unwrap() {
        observation[name] = value.clone();
    }
    observation
}

#[test]
fn what_observations_say_becomes_an_assessment() {
    let (sets, _) = load(&files());
    let example = |name: &str| serde_json::from_str::<Value>(&files()[&format!("examples/{name}.good.json")]).unwrap();
    let mut resources = vec![example("treatment-intent"), example("needs-assessment")];
    resources.push(observation(
        "criteria.skeletalMetastases",
        json!({ "valueBoolean": true, "effectiveDateTime": "2026-01-01" }),
    ));
    resources.push(observation(
        "criteria.skeletalMetastases",
        json!({ "valueBoolean": false, "effectiveDateTime": "2026-02-01" }),
    ));
    resources.push(observation("cfs", json!({ "valueInteger": 4 })));
    resources
        .push(observation("levelOfCare", json!({ "valueCodeableConcept": { "coding": [{ "code": "primary" }] } })));
    resources
        .push(observation("criteria.cancerSurgery", json!({ "valueBoolean": true, "status": "entered-in-error" })));
    resources.push(observation("criteria.noSuch", json!({ "valueBoolean": true })));
    let said = of_resources(&resources, &sets.inputs).unwrap();
    assert_eq!(
        Value::Object(said),
        json!({ "cfs": 4, "criteria": { "skeletalMetastases": false }, "levelOfCare": "primary",
                "needs": { "fatigue": "advanced", "nutrition": "none" },
                "treatment": { "end": "2026-01-30", "intent": "curative", "phase": "after" } })
    );
    // Hälsoskattning alone, as a partner's system may have it, and frailty as a plan carries it.
    let mut answered = example("halsoskattning");
    answered["item"][1]["linkId"] = json!("no-such-area");
    let said = of_resources(&[answered.clone(), example("frailty")], &sets.inputs).unwrap();
    assert_eq!(Value::Object(said), json!({ "cfs": 4, "needs": { "fatigue": "advanced" } }));
    answered["authored"] = json!("2026-06-01");
    answered["item"][0]["answer"][0]["valueCoding"]["code"] = json!("basic");
    let said = of_resources(&[example("needs-assessment"), answered.clone()], &sets.inputs).unwrap();
    assert_eq!(said["needs"]["fatigue"], "basic", "the newest counts");
    answered["questionnaire"] = json!("https://example.org/Questionnaire/other");
    assert!(of_resources(&[answered], &sets.inputs).unwrap().is_empty());
    let differing =
        [observation("cfs", json!({ "valueInteger": 4 })), observation("cfs", json!({ "valueInteger": 5 }))];
    assert!(super::lines(&of_resources(&differing, &sets.inputs).unwrap_err()).contains("none is newer"));
}
