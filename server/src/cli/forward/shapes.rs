//! What is posted: the shapes of the first Metagov, which its drivers know.
//!
//! An event of a platform is `community`, `source` (the plugin), `event_type` (without the
//! plugin), `timestamp` (seconds since 1970, with a fraction, as a string), `data`, and
//! `initiator` with `user_id`, `provider` and `is_metagov_bot`.
//!
//! A process is `id`, `name` (its full type), `community`, `status`, `url`, `errors` and
//! `outcome`. Of the states of today that shape knows three: STARTING is `created`, OPEN is
//! `pending`, and whatever has ended is `completed`. One that failed or was cancelled has
//! its reason in `errors`, and no outcome, since it does not count.

use metagov_proto::{
    json::to_json,
    v1::{Event, PlatformEvent, Process, ProcessState},
};
use prost_types::Timestamp;
use serde_json::{Value, json};

/// The body for an event of a platform.
pub(super) fn event(event: &Event, platform: &PlatformEvent) -> Value {
    let (source, kind) = platform
        .event_type
        .split_once('.')
        .unwrap_or(("", &platform.event_type));
    json!({
        "community": event.community_id,
        "source": source,
        "event_type": kind,
        "timestamp": timestamp(event.record_time.as_ref()),
        "data": to_json(platform.data.clone().unwrap_or_default()),
        "initiator": initiator(platform),
    })
}

fn initiator(platform: &PlatformEvent) -> Value {
    let Some(initiator) = &platform.initiator else {
        return json!({});
    };
    json!({
        "user_id": initiator.user_id,
        "provider": initiator.provider,
        "is_metagov_bot": platform.by_gateway,
    })
}

fn timestamp(time: Option<&Timestamp>) -> String {
    let time = time.copied().unwrap_or_default();
    format!("{}.{:06}", time.seconds, time.nanos / 1000)
}

/// The body for a process as it stands.
pub(super) fn process(process: &Process) -> Value {
    let url = Some(&process.url).filter(|url| !url.is_empty());
    json!({
        "id": process.process_id,
        "name": process.process_type,
        "community": process.community_id,
        "status": status(process),
        "url": url,
        "errors": errors(process),
        "outcome": outcome(process),
    })
}

/// `created`, `pending` or `completed`.
pub(super) fn status(process: &Process) -> &'static str {
    match process.state() {
        ProcessState::Unspecified | ProcessState::Starting => "created",
        ProcessState::Open => "pending",
        ProcessState::Completed | ProcessState::Cancelled | ProcessState::Failed => "completed",
    }
}

/// The outcome, as far as it counts.
pub(super) fn outcome(process: &Process) -> Value {
    match process.state() {
        ProcessState::Cancelled | ProcessState::Failed => json!({}),
        _ => Value::Object(to_json(process.outcome.clone().unwrap_or_default())),
    }
}

fn errors(process: &Process) -> Value {
    match (process.state(), &process.error) {
        (ProcessState::Failed, Some(error)) => json!({ &error.reason: error.message }),
        (ProcessState::Cancelled, _) => json!({ "cancelled": process.end_reason }),
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use metagov_proto::{
        json::from_json,
        v1::{Initiator, ProcessError},
    };

    use super::*;

    fn fields(value: Value) -> Option<prost_types::Struct> {
        Some(from_json(value.as_object().unwrap().clone()))
    }

    #[test]
    fn an_event_is_told_as_it_was() {
        let platform = PlatformEvent {
            event_type: "discourse.post_created".to_owned(),
            initiator: Some(Initiator {
                user_id: "ada".to_owned(),
                provider: "discourse".to_owned(),
                ..Default::default()
            }),
            data: fields(json!({"topic_id": 7})),
            ..Default::default()
        };
        let told = Event {
            community_id: "garden".to_owned(),
            record_time: Some(Timestamp {
                seconds: 1_790_000_000,
                nanos: 25_000_000,
            }),
            ..Default::default()
        };
        let body = json!({
            "community": "garden",
            "source": "discourse",
            "event_type": "post_created",
            "timestamp": "1790000000.025000",
            "data": {"topic_id": 7},
            "initiator": {"user_id": "ada", "provider": "discourse", "is_metagov_bot": false},
        });
        assert_eq!(event(&told, &platform), body);
    }

    #[test]
    fn a_process_is_told_as_it_was() {
        let mut it = Process {
            process_id: "7".to_owned(),
            community_id: "garden".to_owned(),
            process_type: "ballot.vote".to_owned(),
            outcome: fields(json!({"winners": ["soup"]})),
            ..Default::default()
        };
        it.set_state(ProcessState::Open);
        let body = json!({
            "id": "7", "name": "ballot.vote", "community": "garden", "status": "pending",
            "url": null, "errors": {}, "outcome": {"winners": ["soup"]},
        });
        assert_eq!(process(&it), body);
        it.set_state(ProcessState::Completed);
        assert_eq!(process(&it)["status"], "completed");
    }

    #[test]
    fn what_did_not_come_to_an_end_has_errors_and_no_outcome() {
        let mut it = Process {
            outcome: fields(json!({"winners": ["soup"]})),
            error: Some(ProcessError {
                reason: "ERROR_REASON_PLATFORM_REJECTED".to_owned(),
                message: "no".to_owned(),
            }),
            end_reason: "asked to".to_owned(),
            ..Default::default()
        };
        it.set_state(ProcessState::Failed);
        let body = process(&it);
        assert_eq!(body["status"], "completed");
        assert_eq!(body["outcome"], json!({}));
        assert_eq!(
            body["errors"],
            json!({"ERROR_REASON_PLATFORM_REJECTED": "no"})
        );
        it.set_state(ProcessState::Cancelled);
        assert_eq!(process(&it)["errors"], json!({"cancelled": "asked to"}));
    }
}
