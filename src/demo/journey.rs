//! The steps of the journey. Each is a real message over HTTP, and waits until its effect can be seen on the other side.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::clinic::{Clinic, Left};
use super::documents::{self, CLOSED, HOME_CARE, NORTH, ONCOLOGY, REQUEST_ID};
use super::teller::Teller;
use crate::fhir::canonical::HSA_ID;

/// Where the systems are.
#[derive(Debug, Clone)]
pub struct Places {
    pub gateway: String,
    /// The FHIR base of the primary care system that the gateway pushes to.
    pub clinic: String,
}

/// How long the journey waits for an effect, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(50);

/// The journey under way.
pub struct Journey<'a> {
    http: reqwest::Client,
    places: Places,
    clinic: Clinic,
    twice: bool,
    teller: &'a mut Teller,
}

impl<'a> Journey<'a> {
    pub fn new(places: Places, twice: bool, teller: &'a mut Teller) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        let clinic = Clinic::new(http.clone(), &places.clinic, NORTH);
        Ok(Self { http, places, clinic, twice, teller })
    }

    /// The whole way.
    pub async fn play(mut self) -> anyhow::Result<()> {
        self.plan().await?;
        self.referral().await?;
        self.revision().await?;
        self.sip().await?;
        self.handover().await?;
        self.activities().await?;
        self.riv().await?;
        self.refusals().await
    }

    async fn plan(&mut self) -> anyhow::Result<()> {
        self.teller.step("Oncology writes a rehab plan with the patient (Hälsoskattning, goals, interventions)");
        let exchange = self.send("/v1/rehab-plans", ONCOLOGY, &documents::rehab_plan(1)).await?;
        self.until(&exchange, "delivered").await
    }

    async fn referral(&mut self) -> anyhow::Result<()> {
        self.teller.step(
            "Oncology refers (remiss) to Vårdcentralen Norr, after talking with the patient and with primary care",
        );
        let exchange = self.send("/v1/referrals", ONCOLOGY, &documents::referral(REQUEST_ID, NORTH)).await?;
        self.until(&exchange, "delivered").await?;
        let task = self.task(&exchange, NORTH).await?;

        self.teller.step("Vårdcentralen Norr receives and accepts it in its own system");
        self.clinic.step(&task, "received", &Left::default()).await?;
        self.until(&exchange, "received").await?;
        self.clinic.step(&task, "accepted", &Left::default()).await?;
        self.until(&exchange, "accepted").await?;

        self.teller.step("Vårdcentralen Norr has carried it out and answers: a text and a KVÅ Procedure");
        let left = Left {
            answer: Some("Träningsprogram genomfört, patienten fortsätter på egen hand."),
            kva: &["DV133"],
            ..Left::default()
        };
        self.clinic.step(&task, "completed", &left).await?;
        self.until(&exchange, "completed").await?;
        let document = self.document(&exchange).await?;
        let state = &document["state"];
        ensure!(state["status"] == "completed", "the referral reads {state} to its sender");
        self.teller.answer(&format!(
            "the sender reads its own referral again: state {}, \"{}\", KVÅ {}",
            text(&state["status"]),
            text(&state["answer"]["text"]),
            text(&state["activities"][0]["kva"])
        ));
        Ok(())
    }

    async fn revision(&mut self) -> anyhow::Result<()> {
        self.teller.step("A new assessment: the rehab plan is revised, and everyone who follows it gets version 2");
        let exchange = self.send("/v1/rehab-plans", ONCOLOGY, &documents::rehab_plan(2)).await?;
        self.until(&exchange, "delivered").await
    }

    async fn sip(&mut self) -> anyhow::Result<()> {
        self.teller.step("SIP with the patient's consent: one plan, two more units with a Task each");
        let exchange = self.send("/v1/handovers", ONCOLOGY, &documents::sip()).await?;
        self.until_party(&exchange, NORTH, "delivered").await?;
        let theirs = self.task(&exchange, NORTH).await?;
        let municipal = self.task(&exchange, HOME_CARE).await?;

        self.teller.step("The municipality has no FHIR server to push to: it reads its Task here, and accepts it here");
        self.search_own(HOME_CARE).await?;
        self.until_party(&exchange, HOME_CARE, "delivered").await?;
        self.move_here(HOME_CARE, &municipal, "accepted").await?;
        self.clinic.step(&theirs, "accepted", &Left::default()).await?;
        self.until(&exchange, "accepted").await?;

        self.teller.step("Somebody who does not own the Task tries to move it");
        let (status, outcome) = self.put_task(ONCOLOGY, &municipal, "completed").await?;
        ensure!(status == 403, "a stranger's move was answered {status}");
        self.teller.refused(&format!("PUT /fhir/Task/{municipal}"), status, &outcome);
        Ok(())
    }

