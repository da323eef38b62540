//! Endpoints that do not mean well: slow, endless, leading elsewhere. None of them costs another subscriber anything.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{Ear, settings, stands, subscribe, wish};
use crate::world::{ONCOLOGY, SOUTH, World, referral_to};

/// A server that takes handshakes, and then does as it likes with what it is told.
fn wicked(deed: fn(&mut std::net::TcpStream)) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let call = counted.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 65536]);
                if call == 0 {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                } else {
                    deed(&mut stream);
                }
            });
        }
    });
    (url, calls)
}

/// SOUTH is told at the wicked server, ONCOLOGY at the ear.
async fn open(ear: &Ear, wicked: &str) -> World {
    World::open_as(|clinic| {
        let both = settings(&ear.url, clinic, "");
        let reader = format!("name = \"reader\"\nchannel = \"poll\"\nhooks = [\"{}\"]", ear.url);
        both.replace(&reader, &format!("name = \"reader\"\nchannel = \"poll\"\nhooks = [\"{wicked}\"]"))
    })
    .await
}

async fn calls(counted: &AtomicUsize, least: usize) {
    for _ in 0..1200 {
        if counted.load(Ordering::SeqCst) >= least {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("called only {} times", counted.load(Ordering::SeqCst));
}

async fn told_beside(deed: fn(&mut std::net::TcpStream), least: usize) -> (World, serde_json::Value, Arc<AtomicUsize>) {
    let ear = Ear::open(200);
    let (url, counted) = wicked(deed);
    let world = open(&ear, &url).await;
    let mut at_wicked = wish(&ear, "", "task-changed", "full-resource");
    at_wicked["channel"]["endpoint"] = json!(url);
    let shown = subscribe(&world, SOUTH, &at_wicked).await;
    subscribe(&world, ONCOLOGY, &wish(&ear, "", "task-changed", "id-only")).await;
    world.refer(&referral_to(1, SOUTH)).await;
    ear.until_number("/hook", 1).await;
    calls(&counted, least).await;
    world.refer(&referral_to(2, SOUTH)).await;
    ear.until_number("/hook", 2).await;
    (world, shown, counted)
}

#[actix_web::test]
async fn one_that_never_answers_is_tried_again_and_holds_up_nobody() {
    let (world, shown, counted) = told_beside(|_| std::thread::sleep(Duration::from_secs(60)), 2).await;
    calls(&counted, 3).await;
    let shown = stands(&world, SOUTH, shown["id"].as_str().unwrap(), "active").await;
    assert_eq!(shown["error"], "no answer in time");
    world.close().await;
}

#[actix_web::test]
async fn an_endless_answer_is_not_read() {
    let endless = |stream: &mut std::net::TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    };
    let (world, shown, _) = told_beside(endless, 2).await;
    let path = format!("/fhir/Subscription/{}/$status", shown["id"].as_str().unwrap());
    for _ in 0..1200 {
        if world.get(&path, SOUTH).await.text.contains("\"valueString\":\"2\"") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    stands(&world, SOUTH, shown["id"].as_str().unwrap(), "active").await;
    world.close().await;
}

#[actix_web::test]
async fn one_that_leads_to_a_clouds_metadata_is_not_followed() {
    let redirect = |stream: &mut std::net::TcpStream| {
        let _ = stream.write_all(
            b"HTTP/1.1 307 Go\r\nlocation: http://169.254.169.254/latest/meta-data\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    };
    let (world, shown, counted) = told_beside(redirect, 2).await;
    let failed = stands(&world, SOUTH, shown["id"].as_str().unwrap(), "error").await;
    assert_eq!(failed["error"], "HTTP 307: redirects are not followed");
    assert_eq!(counted.load(Ordering::SeqCst), 2);
    world.close().await;
}
