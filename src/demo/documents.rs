//! What the oncology clinic writes about its patient, as its systems would send it. The person is a test person.

use serde_json::{Value, json};

pub const ONCOLOGY: &str = "SE2321000131-E000000000101";
pub const NORTH: &str = "SE2321000131-E000000000202";
pub const CLOSED: &str = "SE2321000131-E000000000299";
pub const HOME_CARE: &str = "SE2120001355-E000000000501";
pub const NUMBER: &str = "191212121212";

pub const PLAN_ID: &str = "SE2321000131-E000000000101#RP-1";
pub const REQUEST_ID: &str = "SE2321000131-E000000000101#R-1";
pub const SIP_ID: &str = "SE2321000131-E000000000101#SIP-1";
pub const HANDOVER_ID: &str = "SE2321000131-E000000000101#AO-1";
pub const RIV_REQUEST_ID: &str = "SE2321000131-E000000000101#R-2";

fn patient() -> Value {
    json!({ "personnummer": NUMBER, "name": "Tolvan Tolvansson" })
}

fn nurse() -> Value {
    json!({
        "hsaId": "SE2321000131-P000000000012", "name": "Anna Alm", "profession": "contact-nurse",
        "unit": ONCOLOGY, "unitName": "Onkologimottagningen", "careProvider": "SE2321000131-E000000000001",
    })
}

/// The rehab plan; the second version adds an intervention after a new assessment.
pub fn rehab_plan(version: u32) -> Value {
    let mut plan = json!({
        "id": PLAN_ID, "version": version, "status": "active", "planType": "RP", "programme": "min-vardplan",
        "created": "2026-02-10T10:30:00+01:00", "patientTookPart": true, "approvedForPatient": true,
        "interventions": [{
            "id": "I1", "area": "physical-activity", "form": "individual", "kva": "DV133",
            "text": "Handledd träning", "level": "primary", "responsible": NORTH,
            "start": "2026-03-02", "status": "scheduled", "goals": ["M1"],
        }],
        "followUps": [{ "date": "2026-05-29" }],
        "patient": patient(),
        "author": nurse(),
        "diagnoses": [{ "code": "C50.9" }],
        "treatment": { "intent": "curative", "phase": "after", "end": "2026-01-16" },
        "assessment": {
            "instrument": "halsoskattning", "date": "2026-02-09",
            "needs": [{ "area": "physical-activity", "need": "special" }, { "area": "fatigue", "need": "basic" }],
        },
        "goals": [{ "id": "M1", "text": "Orka gå till affären och tillbaka.", "status": "active" }],
        "recipients": [NORTH],
    });
    if version > 1 {
        plan["assessment"]["needs"][1]["need"] = json!("advanced");
        let advice = json!({
            "id": "I2", "area": "fatigue", "form": "self-care-advice", "text": "Planera dagen med vila mellan aktiviteterna",
            "level": "specialist", "responsible": ONCOLOGY, "start": "2026-03-01", "status": "in-progress",
        });
        if let Some(list) = plan["interventions"].as_array_mut() {
            list.push(advice);
        }
    }
    plan
}

/// The referral to primary care.
pub fn referral(id: &str, recipient: &str) -> Value {
    json!({
        "id": id, "version": 1, "status": "active", "authoredOn": "2026-03-02T08:15:00+01:00", "urgency": "routine",
        "careResponsibilityRemains": false, "scope": "whole", "areas": ["physical-activity"],
        "question": "Önskar fortsatt handledd träning i primärvården.",
        "clinicalInformation": "Opererad för bröstcancer i november 2025, strålbehandling avslutad i januari 2026.",
        "planId": PLAN_ID, "reasonForVersion": "NR",
        "recipient": { "unit": recipient, "professions": ["physiotherapist"] },
        "patient": patient(), "requester": nurse(), "conditions": [{ "code": "C50.9" }],
        "desiredActivities": [{ "kva": "DV133" }],
        "consultation": {
            "patient": { "at": "2026-02-27T10:00:00+01:00", "medium": "face-to-face" },
            "primaryCare": {
                "at": "2026-02-27T13:30:00+01:00", "medium": "phone", "profession": "physiotherapist", "unit": NORTH,
            },
        },
    })
}

