//! EC2's events, alone or in batches: whose end they tell, and whose beginning.
//!
//! An event is no proof: whoever is named is only looked at. Sources: EC2 user guide, "State change events for your
//! instances"; Lambda developer guide, "Using Lambda with Amazon SQS" (a record's body is what EventBridge put into
//! the queue) and "Handling errors for an SQS event source" (partial batch responses).

use imprint_core::name::InstanceId;
use serde_json::Value;

/// The most records of a batch that are read: a queue gives Lambda at most 10,000.
const MOST: usize = 10_000;

/// What an event, or a batch of them, tells.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Instances that have ended.
    pub ended: Vec<InstanceId>,
    /// Instances that begin, or begin again.
    pub began: Vec<InstanceId>,
    /// The records of a batch that tell of a beginning, each with its instance; `None` when it is no batch.
    pub records: Option<Vec<(String, InstanceId)>>,
    /// The records of a batch that are no such events. They keep nothing from the others: given back, they end in the
    /// queue for those that nobody can serve.
    pub strange: Vec<String>,
}

/// What an event, or a batch of them, tells: `None` when it is neither. Other states tell of nobody.
pub(super) fn changes(event: &Value) -> Option<Changes> {
    let mut changes = Changes::default();
    if is_state_change(event) {
        changes.take(event, None);
        return Some(changes);
    }
    let records = event.get("Records")?.as_array()?;
    if records.is_empty() || records.len() > MOST {
        return None;
    }
    changes.records = Some(Vec::new());
    for record in records {
        if record.get("eventSource")?.as_str()? != "aws:sqs" {
            return None;
        }
        let id = record.get("messageId")?.as_str()?;
        match serde_json::from_str::<Value>(record.get("body")?.as_str()?) {
            Ok(body) if is_state_change(&body) => changes.take(&body, Some(id)),
            Ok(_) | Err(_) => changes.strange.push(id.to_owned()),
        }
    }
    for ids in [&mut changes.ended, &mut changes.began] {
        ids.sort();
        ids.dedup();
    }
    // Whose end is told as well needs no token.
    changes.began.retain(|id| !changes.ended.contains(id));
    Some(changes)
}

impl Changes {
    fn take(&mut self, event: &Value, record: Option<&str>) {
        let text = |name: &str| event.get("detail")?.get(name)?.as_str();
        let (Some(state), Some(Ok(id))) = (text("state"), text("instance-id").map(str::parse::<InstanceId>))
        else {
            return;
        };
        match state {
            "terminated" => self.ended.push(id),
            "pending" | "running" => {
                if let (Some(records), Some(record)) = (&mut self.records, record) {
                    records.push((record.to_owned(), id.clone()));
                }
                self.began.push(id);
            }
            _ => {}
        }
    }
}

fn is_state_change(event: &Value) -> bool {
    let is = |name: &str, text: &str| event.get(name).and_then(Value::as_str) == Some(text);
    is("source", "aws.ec2") && is("detail-type", "EC2 Instance State-change Notification")
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
    fn whose_end_and_whose_beginning_is_told() {
        let names = |ids: &[InstanceId]| ids.iter().map(InstanceId::to_string).collect::<Vec<_>>().join(" ");
        let check = |event: &Value, wanted: Option<(&str, &str)>| {
            let found = changes(event).map(|found| (names(&found.ended), names(&found.began)));
            let wanted = wanted.map(|(ended, began)| (ended.to_owned(), began.to_owned()));
            assert_eq!(found, wanted, "{event}");
        };
        check(&change("i-1", "terminated"), Some(("i-1", "")));
        for state in ["pending", "running"] {
            check(&change("i-1", state), Some(("", "i-1")));
        }
        for state in ["stopping", "stopped", "shutting-down", "dreaming"] {
            check(&change("i-1", state), Some(("", "")));
        }
        check(&change("i-../x", "terminated"), Some(("", "")));
        check(&change("i-../x", "running"), Some(("", "")));
        let batch = |bodies: &[Value]| {
            let record = |(n, body): (usize, &Value)| json!({"eventSource": "aws:sqs", "messageId": n.to_string(), "body": body.to_string()});
            json!({"Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>()})
        };
        let three = [change("i-2", "terminated"), change("i-1", "running"), change("i-2", "terminated")];
        check(&batch(&three), Some(("i-2", "i-1")));
        let life = [
            change("i-1", "pending"),
            change("i-1", "running"),
            change("i-2", "running"),
            change("i-2", "terminated"),
        ];
        check(&batch(&life), Some(("i-2", "i-1")));
        let told = changes(&batch(&life)).unwrap().records.unwrap();
        assert_eq!(told.iter().map(|(record, _)| record.as_str()).collect::<Vec<_>>(), ["0", "1", "2"]);
        check(&batch(&[change("i-1", "stopped")]), Some(("", "")));
        check(&batch(&[]), None);
        // One that nobody understands keeps nothing from the others.
        let mut mixed =
            batch(&[change("i-1", "terminated"), json!({"source": "aws.s3"}), change("i-2", "running")]);
        mixed["Records"]
            .as_array_mut()
            .unwrap()
            .push(json!({"eventSource": "aws:sqs", "messageId": "3", "body": "{"}));
        check(&mixed, Some(("i-1", "i-2")));
        assert_eq!(changes(&mixed).unwrap().strange, ["1", "3"]);
        let nameless =
            json!({"Records": [{"eventSource": "aws:sqs", "body": change("i-1", "running").to_string()}]});
        check(&nameless, None);
        check(
            &json!({"Records": [{"eventSource": "aws:s3", "messageId": "1", "body": change("i-1", "terminated").to_string()}]}),
            None,
        );
        check(&json!({"Records": [1]}), None);
        check(&json!({"source": "aws.events", "detail-type": "Scheduled Event"}), None);
        for other in [json!({}), json!([]), json!(null), json!({"Records": "x"})] {
            check(&other, None);
        }
    }
}
