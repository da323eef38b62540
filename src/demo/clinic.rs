//! What the people in primary care do, as plain FHIR R4 against their own server: any R4 server will do.

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::domain::kva;
use crate::fhir::canonical::{HSA_ID, RESOURCE_ID};

/// A FHIR server and the unit that works with it.
pub struct Clinic {
    http: reqwest::Client,
    base: String,
    unit: String,
}

/// What a step leaves behind in the Task's output.
#[derive(Debug, Default, Clone)]
pub struct Left<'a> {
    pub answer: Option<&'a str>,
    pub kva: &'a [&'a str],
    pub patient_contact: bool,
}

impl Clinic {
    pub fn new(http: reqwest::Client, base: &str, unit: &str) -> Self {
        Self { http, base: base.trim_end_matches('/').to_owned(), unit: unit.to_owned() }
    }

    /// The unit's copy of a Task, by the gateway's identifier.
    pub async fn task(&self, id: &str) -> anyhow::Result<Value> {
        let response = self
            .http
            .get(format!("{}/Task", self.base))
            .query(&[("identifier", format!("{RESOURCE_ID}|{id}"))])
            .header("Accept", "application/fhir+json")
            .send()
            .await?;
        let bundle: Value = response.json().await.context("the Tasks")?;
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        let mut tasks = entries.into_iter().map(|e| e["resource"].clone()).filter(|r| r["resourceType"] == "Task");
        match (tasks.next(), tasks.next()) {
            (Some(task), None) => Ok(task),
            (None, _) => bail!("primary care does not have Task {id}"),
            _ => bail!("primary care has Task {id} more than once"),
        }
    }

    /// Moves the Task, with what is left behind in the same transaction. Moving it to where it is changes nothing.
    pub async fn step(&self, id: &str, status: &str, left: &Left<'_>) -> anyhow::Result<()> {
        let mut task = self.task(id).await?;
        if task["status"] == status {
            return Ok(());
        }
        let task_id = task["id"].as_str().unwrap_or_default().to_owned();
        let version = task["meta"]["versionId"].as_str().unwrap_or_default().to_owned();
        let mut entries = Vec::new();
        let mut output = Vec::new();
        if let Some(text) = left.answer {
            self.leave("answer", self.communication(&task, "answer", text), &mut entries, &mut output);
        }
        if left.patient_contact {
            let text = "Patienten har ringts upp och tackar ja.";
            self.leave(
                "patient-contact",
                self.communication(&task, "patient-contact", text),
                &mut entries,
                &mut output,
            );
        }
        for code in left.kva {
            self.leave("activity", self.procedure(&task, code), &mut entries, &mut output);
        }
        task["status"] = json!(status);
        if !output.is_empty() {
            task["output"] = json!(output);
        }
        entries.push(json!({
            "fullUrl": format!("{}/Task/{task_id}", self.base),
            "resource": task,
            "request": { "method": "PUT", "url": format!("Task/{task_id}"), "ifMatch": format!("W/\"{version}\"") },
        }));
        let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries });
        let response = self
            .http
            .post(&self.base)
            .header("Content-Type", "application/fhir+json")
            .header("Accept", "application/fhir+json")
            .body(bundle.to_string())
            .send()
            .await?;
        let code = response.status();
        if !code.is_success() {
            bail!("primary care's server answered {code} to its own staff: {}", response.text().await?);
        }
        Ok(())
    }

    fn leave(&self, kind: &str, resource: Value, entries: &mut Vec<Value>, output: &mut Vec<Value>) {
        let full_url = format!("urn:uuid:{}", uuid::Uuid::new_v4());
        let resource_type = resource["resourceType"].clone();
        entries.push(json!({
            "fullUrl": full_url, "resource": resource, "request": { "method": "POST", "url": resource_type },
        }));
        output.push(json!({ "type": { "text": kind }, "valueReference": { "reference": full_url } }));
    }

    fn communication(&self, task: &Value, kind: &str, text: &str) -> Value {
        let mut communication = json!({
            "resourceType": "Communication", "status": "completed",
            "category": [{ "coding": [{
                "system": "https://vardkedja.example/fhir/CodeSystem/communication-kind", "code": kind,
            }] }],
            "subject": task["for"], "sent": "2026-03-18T14:00:00+01:00",
            "sender": { "identifier": { "system": HSA_ID, "value": self.unit } },
            "medium": [{ "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode", "code": "PHONE",
            }] }],
            "payload": [{ "contentString": text }],
        });
        based_on(&mut communication, task);
        communication
    }

    fn procedure(&self, task: &Value, code: &str) -> Value {
        let mut procedure = json!({
            "resourceType": "Procedure", "status": "completed",
            "code": { "coding": [{ "system": kva::SYSTEM, "code": code }] },
            "subject": task["for"], "performedDateTime": "2026-03-18T13:00:00+01:00",
            "performer": [{ "actor": { "identifier": { "system": HSA_ID, "value": self.unit } } }],
        });
        based_on(&mut procedure, task);
        procedure
    }
}

/// Ties an answer to the request, where the Task is about one.
fn based_on(resource: &mut Value, task: &Value) {
    let focus = task["focus"]["reference"].as_str().unwrap_or_default();
    if focus.contains("ServiceRequest/") {
        resource["basedOn"] = json!([task["focus"]]);
    }
}