    async fn handover(&mut self) -> anyhow::Result<()> {
        self.teller.step("Active handover (aktiv överlämning) of fatigue: SBAR, after an oral contact");
        let exchange = self.send("/v1/handovers", ONCOLOGY, &documents::handover()).await?;
        self.until(&exchange, "delivered").await?;
        let task = self.task(&exchange, NORTH).await?;
        self.clinic.step(&task, "accepted", &Left::default()).await?;
        self.until(&exchange, "accepted").await?;

        self.teller.step("Vårdcentralen Norr has reached the patient: only now is the handover complete");
        let left = Left { answer: Some("Tid bokad för utredning."), patient_contact: true, ..Left::default() };
        self.clinic.step(&task, "completed", &left).await?;
        self.until(&exchange, "completed").await?;
        let document = self.document(&exchange).await?;
        let contact = &document["state"]["confirmedContact"];
        ensure!(contact["at"].is_string(), "the handover shows no confirmed contact: {}", document["state"]);
        self.teller.answer(&format!("the sender reads: contact with the patient confirmed {}", text(&contact["at"])));
        Ok(())
    }

    async fn activities(&mut self) -> anyhow::Result<()> {
        self.teller.step("Vårdcentralen Norr reports DV133 and DV143 at a distance (ZV051), tied to the referral");
        let exchange = self.send("/v1/activities", NORTH, &documents::activity_at_distance()).await?;
        let path = "/fhir/Procedure?code=DV133,DV143";
        let found = self.get(path, ONCOLOGY).await?["entry"].as_array().map_or(0, Vec::len);
        self.teller.did(&format!("Onkologimottagningen reads GET {path} → {found} Procedures"));
        self.until(&exchange, "delivered").await?;

        self.teller.step("Oncology reports tobacco (DV113) and alcohol (DV123), two lines of NDJSON");
        let lines: Vec<String> = documents::activities().iter().map(Value::to_string).collect();
        for _ in 0..self.times() {
            let response = self
                .http
                .post(format!("{}/v1/activities", self.places.gateway))
                .header("Content-Type", "application/x-ndjson")
                .header("Vardkedja-Unit", ONCOLOGY)
                .body(lines.join("\n"))
                .send()
                .await?;
            for line in response.text().await?.lines() {
                let result: Value = serde_json::from_str(line)?;
                ensure!(result["status"] == 202, "a line was answered {result}");
                self.teller.taken("/v1/activities", &result["receipt"], &self.places.gateway);
            }
        }
        Ok(())
    }

    async fn riv(&mut self) -> anyhow::Result<()> {
        self.teller.step("A referral comes as RIV-TA ProcessRequest 1.0 from a system that speaks no FHIR");
        let exchange = self.send_xml("/v1/referrals", ONCOLOGY, &documents::riv_referral()).await?;
        self.teller.step("It has no field for samråd, so it waits until its sender has recorded that; then it leaves");
        let path = format!("{}{exchange}/consultations", self.places.gateway);
        for _ in 0..self.times() {
            let post = self.http.post(&path).header("Vardkedja-Unit", ONCOLOGY).json(&documents::consultations());
            let status = post.send().await?.status().as_u16();
            ensure!(status == 200, "the consultations were answered {status}");
        }
        self.until(&exchange, "delivered").await?;
        self.teller.step("An activity comes as RIV-TA ProcessActivities 1.0");
        let exchange = self.send_xml("/v1/activities", NORTH, &documents::riv_activity()).await?;
        self.stands(&exchange).await
    }

    async fn refusals(&mut self) -> anyhow::Result<()> {
        self.teller.step("A SIP without the patient's consent is refused");
        self.refused("/v1/handovers", ONCOLOGY, &documents::sip_without_consent(), 422).await?;
        self.teller.step("A referral to a unit that has closed is refused");
        let referral = documents::referral("SE2321000131-E000000000101#R-3", CLOSED);
        self.refused("/v1/referrals", ONCOLOGY, &referral, 422).await?;
        self.teller
            .step("An activity with an unknown KVÅ code and a wrong personnummer is refused with all findings at once");
        let mut activity = documents::activity_at_distance();
        activity["id"] = json!("SE2321000131-E000000000202#A-9");
        activity["codes"] = json!([{ "code": "DV199" }]);
        activity["patient"]["personnummer"] = json!("191212121211");
        self.refused("/v1/activities", NORTH, &activity, 422).await?;
        Ok(())
    }

    fn times(&self) -> usize {
        if self.twice { 2 } else { 1 }
    }

    /// Sends a document and tells what became of it; gives the address of its exchange.
    async fn send(&mut self, route: &str, unit: &str, document: &Value) -> anyhow::Result<String> {
        self.post(route, unit, "application/json", document.to_string()).await
    }

    async fn send_xml(&mut self, route: &str, unit: &str, document: &str) -> anyhow::Result<String> {
        self.post(route, unit, "application/xml", document.to_owned()).await
    }

    async fn post(&mut self, route: &str, unit: &str, media_type: &str, body: String) -> anyhow::Result<String> {
        let mut location = String::new();
        let mut first: Option<String> = None;
        for _ in 0..self.times() {
            let response = self
                .http
                .post(format!("{}{route}", self.places.gateway))
                .header("Content-Type", media_type)
                .header("Vardkedja-Unit", unit)
                .body(body.clone())
                .send()
                .await?;
            let status = response.status().as_u16();
            let header = response.headers().get("Location").and_then(|l| l.to_str().ok()).map(str::to_owned);
            let text = response.text().await?;
            ensure!(status == 202, "{route} answered {status}: {text}");
            location = header.context("no Location")?;
            match &first {
                None => {
                    self.teller.taken(route, &serde_json::from_str(&text)?, &self.places.gateway);
                    first = Some(text);
                }
                Some(first) => ensure!(*first == text, "the second receipt is not the first"),
            }
        }
        Ok(location)
    }

