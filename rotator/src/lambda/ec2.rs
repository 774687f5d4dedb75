//! EC2's events, alone or in batches: whose end they tell.
//!
//! Sources: EC2 user guide, "State change events for your instances"; Lambda developer guide, "Using Lambda
//! with Amazon SQS" (a record's body is what EventBridge put into the queue).

use imprint_core::name::InstanceId;
use serde_json::Value;

/// The most records of a batch that are read: a queue gives Lambda at most 10,000.
const MOST: usize = 10_000;

/// The instances whose end an event, or a batch of them, tells: `None` when it is neither. States that are
/// no end yet tell of nobody.
pub(super) fn ended(event: &Value) -> Option<Vec<InstanceId>> {
    if is_state_change(event) {
        return Some(end(event).into_iter().collect());
    }
    let records = event.get("Records")?.as_array()?;
    let mut instances = Vec::new();
    if records.is_empty() || records.len() > MOST {
        return None;
    }
    for record in records {
        if record.get("eventSource")?.as_str()? != "aws:sqs" {
            return None;
        }
        let body: Value = serde_json::from_str(record.get("body")?.as_str()?).ok()?;
        if !is_state_change(&body) {
            return None;
        }
        instances.extend(end(&body));
    }
    instances.sort();
    instances.dedup();
    Some(instances)
}

fn is_state_change(event: &Value) -> bool {
    let is = |name: &str, text: &str| event.get(name).and_then(Value::as_str) == Some(text);
    is("source", "aws.ec2") && is("detail-type", "EC2 Instance State-change Notification")
}

fn end(event: &Value) -> Option<InstanceId> {
    let detail = event.get("detail")?;
    let text = |name: &str| detail.get(name).and_then(Value::as_str);
    // An event is no proof: whoever is named is only looked at.
    if text("state")? == "terminated" { text("instance-id")?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(id: &str, state: &str) -> Value {
        json!({
            "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602", "source": "aws.ec2",
            "detail-type": "EC2 Instance State-change Notification", "account": "123456789012",
            "time": "2026-11-22T08:00:00Z", "region": "eu-west-1",
            "resources": [format!("arn:aws:ec2:eu-west-1:123456789012:instance/{id}")],
            "detail": {"instance-id": id, "state": state},
        })
    }

    #[test]
    fn whose_end_is_told() {
        let check = |event: &Value, wanted: Option<&[&str]>| {
            let found = ended(event);
            let found = found.as_ref().map(|ids| ids.iter().map(InstanceId::as_str).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), wanted, "{event}");
        };
        check(&change("i-1", "terminated"), Some(&["i-1"]));
        for state in ["pending", "running", "stopping", "stopped", "shutting-down", "dreaming"] {
            check(&change("i-1", state), Some(&[]));
        }
        check(&change("i-../x", "terminated"), Some(&[]));
        let batch = |bodies: &[Value]| {
            let record =
                |body: &Value| json!({"eventSource": "aws:sqs", "messageId": "1", "body": body.to_string()});
            json!({"Records": bodies.iter().map(record).collect::<Vec<_>>()})
        };
        let three = [change("i-2", "terminated"), change("i-1", "running"), change("i-2", "terminated")];
        check(&batch(&three), Some(&["i-2"]));
        check(&batch(&[change("i-1", "running")]), Some(&[]));
        check(&batch(&[]), None);
        check(&batch(&[change("i-1", "terminated"), json!({"source": "aws.s3"})]), None);
        check(
            &json!({"Records": [{"eventSource": "aws:s3", "body": change("i-1", "terminated").to_string()}]}),
            None,
        );
        check(&json!({"Records": [{"eventSource": "aws:sqs", "body": "{"}]}), None);
        check(&json!({"Records": [1]}), None);
        check(&json!({"source": "aws.events", "detail-type": "Scheduled Event"}), None);
        for other in [json!({}), json!([]), json!(null), json!({"Records": "x"})] {
            check(&other, None);
        }
    }
}
