//! Limits of `[limits]`, each at the real server: what is too much is refused with a finding before it costs anything, and
//! callers who take their time take nobody else's.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::TestGateway;
use crate::world::{NORTH, ONCOLOGY, Reply, World, activity, referral, referral_to};

async fn world(limits: &str) -> World {
    World::open_with(&format!("[limits]\n{limits}")).await
}

fn socket(url: &str) -> TcpStream {
    let socket = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

/// All that comes until the other side closes.
fn until_closed(mut socket: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A POST of a referral whose body is `length` long, without the body.
fn head(length: usize) -> String {
    format!(
        "POST /v1/referrals HTTP/1.1\r\nHost: localhost\r\nVardkedja-Unit: {ONCOLOGY}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

fn says(reply: &Reply, limit: &str) {
    assert!(reply.findings().contains(limit), "{limit}: {}", reply.findings());
}

#[actix_web::test]
async fn what_is_too_long_is_refused_with_the_limit_that_says_so() {
    let limits = "body_bytes = 3000\ndepth = 9\nurl_bytes = 300\nquery_parameters = 5\nheader_bytes = 500\nkey_bytes = 20\n\
                  line_bytes = 1000\nlines = 3\npatch_operations = 2\npage_max = 2";
    let world = world(limits).await;
    let long = "a".repeat(600);
    let as_json = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/json")];
    let ask = async |method: &str, path: &str, more: (&str, &str), body: Option<String>| {
        let headers = [as_json[0], as_json[1], more];
        world.ask(method, path, &headers, body).await
    };
    let none = ("X-Nothing", "x");

    let reply = ask("POST", "/v1/referrals", none, Some(format!("{{\"a\":\"{}\"}}", "a".repeat(3000)))).await;
    assert_eq!(reply.status, 413);
    says(&reply, "limits.body_bytes");
    let deep = format!("{}1{}", "[".repeat(10), "]".repeat(10));
    assert_eq!(ask("POST", "/v1/referrals", none, Some(deep)).await.status, 400);
    let reply = ask("GET", &format!("/v1/exchanges?kind={long}"), none, None).await;
    assert_eq!(reply.status, 414);
    says(&reply, "limits.url_bytes");
    let many = ["kind=referral"; 6].join("&");
    let reply = ask("GET", &format!("/v1/exchanges?{many}"), none, None).await;
    assert_eq!(reply.status, 400);
    says(&reply, "limits.query_parameters");
    let form = [as_json[0], ("Content-Type", "application/x-www-form-urlencoded")];
    let reply = world.ask("POST", "/fhir/Task/_search", &form, Some(["status=accepted"; 6].join("&"))).await;
    assert_eq!(reply.status, 400);
    says(&reply, "limits.query_parameters");
    let reply = ask("GET", "/v1/exchanges", ("X-Long", &long), None).await;
    assert_eq!(reply.status, 431);
    says(&reply, "limits.header_bytes");
    let body = referral(1).to_string();
    let reply = ask("POST", "/v1/referrals", ("Idempotency-Key", &"k".repeat(21)), Some(body.clone())).await;
    assert_eq!(reply.status, 400);
    says(&reply, "limits.key_bytes");
    assert_eq!(ask("POST", "/v1/referrals", ("Idempotency-Key", &"k".repeat(20)), Some(body)).await.status, 202);

    let ndjson = [("Vardkedja-Unit", NORTH), ("Content-Type", "application/x-ndjson")];
    let reply = world.ask("POST", "/v1/activities", &ndjson, Some("{}\n".repeat(4))).await;
    assert_eq!(reply.status, 413);
    says(&reply, "limits.lines");
    let lines = format!("{{\"id\":\"{}\"}}\n{}\n", "a".repeat(1000), activity(1));
    let reply = world.ask("POST", "/v1/activities", &ndjson, Some(lines)).await;
    let results: Vec<Value> = reply.text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!([&results[0]["status"], &results[1]["status"]], [&json!(413), &json!(202)], "{}", reply.text);
    assert!(results[0].to_string().contains("limits.line_bytes"));
    world.close().await;
}

#[actix_web::test]
async fn pages_and_patches_have_a_most() {
    let world = world("page_max = 2\npatch_operations = 2").await;
    let exchange = world.refer(&referral_to(1, crate::world::SOUTH)).await;
    for n in 2..5 {
        world.refer(&referral_to(n, crate::world::SOUTH)).await;
    }
    let found = world.get("/v1/exchanges?limit=100", ONCOLOGY).await.json();
    assert_eq!(found["exchanges"].as_array().unwrap().len(), 2);
    let found = world.get("/fhir/Task?_count=100", ONCOLOGY).await.json();
    assert_eq!(found["entry"].as_array().unwrap().len(), 2);

    let task = world.task(&exchange, crate::world::SOUTH).await;
    let test = json!({ "op": "test", "path": "/status", "value": "requested" });
    let headers = [
        ("Vardkedja-Unit", crate::world::SOUTH),
        ("Content-Type", "application/json-patch+json"),
        ("If-Match", "W/\"1\""),
    ];
    let patch = json!([test, test, test]).to_string();
    let reply = world.ask("PATCH", &format!("/fhir/Task/{task}"), &headers, Some(patch)).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    says(&reply, "limits.patch_operations");
    world.close().await;
}

#[actix_web::test]
async fn a_compressed_body_is_refused_and_never_unpacked() {
    let world = world("").await;
    // The head of a gzip file that would unpack to a gigabyte: nobody looks at it.
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    let bomb = "\u{1f}\u{8b}\u{8}".to_owned() + &"\0".repeat(1_000_000);
    for encoding in ["gzip", "deflate", "br", "zstd", "gzip, gzip"] {
        let headers = [headers[0], headers[1], ("Content-Encoding", encoding)];
        let reply = world.ask("POST", "/v1/referrals", &headers, Some(bomb.clone())).await;
        assert_eq!(reply.status, 415, "{encoding}: {}", reply.text);
        assert!(reply.findings().contains("Content-Encoding"));
    }
    world.close().await;
}

/// A partner's server that answers every request with these bytes, over and over until the other side has had enough.
fn partner(head: &'static str, bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut socket = socket;
                let _ = socket.read(&mut [0; 65_536]);
                let _ = socket.write_all(head.as_bytes());
                while socket.write_all(bytes).is_ok() {}
            });
        }
    });
    url
}