    async fn refused(&mut self, route: &str, unit: &str, document: &Value, expected: u16) -> anyhow::Result<()> {
        let response = self
            .http
            .post(format!("{}{route}", self.places.gateway))
            .header("Vardkedja-Unit", unit)
            .json(document)
            .send()
            .await?;
        let status = response.status().as_u16();
        let outcome: Value = response.json().await?;
        ensure!(status == expected, "{route} answered {status} and not {expected}: {outcome}");
        self.teller.refused(&format!("POST {route}"), status, &outcome);
        Ok(())
    }

    async fn get(&self, path: &str, unit: &str) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.places.gateway);
        let response = self.http.get(url).header("Vardkedja-Unit", unit).send().await?;
        let status = response.status();
        let body: Value = response.json().await.with_context(|| format!("GET {path}"))?;
        ensure!(status.is_success(), "GET {path} answered {status}: {body}");
        Ok(body)
    }

    async fn document(&self, exchange: &str) -> anyhow::Result<Value> {
        self.get(&format!("{exchange}/document"), ONCOLOGY).await
    }

    /// The gateway's id of the Task that a unit owns in the exchange.
    async fn task(&self, exchange: &str, unit: &str) -> anyhow::Result<String> {
        let shown = self.get(exchange, ONCOLOGY).await?;
        let parties = shown["parties"].as_array().cloned().unwrap_or_default();
        let party = parties.iter().find(|p| p["unit"] == unit).context("the unit is no party")?;
        Ok(text(&party["task"]).trim_start_matches("Task/").to_owned())
    }

    async fn stands(&mut self, exchange: &str) -> anyhow::Result<()> {
        let shown = self.get_as_operator(exchange).await?;
        self.teller.stands(&shown);
        Ok(())
    }

    async fn get_as_operator(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.http.get(format!("{}{path}", self.places.gateway)).send().await?.json().await?)
    }

    async fn until(&mut self, exchange: &str, stage: &str) -> anyhow::Result<()> {
        self.wait(exchange, stage, |shown| shown["stage"] == stage).await
    }

    async fn until_party(&mut self, exchange: &str, unit: &str, stage: &str) -> anyhow::Result<()> {
        let there = |shown: &Value| {
            let parties = shown["parties"].as_array().map_or(&[][..], Vec::as_slice);
            parties.iter().any(|p| p["unit"] == unit && p["stage"] == stage)
        };
        self.wait(exchange, stage, there).await
    }

    async fn wait(&mut self, exchange: &str, stage: &str, there: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            let shown = self.get_as_operator(exchange).await?;
            if there(&shown) {
                self.teller.stands(&shown);
                return Ok(());
            }
            if waited > PATIENCE || shown["stage"] == "parked" {
                bail!("{exchange} did not become {stage}: {shown:#}");
            }
            tokio::time::sleep(GLANCE).await;
            waited += GLANCE;
        }
    }

    /// A unit that reads from the gateway looks for its Tasks.
    async fn search_own(&mut self, unit: &str) -> anyhow::Result<()> {
        let own = self.get(&format!("/fhir/Organization?identifier={HSA_ID}|{unit}"), unit).await?;
        let id = text(&own["entry"][0]["resource"]["id"]).to_owned();
        let path = format!("/fhir/Task?owner=Organization/{id}&status=requested");
        let found = self.get(&path, unit).await?["entry"].as_array().map_or(0, Vec::len);
        self.teller.did(&format!("GET {path} → {found} Task"));
        Ok(())
    }

    async fn move_here(&mut self, unit: &str, task: &str, status: &str) -> anyhow::Result<()> {
        let (code, outcome) = self.put_task(unit, task, status).await?;
        ensure!(code == 200, "moving the Task was answered {code}: {outcome}");
        self.teller.did(&format!("PUT /fhir/Task/{task} with status {status} and If-Match → 200"));
        Ok(())
    }

    async fn put_task(&self, unit: &str, task: &str, status: &str) -> anyhow::Result<(u16, Value)> {
        let path = format!("/fhir/Task/{task}");
        let mut resource = self.get(&path, unit).await?;
        if resource["status"] == status {
            return Ok((200, resource));
        }
        let version = text(&resource["meta"]["versionId"]).to_owned();
        resource["status"] = json!(status);
        let response = self
            .http
            .put(format!("{}{path}", self.places.gateway))
            .header("Vardkedja-Unit", unit)
            .header("If-Match", format!("W/\"{version}\""))
            .header("Content-Type", "application/fhir+json")
            .body(resource.to_string())
            .send()
            .await?;
        let code = response.status().as_u16();
        Ok((code, response.json().await?))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