/// The coordinated individual plan with primary care and the municipality.
pub fn sip() -> Value {
    json!({
        "kind": "sip", "id": SIP_ID, "version": 1, "status": "active", "basis": "statutory",
        "created": "2026-03-09T11:30:00+01:00", "planId": PLAN_ID, "patientTookPart": true,
        "interventions": [
            { "id": "S1", "area": "physical-activity", "kva": "DV133", "text": "Träning med fysioterapeut",
              "start": "2026-03-16", "status": "scheduled", "responsible": NORTH },
            { "id": "S2", "text": "Hemtjänst med stöd vid promenad", "status": "in-progress", "responsible": HOME_CARE },
        ],
        "patient": patient(),
        "author": { "hsaId": "SE2321000131-P000000000012", "name": "Anna Alm", "profession": "contact-nurse", "unit": ONCOLOGY },
        "consent": { "decision": "given", "at": "2026-03-02T09:00:00+01:00", "for": "SIP med vårdcentralen och kommunen", "by": "patient" },
        "overallResponsibility": NORTH,
        "participants": [
            { "unit": NORTH, "unitName": "Vårdcentralen Norr", "principal": "2321000131", "role": "fast vårdkontakt" },
            { "unit": HOME_CARE, "unitName": "Hemsjukvården", "principal": "2120001355" },
            { "unit": ONCOLOGY, "unitName": "Onkologimottagningen", "principal": "2321000131", "role": "sammankallande" },
        ],
        "meeting": { "status": "held", "start": "2026-03-09T10:00:00+01:00", "end": "2026-03-09T11:00:00+01:00", "place": "Vårdcentralen Norr" },
        "followUp": { "date": "2026-06-15", "responsible": NORTH },
    })
}

/// The same without what the law asks for.
pub fn sip_without_consent() -> Value {
    let mut sip = sip();
    sip["id"] = json!("SE2321000131-E000000000101#SIP-2");
    if let Some(object) = sip.as_object_mut() {
        object.shift_remove("consent");
    }
    sip
}

/// The active handover of fatigue, told as SBAR, after an oral contact.
pub fn handover() -> Value {
    json!({
        "kind": "active", "id": HANDOVER_ID, "version": 1, "status": "active",
        "authoredOn": "2026-03-06T16:10:00+01:00", "areas": ["fatigue"],
        "sbar": {
            "situation": "Fatigue som hindrar vardagen efter avslutad behandling.",
            "background": "Bröstcancer, opererad i november 2025.",
            "assessment": "Behov av utredning i primärvården.",
            "recommendation": "Kontakta patienten inom en vecka.",
        },
        "planId": PLAN_ID, "recipient": { "unit": NORTH, "professions": ["physician"] },
        "patient": patient(), "sender": nurse(),
        "oralContact": { "at": "2026-03-06T15:30:00+01:00", "medium": "phone", "profession": "physician", "unit": NORTH },
    })
}

/// What primary care did: physical activity and diet at a distance.
pub fn activity_at_distance() -> Value {
    json!({
        "id": "SE2321000131-E000000000202#A-1", "version": 1, "status": "active",
        "contactId": "SE2321000131-E000000000202#K-1", "atDistance": true,
        "start": "2026-03-18T13:00:00+01:00", "end": "2026-03-18T13:45:00+01:00",
        "requestId": REQUEST_ID, "planId": PLAN_ID, "diagnoses": [{ "code": "C50.9" }],
        "patient": patient(), "unit": NORTH,
        "performer": { "hsaId": "SE2321000131-P000000000021", "profession": "physiotherapist" },
        "codes": [{ "code": "DV133", "interventionId": "I1" }, { "code": "DV143" }],
        "addOns": [{ "code": "ZV051" }],
    })
}

