//! Search over HTTP: what `metadata` claims is true, and nothing is told of what a caller may not see.

mod answers;
mod claims;
mod secrets;

use std::path::PathBuf;

use serde_json::Value;
use vardkedja::fhir::search::index;
use vardkedja::store::{Commit, Committed, Options, Put, Store};

use crate::gateway::TestGateway;
use crate::world::Reply;

/// A gateway that has these resources.
pub struct Library {
    gateway: TestGateway,
    folder: PathBuf,
    http: reqwest::Client,
}

impl Library {
    /// Each resource with the units that may see it.
    pub async fn open(resources: &[(Value, &[&str])], settings: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("library-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let store = Store::open(&folder.join("gateway.sqlite"), Options::default()).unwrap();
        put(&store, resources, 1).await;
        store.close();
        let gateway = TestGateway::start_in(&folder, settings).await;
        Self { gateway, folder, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    pub async fn close(self) {
        self.gateway.stop().await;
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    /// `path` behind `/fhir/`, or a whole link.
    pub async fn ask(&self, path: &str, unit: &str, headers: &[(&str, &str)], form: Option<&str>) -> Reply {
        let url = match path.starts_with("http") {
            true => path.to_owned(),
            false => format!("{}/fhir/{path}", self.gateway.url),
        };
        let mut request = match form {
            Some(form) => {
                self.http.post(url).header("Content-Type", "application/x-www-form-urlencoded").body(form.to_owned())
            }
            None => self.http.get(url),
        };
        if !unit.is_empty() {
            request = request.header("Vardkedja-Unit", unit);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        Reply { status: response.status().as_u16(), location: None, text: response.text().await.unwrap() }
    }

    pub async fn get(&self, path: &str, unit: &str) -> Reply {
        self.ask(path, unit, &[], None).await
    }

    pub async fn post(&self, path: &str, unit: &str, form: &str) -> Reply {
        self.ask(path, unit, &[], Some(form)).await
    }
}

/// Commits versions of these resources.
pub async fn put(store: &Store, resources: &[(Value, &[&str])], version: u32) {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let put = resources.iter().map(|(resource, units)| Put {
        resource_type: text(resource, "resourceType"),
        id: text(resource, "id"),
        version,
        body: resource.to_string().into_bytes(),
        patient: None,
        units: units.iter().map(|unit| (*unit).to_owned()).collect(),
        index: index(resource),
        exchange: None,
    });
    let commit = Commit { put: put.collect(), ..Commit::default() };
    assert!(matches!(store.commit(commit).await.unwrap(), Committed::Done { .. }));
}

/// `Type/id` of the entries of a mode, in their order.
pub fn names(reply: &Reply, mode: &str) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.text);
    let bundle = reply.json();
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let name = |e: &Value| {
        format!(
            "{}/{}",
            e["resource"]["resourceType"].as_str().unwrap(),
            e["resource"]["id"].as_str().unwrap_or_default()
        )
    };
    entries.iter().filter(|e| e["search"]["mode"] == mode).map(name).collect()
}

/// The address of a link.
pub fn link(reply: &Reply, relation: &str) -> Option<String> {
    let bundle = reply.json();
    let links = bundle["link"].as_array().cloned().unwrap_or_default();
    links.iter().find(|l| l["relation"] == relation).map(|l| l["url"].as_str().unwrap().to_owned())
}
