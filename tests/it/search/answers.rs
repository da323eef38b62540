//! How an answer looks: pages, order, totals, parts, and what was left out.

use serde_json::{Value, json};

use super::{Library, link, names};
use crate::world::Reply;

fn tasks() -> Vec<(Value, &'static [&'static str])> {
    let mut all: Vec<(Value, &'static [&'static str])> = (0..7)
        .map(|n| {
            let task = json!({
                "resourceType": "Task", "id": format!("t{n}"), "status": if n % 2 == 0 { "requested" } else { "accepted" },
                "meta": { "versionId": "1", "tag": [{ "code": "kept" }] },
                "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>" },
                "intent": "order", "authoredOn": format!("2026-03-{:02}", 20 - n), "note": [{ "text": "x" }],
                "partOf": if n > 0 { json!([{ "reference": format!("Task/t{}", n - 1) }]) } else { json!([]) },
            });
            (task, [].as_slice())
        })
        .collect();
    all.push((json!({ "resourceType": "Task", "id": "undated", "status": "draft", "intent": "plan" }), &[]));
    all
}

fn ids(reply: &Reply) -> String {
    names(reply, "match").iter().map(|n| n.trim_start_matches("Task/")).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn pages_follow_their_links_in_the_order_asked_for_and_a_changed_link_is_refused() {
    let library = Library::open(&tasks(), "").await;
    for (sort, expected) in [
        ("", "t0 t1 t2 t3 t4 t5 t6 undated"),
        ("&_sort=authored-on", "t6 t5 t4 t3 t2 t1 t0 undated"),
        ("&_sort=-authored-on", "t0 t1 t2 t3 t4 t5 t6 undated"),
        ("&_sort=status,authored-on", "t5 t3 t1 undated t6 t4 t2 t0"),
        ("&_sort=-_id", "undated t6 t5 t4 t3 t2 t1 t0"),
    ] {
        let mut reply = library.get(&format!("Task?_count=3{sort}"), "").await;
        let mut seen = vec![ids(&reply)];
        while let Some(next) = link(&reply, "next") {
            let other = next.replace("_count=3", "_count=4");
            assert_eq!(library.get(&other, "").await.status, 400, "{other}");
            reply = library.get(&next, "").await;
            assert_eq!(link(&reply, "self").unwrap(), next);
            seen.push(ids(&reply));
        }
        assert_eq!(seen.join(" "), expected, "{sort}");
    }
    // A form goes on with the same form.
    let form = "intent=order&_count=3";
    let reply = library.post("Task/_search", "", form).await;
    let next = link(&reply, "next").unwrap();
    assert!(!next.contains("intent"), "{next}");
    assert_eq!(ids(&library.post(&next, "", form).await), "t3 t4 t5");
    assert_eq!(library.post(&next, "", "intent=plan&_count=3").await.status, 400);
    library.close().await;
}

#[tokio::test]
async fn a_total_counts_all_pages_and_a_count_of_nought_gives_only_that() {
    let library = Library::open(&tasks(), "").await;
    for (query, total, entries) in [
        ("_count=2&_total=accurate", json!(8), 2),
        ("_count=2&_total=estimate", json!(8), 2),
        ("_count=2&_total=none", Value::Null, 2),
        ("_count=2", Value::Null, 2),
        ("_count=0", json!(8), 0),
        ("status=accepted&_summary=count", json!(3), 0),
    ] {
        let reply = library.get(&format!("Task?{query}"), "").await;
        assert_eq!((reply.json()["total"].clone(), names(&reply, "match").len()), (total, entries), "{query}");
    }
    let reply = library.get("Task?_count=100000", "").await;
    assert!(link(&reply, "self").unwrap().ends_with("_count=500"), "self says what was applied");
    library.close().await;
}

#[tokio::test]
async fn parts_of_resources_are_marked_and_keep_what_is_mandatory() {
    let library = Library::open(&tasks(), "").await;
    for (query, has, lacks) in [
        ("_summary=true", "partOf", "note"),
        ("_summary=text", "text", "note"),
        ("_summary=data", "note", "text"),
        ("_elements=note", "note", "authoredOn"),
        ("_elements=note,authoredOn", "authoredOn", "text"),
    ] {
        let bundle = library
            .get(
                &format!("Task?_id=t1&{query}&_include=Task:part-of").replace("text&_include=Task:part-of", "text"),
                "",
            )
            .await
            .json();
        let task = &bundle["entry"][0]["resource"];
        assert!(task.get(has).is_some() && task.get(lacks).is_none(), "{query}: {task}");
        assert_eq!((&task["status"], &task["intent"]), (&json!("accepted"), &json!("order")), "{query}");
        assert_eq!(task["meta"]["tag"].as_array().unwrap().iter().filter(|t| t["code"] == "SUBSETTED").count(), 1);
        assert_eq!(task["meta"]["tag"][0]["code"], "kept");
        if query.starts_with("_elements") {
            assert!(bundle["entry"][1]["resource"].get("text").is_some(), "what is included is whole");
        }
    }
    let whole = library.get("Task?_id=t1&_summary=false", "").await.json();
    assert_eq!(whole["entry"][0]["resource"]["meta"]["tag"].as_array().unwrap().len(), 1);
    for query in [
        "_summary=text&_include=Task:part-of",
        "_summary=true&_elements=note",
        "_elements=nothing",
        "_count=1&_count=2",
    ] {
        assert_eq!(library.get(&format!("Task?{query}"), "").await.status, 400, "{query}");
    }
    library.close().await;
}

#[tokio::test]
async fn includes_iterate_come_once_and_are_bounded() {
    let library = Library::open(&tasks(), "[limits]\nsearch_includes = 4\n").await;
    let included = |reply: &Reply| names(reply, "include").join(" ");
    let reply = library.get("Task?_id=t3&_include=Task:part-of", "").await;
    assert_eq!(included(&reply), "Task/t2");
    let reply = library.get("Task?_id=t3&_include=Task:part-of&_include:iterate=Task:part-of", "").await;
    assert_eq!(included(&reply), "Task/t2 Task/t1 Task/t0");
    let reply = library.get("Task?_id=t3,t2&_include=Task:part-of", "").await;
    assert_eq!((ids(&reply), included(&reply)), ("t2 t3".into(), "Task/t1".into()), "a match is not included again");
    let reply = library.get("Task?_id=t2&_revinclude:iterate=Task:part-of", "").await;
    assert_eq!(included(&reply), "Task/t3 Task/t4 Task/t5 Task/t6");
    let reply = library.get("Task?_id=t1&_revinclude:iterate=Task:part-of", "").await;
    assert_eq!(reply.status, 400, "more than four are refused, not cut off: {}", reply.text);
    for wrong in [
        "_include=Procedure:part-of",
        "_include=Task:status",
        "_include=Task:part-of:Patient",
        "_revinclude=Goal:patient",
        "_include=*",
    ] {
        assert_eq!(library.get(&format!("Task?{wrong}"), "").await.status, 400, "{wrong}");
    }
    library.close().await;
}

#[tokio::test]
async fn a_lenient_caller_is_told_what_was_left_out_and_a_strict_one_refused() {
    let library = Library::open(&tasks(), "").await;
    let query = "Task?status=accepted&colour=red&code:above=x&_sort=shape";
    assert_eq!(library.get(query, "").await.status, 400);
    assert_eq!(library.get(query, "").await.json()["issue"].as_array().unwrap().len(), 3, "all at once");
    for wish in ["handling=lenient", "respond-async, handling=lenient"] {
        let reply = library.ask(query, "", &[("Prefer", wish)], None).await;
        assert_eq!(ids(&reply), "t1 t3 t5");
        let own = link(&reply, "self").unwrap();
        assert!(own.ends_with("/Task?status=accepted"), "{own}");
        let outcome = reply.json()["entry"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(outcome["search"]["mode"], "outcome");
        let named: Vec<&str> =
            outcome["resource"]["issue"].as_array().unwrap().iter().flat_map(|i| i["expression"][0].as_str()).collect();
        assert_eq!(named, ["colour", "code", "shape"]);
    }
    // What cannot be read is wrong for both.
    let reply = library.ask("Task?authored-on=soon", "", &[("Prefer", "handling=lenient")], None).await;
    assert_eq!(reply.status, 400);
    library.close().await;
}

#[tokio::test]
async fn a_search_has_limits_and_says_which() {
    let library = Library::open(&tasks(), "[limits]\nsearch_terms = 5\nsearch_hops = 1\n").await;
    let reply = library.get("Task?_id=1,2,3,4,5,6", "").await;
    assert!(reply.status == 400 && reply.text.contains("limits.search_terms"), "{}", reply.text);
    assert_eq!(library.get("Task?part-of.status=accepted", "").await.status, 200);
    let reply = library.get("Task?part-of.part-of.status=accepted", "").await;
    assert!(reply.status == 400 && reply.text.contains("limits.search_hops"), "{}", reply.text);
    let reply = library.get("Task?_has:Task:part-of:_has:Task:part-of:status=accepted", "").await;
    assert!(reply.status == 400 && reply.text.contains("limits.search_hops"), "{}", reply.text);
    library.close().await;
}