#[actix_web::test]
async fn an_answer_of_a_partner_is_not_unpacked_and_not_read_for_ever() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nConnection: close\r\n";
    let zipped: &'static str = Box::leak(format!("{HEAD}Content-Encoding: gzip\r\n\r\n").into_boxed_str());
    let plain: &'static str = Box::leak(format!("{HEAD}\r\n").into_boxed_str());
    let zeros: &'static [u8] = &[0; 65_536];
    for (head, what) in [(zipped, "packed"), (plain, "endless")] {
        let settings = format!(
            "[delivery]\nretry_s = [60]\n[[partner]]\nname = \"primary-care\"\nchannel = \"push\"\n\
             fhir_base = \"{}/fhir\"\ntimeout_s = 20\n",
            partner(head, zeros)
        );
        let gateway = TestGateway::start(&settings).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let sent = client.post(format!("{}/v1/referrals", gateway.url)).header("Vardkedja-Unit", ONCOLOGY);
        let sent = sent.json(&referral(1)).send().await.unwrap();
        let exchange = format!("{}{}", gateway.url, sent.headers()["location"].to_str().unwrap());
        let attempt = loop {
            let shown: Value = client.get(&exchange).send().await.unwrap().json().await.unwrap();
            if let Some(attempt) = shown["deliveries"][0]["attempts"].get(0) {
                break attempt.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(
            (&attempt["class"], &attempt["reason"]),
            (&json!("transient"), &json!("the answer is too large")),
            "{what}"
        );
        gateway.stop().await;
    }
}

#[actix_web::test]
async fn a_full_queue_is_said_before_anything_is_accepted() {
    let world = world("queue = 1").await;
    let holder = rusqlite::Connection::open(world.folder.join("gateway.sqlite")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    // The writer waits for the holder; one commit more waits in the queue, and the rest is told to come again.
    let senders: Vec<_> = (0..8)
        .map(|n| {
            let url = format!("{}/v1/referrals", world.gateway);
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = client.post(url).header("Vardkedja-Unit", ONCOLOGY).json(&referral(n));
            tokio::spawn(async move {
                let response = request.send().await.unwrap();
                let after = response.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
                (n, response.status().as_u16(), after)
            })
        })
        .collect();
    let mut waiting = senders;
    let mut busy = Vec::new();
    let until = Instant::now() + Duration::from_secs(3);
    while busy.len() < 4 && Instant::now() < until {
        let (done, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(tokio::task::JoinHandle::is_finished);
        waiting = rest;
        for sender in done {
            busy.push(sender.await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(busy.len() >= 4, "so many were not told: {busy:?}");
    assert!(busy.iter().all(|(_, status, after)| *status == 429 && after.is_some()), "{busy:?}");
    holder.execute_batch("ROLLBACK").unwrap();
    let mut accepted = 0;
    for sender in waiting {
        let (n, status, after) = sender.await.unwrap();
        if status == 202 {
            accepted += 1;
        } else {
            assert_eq!(status, 429);
            busy.push((n, status, after));
        }
    }
    assert!(accepted > 0, "what waited was taken");
    let kept = world.get("/v1/exchanges", ONCOLOGY).await.json()["exchanges"].as_array().unwrap().len();
    assert_eq!(kept, accepted, "nothing of the others was accepted");
    // A queue of one may be full for a moment when nobody else sends: a careful sender comes again.
    for (n, ..) in busy {
        while world.post("/v1/referrals", ONCOLOGY, &referral(n)).await.status != 202 {
            assert!(Instant::now() < until + Duration::from_secs(30), "R-{n} was never taken");
        }
    }
    world.close().await;
}

#[actix_web::test]
async fn a_caller_who_asks_too_often_is_told_when_to_come_back_and_others_are_not_troubled() {
    let world = world("rate_per_s = 20").await;
    let mut refused = None;
    let until = Instant::now() + Duration::from_secs(10);
    while refused.is_none() && Instant::now() < until {
        let asked = (0..30).map(|_| world.get("/v1/exchanges", ONCOLOGY));
        refused = futures(asked).await.into_iter().find(|reply| reply.status == 429);
    }
    says(&refused.unwrap(), "limits.rate_per_s");
    assert_eq!(world.get("/v1/exchanges", NORTH).await.status, 200);
    assert_eq!(world.get("/health/live", "").await.status, 200);
    world.close().await;
}

/// All of them at once.
async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        waiting.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[actix_web::test]
async fn a_caller_has_so_many_requests_under_way_and_no_more() {
    let world = world("in_flight = 2\nbody_s = 100").await;
    // Three bodies that do not come: two requests are under way, and the third, whichever it is, is refused.
    let body = referral(1).to_string();
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut socket = socket(&world.gateway);
        socket.write_all(head(body.len()).as_bytes()).unwrap();
        socket.set_nonblocking(true).unwrap();
        held.push(socket);
    }
    let until = Instant::now() + Duration::from_secs(30);
    let refused = loop {
        let refused = held.iter().position(|socket| socket.peek(&mut [0]).is_ok_and(|n| n > 0));
        if let Some(at) = refused {
            break held.swap_remove(at);
        }
        assert!(Instant::now() < until, "none was refused");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    refused.set_nonblocking(false).unwrap();
    let said = until_closed(refused);
    assert!(said.starts_with("HTTP/1.1 429") && said.contains("retry-after: 1"), "{said}");
    assert!(said.contains("limits.in_flight"), "{said}");
    assert_eq!(world.get("/v1/exchanges", NORTH).await.status, 200, "another caller has places of its own");
    for mut socket in held {
        socket.set_nonblocking(false).unwrap();
        socket.write_all(body.as_bytes()).unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 202");
    }
    assert_eq!(world.get("/v1/exchanges", ONCOLOGY).await.status, 200, "and its places are free again");
    world.close().await;
}

/// Sends a byte now and then until the other side closes; how long that took, and what it said.
fn trickle(mut socket: TcpStream, bytes: &[u8]) -> (Duration, String) {
    let began = Instant::now();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    for byte in bytes.iter().cycle() {
        if socket.write_all(&[*byte]).is_err() || began.elapsed() > Duration::from_secs(20) {
            break;
        }
        match socket.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&piece[..count]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    (began.elapsed(), String::from_utf8_lossy(&said).into_owned())
}

#[actix_web::test]
async fn whoever_takes_too_long_is_closed_at_every_stage_of_a_request() {
    let world = world("header_s = 1\nbody_s = 1\nkeep_alive_s = 1").await;
    let url = world.gateway.clone();
    let good = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let cases: Vec<(&str, String, &str)> = vec![
        ("the first head", "GET /health/live HTTP/1.1\r\nX-Slow: ".into(), "a"),
        ("the head after a good request", format!("{good}GET /health/live HTTP/1.1\r\nX-Slow: "), "a"),
        ("a body", head(100_000), " "),
        ("a body in chunks", head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked"), "1\r\n \r\n"),
        (
            "a body that nobody reads",
            "GET /health/live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            "1\r\n \r\n",
        ),
    ];
    let slow: Vec<_> = cases
        .into_iter()
        .map(|(what, start, bytes)| {
            let url = url.clone();
            let work = move || {
                let mut socket = socket(&url);
                socket.write_all(start.as_bytes()).unwrap();
                (what, trickle(socket, bytes.as_bytes()))
            };
            tokio::task::spawn_blocking(work)
        })
        .collect();
    for slow in slow {
        let (what, (took, said)) = slow.await.unwrap();
        assert!(took < Duration::from_secs(12), "{what} was let go on for {took:?}: {said}");
        if what == "a body" || what == "a body in chunks" {
            assert!(said.starts_with("HTTP/1.1 408") && said.contains("limits.body_s"), "{what}: {said}");
        }
    }
    // Nothing to do is no sin, for as long as keep_alive_s says.
    let mut idle = socket(&url);
    idle.write_all(good.as_bytes()).unwrap();
    assert!(tokio::task::spawn_blocking(move || until_closed(idle)).await.unwrap().starts_with("HTTP/1.1 200"));
    world.close().await;
}

#[actix_web::test]
async fn an_answer_that_is_not_read_does_not_hold_its_connection() {
    let world = world("header_s = 1\nkeep_alive_s = 1").await;
    let mut socket = socket(&world.gateway);
    // More answers than the buffers of both sides hold, and nobody reads. Writing fails when the other side has closed.
    let ask = "GET /fhir/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let closed = tokio::task::spawn_blocking(move || {
        let until = Instant::now() + Duration::from_secs(60);
        let gone = [std::io::ErrorKind::BrokenPipe, std::io::ErrorKind::ConnectionReset];
        while Instant::now() < until {
            if socket.write_all(ask.as_bytes()).is_err_and(|error| gone.contains(&error.kind())) {
                return true;
            }
        }
        false
    });
    assert!(closed.await.unwrap(), "the connection stayed open");
    assert_eq!(world.get("/health/live", "").await.status, 200);
    world.close().await;
}

#[actix_web::test]
async fn two_hundred_slow_callers_do_not_stop_a_good_one() {
    let world = world("header_s = 2\nbody_s = 2\nkeep_alive_s = 2").await;
    let body = referral(1).to_string();
    let slow: Vec<TcpStream> = (0..200)
        .map(|n| {
            let mut socket = socket(&world.gateway);
            let start = if n % 2 == 0 { "GET / HTTP/1.1\r\nX-Slow: ".to_owned() } else { head(body.len()) };
            socket.write_all(start.as_bytes()).unwrap();
            socket
        })
        .collect();
    let began = Instant::now();
    for n in 0..20 {
        world.refer(&referral(n)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(20), "a good caller waited {:?}", began.elapsed());
    let closed = tokio::task::spawn_blocking(move || slow.into_iter().map(until_closed).collect::<Vec<_>>());
    let said = closed.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(30), "the slow ones were kept for {:?}", began.elapsed());
    assert_eq!(said.len(), 200);
    assert!(said.iter().all(|s| s.starts_with("HTTP/1.1 408")), "{:?}", said.iter().find(|s| !s.contains("408")));
    world.close().await;
}

#[actix_web::test]
async fn connections_have_a_most_and_more_wait_for_their_turn() {
    let world = world("connections = 4\nheader_s = 2\nkeep_alive_s = 2").await;
    let idle: Vec<TcpStream> = (0..12).map(|_| socket(&world.gateway)).collect();
    // They are closed when they have said nothing for so long, and then it is the good caller's turn.
    world.refer(&referral(1)).await;
    drop(idle);
    world.close().await;
}
