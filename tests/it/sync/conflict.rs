//! What the owner did not change alone: a Task with three values, and a person's decision that goes to both sides.

use serde_json::{Value, json};

use super::{
    SPECIALIST, conflicts, delivered, document, intervention, is_quiet, only, plan, says, send_plan, sides, until,
    write,
};
use crate::world::{NORTH, ONCOLOGY, SOUTH, World};

async fn settle(world: &World, unit: &str, task: &Value, elements: Value) -> crate::world::Reply {
    let path = format!("/v1/conflicts/{}/settle", task["id"].as_str().unwrap());
    world.post(&path, unit, &json!({ "by": SPECIALIST, "elements": elements })).await
}

/// The clinic changes the words of the sender's goal; the Task that comes of it.
async fn goal_changed(world: &World) -> Value {
    let mut goal = only(world, "Goal").await;
    goal["description"]["text"] = json!("Gå runt kvarteret.");
    write(world, &goal).await;
    until("a Task", async || conflicts(world, ONCOLOGY).await.into_iter().next()).await
}

#[actix_web::test]
async fn a_goal_that_the_clinic_changed_stays_as_it_was_and_becomes_a_task_for_the_sender() {
    let world = World::open().await;
    let exchange = delivered(&world).await;
    let task = goal_changed(&world).await;
    let text = |t: &str| json!({ "text": t });
    assert_eq!(
        sides(&task),
        [
            ("description".to_owned(), "base".to_owned(), text("Orka gå till affären och tillbaka.")),
            ("description".to_owned(), "ours".to_owned(), text("Orka gå till affären och tillbaka.")),
            ("description".to_owned(), "theirs".to_owned(), text("Gå runt kvarteret.")),
        ]
    );
    assert_eq!(document(&world, &exchange).await["goals"][0]["text"], "Orka gå till affären och tillbaka.");
    assert!(conflicts(&world, NORTH).await.is_empty() && conflicts(&world, SOUTH).await.is_empty());

    // Theirs: it holds at both sides.
    for (unit, status) in [(SOUTH, 404), (NORTH, 404)] {
        assert_eq!(settle(&world, unit, &task, json!({ "description": "theirs" })).await.status, status, "{unit}");
    }
    assert_eq!(settle(&world, ONCOLOGY, &task, json!({ "titel": "theirs" })).await.status, 422);
    assert_eq!(settle(&world, ONCOLOGY, &task, json!({ "description": "both" })).await.status, 400);
    assert_eq!(settle(&world, ONCOLOGY, &task, json!({})).await.status, 422);
    let settled = settle(&world, ONCOLOGY, &task, json!({ "description": "theirs" })).await;
    assert_eq!((settled.status, &settled.json()["status"]), (200, &json!("completed")), "{}", settled.text);
    assert_eq!(document(&world, &exchange).await["goals"][0]["text"], "Gå runt kvarteret.");
    assert_eq!(settle(&world, ONCOLOGY, &task, json!({ "description": "ours" })).await.status, 409);
    is_quiet(&world).await;
    assert_eq!(only(&world, "Goal").await["description"]["text"], "Gå runt kvarteret.");
    assert!(conflicts(&world, ONCOLOGY).await.is_empty());
    let log = world.ask("GET", "/fhir/AuditEvent?_count=500", &[], None).await.text;
    assert!(log.contains("\"settle\"") && !log.contains("kvarteret"), "what was said stands in no log");
    world.close().await;
}

#[actix_web::test]
async fn when_the_senders_word_holds_the_clinic_gets_it_back() {
    let world = World::open().await;
    delivered(&world).await;
    let task = goal_changed(&world).await;
    let settled = settle(&world, ONCOLOGY, &task, json!({ "description": "ours" })).await;
    assert_eq!(settled.status, 200, "{}", settled.text);
    until("the clinic has it", async || {
        let goal = only(&world, "Goal").await;
        (goal["description"]["text"] == "Orka gå till affären och tillbaka.").then_some(())
    })
    .await;
    is_quiet(&world).await;
    world.close().await;
}

#[actix_web::test]
async fn the_task_about_a_difference_is_not_moved_but_settled() {
    let world = World::open().await;
    delivered(&world).await;
    let mut task = goal_changed(&world).await;
    let tag = format!("W/\"{}\"", task["meta"]["versionId"].as_str().unwrap());
    task["status"] = json!("completed");
    let headers = [("Vardkedja-Unit", ONCOLOGY), ("Content-Type", "application/fhir+json"), ("If-Match", tag.as_str())];
    let path = format!("/fhir/Task/{}", task["id"].as_str().unwrap());
    let reply = world.ask("PUT", &path, &headers, Some(task.to_string())).await;
    assert_eq!(reply.status, 409, "{}", reply.text);
    assert!(reply.text.contains("/settle"), "{}", reply.text);
    world.close().await;
}