/// Tobacco and alcohol at the clinic itself, one line each: kept for the registries.
pub fn activities() -> Vec<Value> {
    [("DV113", 2, "2026-03-11T09:00:00+01:00"), ("DV123", 3, "2026-03-11T10:00:00+01:00")]
        .map(|(code, number, start)| {
            json!({
                "id": format!("{ONCOLOGY}#A-{number}"), "version": 1, "status": "active",
                "contactId": format!("{ONCOLOGY}#K-{number}"), "atDistance": false, "start": start,
                "diagnoses": [{ "code": "C50.9" }], "patient": patient(), "unit": ONCOLOGY,
                "performer": { "hsaId": "SE2321000131-P000000000012", "profession": "contact-nurse" },
                "codes": [{ "code": code }],
            })
        })
        .to_vec()
}

/// Samråd before a referral that cannot carry it.
pub fn consultations() -> Value {
    json!({
        "patient": { "at": "2026-03-11T09:00:00+01:00", "medium": "face-to-face" },
        "primaryCare": {
            "at": "2026-03-11T13:00:00+01:00", "medium": "phone", "profession": "physiotherapist", "unit": NORTH,
        },
    })
}

/// A referral as RIV-TA ProcessRequest 1.0.
pub fn riv_referral() -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<ProcessRequest xmlns="urn:riv:clinicalprocess:activity:request:ProcessRequestResponder:1" xmlns:c="urn:riv:clinicalprocess:activity:request:1">
  <c:request>
    <c:requestId extension="{RIV_REQUEST_ID}"/>
    <c:typeOfRequest code="4"/>
    <c:versionTimeStamp value="20260312081500"/>
    <c:versionNumber>1</c:versionNumber>
    <c:reasonForVersion><c:typeOfReason code="NR"/></c:reasonForVersion>
    <c:patient><c:personId extension="{NUMBER}" root="1.2.752.129.2.1.3.1"/></c:patient>
    <c:requestOrganisation><c:careUnitId extension="{ONCOLOGY}"/></c:requestOrganisation>
    <c:author>
      <c:date value="20260312"/>
      <c:healthcareProfessionalOrganisation><c:careUnitId extension="{ONCOLOGY}"/></c:healthcareProfessionalOrganisation>
    </c:author>
    <c:recipient><c:organisation><c:careUnitId extension="{NORTH}"/></c:organisation></c:recipient>
    <c:additionalInformation/>
    <c:questionFormulation>
      <c:text>Önskar bedömning av fatigue.</c:text>
      <c:condition><c:code code="C50.9" codeSystem="1.2.752.116.1.1.1.1.3"/></c:condition>
    </c:questionFormulation>
  </c:request>
</ProcessRequest>"#
    )
}

/// An activity as RIV-TA ProcessActivities 1.0.
pub fn riv_activity() -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<ProcessActivities xmlns="urn:riv:clinicalprocess:activity:actions:ProcessActivitiesResponder:1" xmlns:c="urn:riv:clinicalprocess:activity:actions:1">
  <activityType>
    <c:id><c:root>1.2.752.129.2.1.4.1</c:root><c:extension>{NORTH}:770001</c:extension></c:id>
    <c:value><c:code>DV133</c:code><c:codeSystem>1.2.752.116.1.3.2.1.4</c:codeSystem></c:value>
    <c:time><c:start>20260316090000</c:start></c:time>
    <c:approvedForPatient>true</c:approvedForPatient>
    <c:location><c:id><c:root>1.2.752.129.2.1.4.1</c:root><c:extension>{NORTH}</c:extension></c:id></c:location>
    <c:patient>
      <c:id><c:root>1.2.752.129.2.1.3.1</c:root><c:extension>{NUMBER}</c:extension></c:id>
      <c:dateOfBirth>19121212</c:dateOfBirth>
    </c:patient>
    <c:performerRole>
      <c:id><c:root>1.2.752.129.2.1.4.1</c:root><c:extension>SE2321000131-P000000000021</c:extension></c:id>
      <c:code><c:code>FT</c:code><c:codeSystem>1.2.752.129.2.2.1.4</c:codeSystem></c:code>
      <c:careUnit><c:id><c:root>1.2.752.129.2.1.4.1</c:root><c:extension>{NORTH}</c:extension></c:id></c:careUnit>
    </c:performerRole>
  </activityType>
</ProcessActivities>"#
    )
}
