//! With the feature `otel`: one referral's walk is one trace at a collector, from its request over the commit to the delivery.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::ops::settings;
use crate::program::Program;
use crate::world::{ONCOLOGY, World, referral};

/// What a span says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
}

/// The fields of a protobuf message that have a length: number and bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    fn number(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                return value;
            }
        }
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes);
        match tag & 7 {
            0 => {
                number(&mut bytes);
            }
            1 => bytes = &bytes[8..],
            5 => bytes = &bytes[4..],
            _ => {
                let length = number(&mut bytes) as usize;
                found.push((tag >> 3, &bytes[..length]));
                bytes = &bytes[length..];
            }
        }
    }
    found
}

/// ExportTraceServiceRequest.resource_spans.scope_spans.spans.
fn spans(request: &[u8]) -> Vec<Span> {
    let inside = |bytes: Vec<&[u8]>, field: u64| -> Vec<Vec<u8>> {
        let all = bytes.into_iter().flat_map(|b| {
            fields(b).into_iter().filter(|(n, _)| *n == field).map(|(_, b)| b.to_vec()).collect::<Vec<_>>()
        });
        all.collect()
    };
    let resources = inside(vec![request], 1);
    let scopes = inside(resources.iter().map(Vec::as_slice).collect(), 2);
    let spans = inside(scopes.iter().map(Vec::as_slice).collect(), 2);
    let one = |span: &Vec<u8>| {
        let field =
            |wanted: u64| fields(span).into_iter().find(|(n, _)| *n == wanted).map_or(Vec::new(), |(_, b)| b.to_vec());
        Span { trace: field(1), id: field(2), parent: field(4), name: String::from_utf8(field(5)).unwrap() }
    };
    spans.iter().map(one).collect()
}

/// A collector on loopback: takes POST /v1/traces and keeps the bodies.
async fn collector() -> (String, tokio::sync::mpsc::UnboundedReceiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                loop {
                    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
                        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                            return;
                        }
                        continue;
                    };
                    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                    let length =
                        head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap().trim().to_owned();
                    let length: usize = length.parse().unwrap();
                    while bytes.len() < end + 4 + length {
                        stream.read_buf(&mut bytes).await.unwrap();
                    }
                    let body = bytes[end + 4..end + 4 + length].to_vec();
                    bytes.drain(..end + 4 + length);
                    let _ = sender.send((head, body));
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    (url, receiver)
}

#[actix_web::test]
async fn a_referrals_walk_is_one_trace_at_a_collector() {
    let (url, mut received) = collector().await;
    let world = World::open_clinic_only().await;
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "100")];
    let program = Program::start(&world.folder, &settings("", &world.clinic, 2), &environment);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let response = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(format!("{}/v1/referrals", program.url))
        .header("Vardkedja-Unit", ONCOLOGY)
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .json(&referral(1))
        .send()
        .await
        .unwrap();
    let place = format!("{}{}", program.url, response.headers()["location"].to_str().unwrap());
    world.until(&place, "delivered").await;
    // Stopping sends what has not been sent.
    program.stop().await;
    let mut all = Vec::new();
    while let Ok(Some((head, body))) = tokio::time::timeout(Duration::from_millis(200), received.recv()).await {
        assert!(head.starts_with("post /v1/traces http/1.1") && head.contains("application/x-protobuf"), "{head}");
        assert!(!String::from_utf8_lossy(&body).contains("2553"), "no person in a trace");
        all.extend(spans(&body));
    }
    let wanted = u128::from_str_radix(trace, 16).unwrap().to_be_bytes();
    let walk: Vec<&Span> = all.iter().filter(|s| s.trace == wanted).collect();
    let named = |name: &str| walk.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("{name}: {all:?}"));
    let (request, commit, deliver) = (named("request"), named("commit"), named("deliver"));
    assert_eq!(request.parent, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!((&commit.parent, &deliver.parent), (&request.id, &request.id));
    world.close().await;
}
