//! The program is killed between a block and its end, and in the moment of its end: what was answered holds, and what was
//! released leaves without anybody asking for it.

use reqwest::Client;
use serde_json::{Value, json};

use super::inner;
use crate::program::Program;
use crate::world::{ONCOLOGY, REHAB_TEAM, SOUTH, World, referral, referral_to};

struct Site {
    world: World,
    http: Client,
}

impl Site {
    async fn open() -> Self {
        Self { world: World::open_clinic_only().await, http: Client::builder().no_proxy().build().unwrap() }
    }

    fn start(&self) -> Program {
        let clinic = &self.world.clinic;
        let settings = format!(
            "[delivery]\nretry_s = [1]\npoll_s = 1\n[[partner]]\nname = \"platform\"\nchannel = \"poll\"\n\
             [[partner]]\nname = \"primary-care\"\nchannel = \"push\"\nfhir_base = \"{clinic}/fhir\"\ntimeout_s = 2\n\
             [[partner]]\nname = \"reader\"\nchannel = \"poll\"\n"
        );
        Program::start(&self.world.folder, &settings, &[])
    }

    async fn post(&self, program: &Program, path: &str, unit: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", program.url)).header("Vardkedja-Unit", unit);
        let reply = request.header("Content-Type", "application/json").body(body.to_string()).send().await.unwrap();
        (reply.status().as_u16(), reply.json().await.unwrap())
    }

    async fn status(&self, program: &Program, path: &str, unit: &str) -> u16 {
        let request = self.http.get(format!("{}{path}", program.url)).header("Vardkedja-Unit", unit);
        request.send().await.unwrap().status().as_u16()
    }
}

fn kill(program: Program) {
    program.signal("-KILL");
    drop(program);
}

#[actix_web::test]
async fn a_block_and_its_end_survive_a_kill_and_what_was_held_leaves_once_in_order() {
    let site = Site::open().await;
    let program = site.start();
    let (status, made) = site.post(&program, "/v1/blocks", REHAB_TEAM, &inner(ONCOLOGY)).await;
    assert_eq!(status, 201, "{made}");
    kill(program);

    let program = site.start();
    for number in 1..=3 {
        let (status, receipt) = site.post(&program, "/v1/referrals", ONCOLOGY, &referral(number)).await;
        assert_eq!(status, 202, "{receipt}");
    }
    let (_, receipt) = site.post(&program, "/v1/referrals", ONCOLOGY, &referral_to(4, SOUTH)).await;
    let read = format!("/v1/exchanges/{}", receipt["exchange"].as_str().unwrap());
    assert_eq!(site.status(&program, &read, SOUTH).await, 404);
    kill(program);

    let program = site.start();
    assert_eq!(site.status(&program, &read, SOUTH).await, 404, "it stands after the kill");
    let again = site.post(&program, "/v1/blocks", REHAB_TEAM, &inner(ONCOLOGY)).await;
    assert_eq!((again.0, &again.1["id"]), (200, &made["id"]));
    assert!(site.world.at_clinic("ServiceRequest").await.is_empty());
    // Killed in the moment in which it is answered: the end of the block and the release are one commit.
    let lift = format!("/v1/blocks/{}/lift", made["id"].as_str().unwrap());
    let (status, lifted) = site.post(&program, &lift, REHAB_TEAM, &json!({ "by": "SE2321000131-P000000000011" })).await;
    kill(program);
    assert_eq!((status, &lifted["standing"]), (200, &json!(false)));

    let program = site.start();
    assert_eq!(site.status(&program, &read, SOUTH).await, 200);
    for _ in 0..600 {
        if site.world.at_clinic("ServiceRequest").await.len() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    let mut numbers: Vec<String> = Vec::new();
    for request in site.world.at_clinic("ServiceRequest").await {
        let ids = request["identifier"].as_array().unwrap().iter().filter_map(|i| i["value"].as_str());
        numbers.extend(ids.filter(|id| id.contains("#R-")).map(str::to_owned));
    }
    numbers.sort();
    assert_eq!(numbers, [1, 2, 3].map(|n| format!("{ONCOLOGY}#R-{n}")), "each once");
    // No Task of the worklist is left open: what the kill left behind was told afterwards.
    for _ in 0..600 {
        let open = site.http.get(format!("{}/fhir/Task?code=delivery-parked&status=requested", program.url));
        let open: Value = open.send().await.unwrap().json().await.unwrap();
        if open["entry"].as_array().is_none_or(Vec::is_empty) {
            site.world.close().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the worklist still says that something is held");
}
