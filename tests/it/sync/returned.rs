//! The return referral: primary care asks the specialist, on the same road, with a server at both ends or at one.

use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use vardkedja::demo::receiver::{self, Options};

use super::until;
use crate::world::{NORTH, ONCOLOGY, World, referral};

/// The specialist's own FHIR server.
struct Specialist {
    base: String,
    http: reqwest::Client,
    stop: oneshot::Sender<()>,
    folder: PathBuf,
}

impl Specialist {
    fn open() -> Self {
        let folder = std::env::temp_dir().join(format!("specialist-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/fhir", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown: Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> =
            Some(Box::pin(async { stopped.await.unwrap_or_default() }));
        let db = folder.join("specialist.db");
        tokio::spawn(async move { receiver::serve(listener, &db, Options { shutdown, ..Options::default() }).await });
        Self { base, http: reqwest::Client::builder().no_proxy().build().unwrap(), stop, folder }
    }

    async fn all(&self, kind: &str) -> Vec<Value> {
        let reply = self.http.get(format!("{}/{kind}?_count=200", self.base)).send().await.unwrap();
        let bundle: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        bundle["entry"].as_array().into_iter().flatten().map(|e| e["resource"].clone()).collect()
    }

    async fn write(&self, method: reqwest::Method, place: &str, resource: &Value) -> Value {
        let request = self.http.request(method, format!("{}/{place}", self.base)).body(resource.to_string());
        let reply = request.header("Content-Type", "application/fhir+json").send().await.unwrap();
        let (status, text) = (reply.status(), reply.text().await.unwrap());
        assert!(status.is_success(), "{status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    fn close(self) {
        drop(self.stop);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Vårdcentralen asks the oncology clinic.
fn question() -> Value {
    let mut question = referral(1);
    question["id"] = json!(format!("{NORTH}#R-1"));
    question["requester"]["unit"] = json!(NORTH);
    question["requester"]["hsaId"] = json!("SE2321000131-P000000000201");
    question["recipient"] = json!({ "unit": ONCOLOGY, "professions": ["physiotherapist"] });
    question["question"] = json!("Svullnad i armen: önskar bedömning.");
    question["consultation"]["primaryCare"]["unit"] = json!(ONCOLOGY);
    question
}

async fn ask(world: &World) -> String {
    let reply = world.post("/v1/referrals", NORTH, &question()).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    reply.location.unwrap()
}

async fn answered(world: &World, exchange: &str, text: &str) {
    world.until(exchange, "completed").await;
    let shown = world.get(&format!("{exchange}/document"), NORTH).await.json();
    assert_eq!(shown["state"]["answer"]["text"], text, "{shown:#}");
    // The asking side's own server has the Task as it ended, and the answer.
    until("the answer is at primary care", async || {
        let tasks = world.at_clinic("Task").await;
        let is_told = tasks.len() == 1 && tasks[0]["status"] == "completed";
        (is_told && world.at_clinic("Communication").await.iter().any(|c| c.to_string().contains(text))).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn a_question_from_primary_care_is_answered_by_the_specialist_with_a_server_at_both_ends() {
    let specialist = Specialist::open();
    let base = specialist.base.clone();
    let world = World::open_as(|clinic| {
        format!(
            "[delivery]\nretry_s = [1]\npoll_s = 1\nprobe_s = [1]\n\
             [[partner]]\nname = \"platform\"\nchannel = \"push\"\nfhir_base = \"{base}\"\ntimeout_s = 2\n\
             [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\ntimeout_s = 2\n"
        )
    })
    .await;
    let exchange = ask(&world).await;
    let mut task = until("the question is there", async || specialist.all("Task").await.into_iter().next()).await;
    let place = format!("Task/{}", task["id"].as_str().unwrap());
    assert_eq!(specialist.all("ServiceRequest").await.len(), 1);
    task["status"] = json!("accepted");
    specialist.write(reqwest::Method::PUT, &place, &task).await;
    world.until(&exchange, "accepted").await;
    until("primary care is told", async || {
        world.at_clinic("Task").await.first().filter(|task| task["status"] == "accepted").map(|_| ())
    })
    .await;

    // A newer version of the question, while it is being answered.
    let mut newer = question();
    newer["version"] = json!(2);
    newer["reasonForVersion"] = json!("VR");
    newer["question"] = json!("Svullnaden har ökat.");
    assert_eq!(world.post("/v1/referrals", NORTH, &newer).await.status, 202);
    until("the newer question is there", async || {
        (specialist.all("ServiceRequest").await[0]["reasonCode"][0]["text"] == "Svullnaden har ökat.").then_some(())
    })
    .await;

    let answer = json!({
        "resourceType": "Communication", "status": "completed", "subject": task["for"], "basedOn": [task["focus"]],
        "payload": [{ "contentString": "Lymfterapeut har provat ut strumpa." }],
    });
    let answer = specialist.write(reqwest::Method::POST, "Communication", &answer).await;
    let mut task = specialist.all("Task").await.remove(0);
    task["status"] = json!("completed");
    task["output"] = json!([{ "type": { "text": "answer" },
        "valueReference": { "reference": format!("Communication/{}", answer["id"].as_str().unwrap()) } }]);
    specialist.write(reqwest::Method::PUT, &place, &task).await;
    answered(&world, &exchange, "Lymfterapeut har provat ut strumpa.").await;
    assert_eq!(specialist.all("Task").await.len(), 1);
    specialist.close();
    world.close().await;
}

#[actix_web::test]
async fn a_specialist_without_a_server_answers_the_same_question_with_get_and_post() {
    let world = World::open().await;
    let exchange = ask(&world).await;
    let found = world.get("/fhir/Task?status=requested", ONCOLOGY).await.json();
    assert_eq!(found["entry"].as_array().unwrap().len(), 1, "{found:#}");
    for said in [json!({ "status": "accepted" }), json!({ "status": "completed", "text": "Strumpan är utprovad." })] {
        let reply = world.post(&format!("{exchange}/answers"), ONCOLOGY, &said).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    answered(&world, &exchange, "Strumpan är utprovad.").await;
    world.close().await;
}