#[actix_web::test]
async fn a_sender_that_says_how_the_performers_intervention_goes_is_told_and_the_performers_word_stands() {
    let world = World::open().await;
    let exchange = delivered(&world).await;
    says(&world, "in-progress").await;
    until("the word came", async || (intervention(&world, &exchange).await == "in-progress").then_some(())).await;
    let mut revised = plan(2);
    revised["interventions"][0]["status"] = json!("cancelled");
    let (_, receipt) = send_plan(&world, &revised).await;
    assert!(receipt.to_string().contains("interventions[].status"), "{receipt:#}");
    assert_eq!(intervention(&world, &exchange).await, "in-progress");
    let task = conflicts(&world, ONCOLOGY).await.remove(0);
    let values: Vec<Value> = sides(&task).into_iter().map(|(_, _, value)| value).collect();
    assert_eq!(values, [json!("scheduled"), json!("cancelled"), json!("in-progress")]);
    // Sent once more it is no new difference.
    let mut again = revised.clone();
    again["version"] = json!(3);
    send_plan(&world, &again).await;
    assert_eq!(conflicts(&world, ONCOLOGY).await.len(), 1);

    let path = sides(&task)[0].0.clone();
    let settled = settle(&world, ONCOLOGY, &task, json!({ path: "ours" })).await;
    assert_eq!(settled.status, 200, "{}", settled.text);
    assert_eq!(intervention(&world, &exchange).await, "cancelled");
    until("the clinic has it", async || {
        let there = only(&world, "CarePlan").await;
        (there["activity"][0]["detail"]["status"] == "cancelled").then_some(())
    })
    .await;
    is_quiet(&world).await;
    world.close().await;
}

#[actix_web::test]
async fn a_clinic_that_changes_how_urgent_it_is_has_not_changed_what_it_is_asked() {
    let world = World::open().await;
    delivered(&world).await;
    let mut task = only(&world, "Task").await;
    task["status"] = json!("accepted");
    task["priority"] = json!("stat");
    write(&world, &task).await;
    let told = until("a Task", async || conflicts(&world, ONCOLOGY).await.into_iter().next()).await;
    assert_eq!(sides(&told)[0].0, "priority");
    let mine = until("how it stands was taken all the same", async || {
        let found = world.get("/fhir/Task?status=accepted", ONCOLOGY).await.json();
        found["entry"][0]["resource"].as_object().cloned()
    })
    .await;
    assert_eq!(mine["priority"], "routine");
    let settled = settle(&world, ONCOLOGY, &told, json!({ "priority": "ours" })).await;
    assert_eq!(settled.status, 200, "{}", settled.text);
    until("the clinic has it", async || (only(&world, "Task").await["priority"] == "routine").then_some(())).await;
    assert_eq!(only(&world, "Task").await["status"], "accepted");
    world.close().await;
}

#[actix_web::test]
async fn a_value_that_nobody_saw_who_decided_does_not_give_way() {
    let world = World::open().await;
    let exchange = delivered(&world).await;
    let task = goal_changed(&world).await;
    let mut revised = plan(2);
    revised["goals"][0]["text"] = json!("Gå två kilometer.");
    send_plan(&world, &revised).await;
    until("the clinic has it", async || {
        (only(&world, "Goal").await["description"]["text"] == "Gå två kilometer.").then_some(())
    })
    .await;
    let refused = settle(&world, ONCOLOGY, &task, json!({ "description": "theirs" })).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("ours") && !refused.text.contains("kilometer"), "{}", refused.text);
    let settled = settle(&world, ONCOLOGY, &task, json!({ "description": "ours" })).await;
    assert_eq!(settled.status, 200, "{}", settled.text);
    assert_eq!(document(&world, &exchange).await["goals"][0]["text"], "Gå två kilometer.");
    is_quiet(&world).await;
    world.close().await;
}

#[actix_web::test]
async fn what_was_decided_of_one_element_is_not_asked_again_when_another_differs_anew() {
    let world = World::open().await;
    delivered(&world).await;
    let change = async |status: &str, text: Option<&str>| {
        let mut goal = only(&world, "Goal").await;
        goal["lifecycleStatus"] = json!(status);
        if let Some(text) = text {
            goal["description"]["text"] = json!(text);
        }
        write(&world, &goal).await;
    };
    change("on-hold", Some("Gå runt kvarteret.")).await;
    let task = until("a Task", async || conflicts(&world, ONCOLOGY).await.into_iter().next()).await;
    let settled = settle(&world, ONCOLOGY, &task, json!({ "description": "ours" })).await;
    assert_eq!(settled.json()["left"], json!(["lifecycleStatus"]), "{}", settled.text);
    is_quiet(&world).await;
    change("cancelled", None).await;
    let task = until("it is told", async || {
        let task = conflicts(&world, ONCOLOGY).await.into_iter().next()?;
        task["input"].to_string().contains("cancelled").then_some(task)
    })
    .await;
    assert_eq!(task["output"][0]["type"]["text"], "description", "{task:#}");
    let settled = settle(&world, ONCOLOGY, &task, json!({ "lifecycleStatus": "ours" })).await;
    assert_eq!(settled.json()["status"], "completed", "{}", settled.text);
    world.close().await;
}
