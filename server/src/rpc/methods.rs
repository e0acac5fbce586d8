//! What the contract itself says of its methods: which change something and so are kept in
//! the audit, which stream.

use std::{collections::HashMap, sync::LazyLock};

use metagov_proto::DESCRIPTORS;
use prost::Message;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, method_options::IdempotencyLevel};

/// The one method that may do without a token, if the action says so.
const ANONYMOUS: &str = "/metagov.v1.ActionService/PerformAction";

/// The one that changes something and, if it is let in, leaves no entry in the audit: it is
/// called for every batch of events, and an entry would cost as much again.
const ACKNOWLEDGE: &str = "/metagov.v1.SubscriptionService/AcknowledgeEvents";

/// A method of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// Whether it may change something, so that each call of it is written into the audit,
    /// not only refused ones.
    pub(super) is_kept: bool,
    /// Whether its answer is a stream.
    pub(super) streams: bool,
    /// Whether it may be called without a token; its own check has the last word.
    pub(super) admits_nobody: bool,
}

/// What metrics and traces call a path: the method's full name; callers cannot add names.
pub(super) fn label(path: &str) -> &'static str {
    if let Some((path, _)) = METHODS.get_key_value(path) {
        return path.trim_start_matches('/');
    }
    let shared = ["grpc.health.v1.Health", "grpc.reflection"];
    let name = path.trim_start_matches('/');
    let found = shared.iter().find(|shared| name.starts_with(*shared));
    found.copied().unwrap_or("other")
}

/// The method at a path such as `/metagov.v1.EventService/ListEvents`.
pub(super) fn method(path: &str) -> Option<Method> {
    METHODS.get(path).copied()
}

static METHODS: LazyLock<HashMap<String, Method>> = LazyLock::new(|| {
    // They were made by the same build.
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default();
    let mut methods = HashMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let said = read(&path, method);
                methods.insert(path, said);
            }
        }
    }
    methods
});

fn read(path: &str, method: &MethodDescriptorProto) -> Method {
    let level = method
        .options
        .as_ref()
        .map(|options| options.idempotency_level());
    Method {
        is_kept: level != Some(IdempotencyLevel::NoSideEffects) && path != ACKNOWLEDGE,
        streams: method.server_streaming(),
        admits_nobody: path == ANONYMOUS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_add_no_names() {
        let list = "metagov.v1.EventService/ListEvents";
        assert_eq!(label(&format!("/{list}")), list);
        for path in [
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Nothing",
        ] {
            assert_eq!(label(path), "grpc.health.v1.Health");
        }
        let info = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
        assert_eq!(label(info), "grpc.reflection");
        for path in ["", "/", "*", "/é", "/metagov.v1.EventService/Nothing"] {
            assert_eq!(label(path), "other");
        }
    }

    #[test]
    fn the_contract_says_what_changes_something_and_what_streams() {
        let of = |path| method(path).unwrap();
        let list = of("/metagov.v1.EventService/ListEvents");
        assert!(!list.is_kept && !list.streams && !list.admits_nobody);
        let watch = of("/metagov.v1.EventService/WatchEvents");
        assert!(!watch.is_kept && watch.streams);
        let perform = of(ANONYMOUS);
        assert!(perform.is_kept && !perform.streams && perform.admits_nobody);
        assert!(!of(ACKNOWLEDGE).is_kept);
        assert!(of("/metagov.v1.SubscriptionService/SeekSubscription").is_kept);
        assert_eq!(method("/metagov.v1.EventService/Nothing"), None);
    }
}
