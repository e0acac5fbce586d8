//! What the contract itself says of its methods: which change something, which stream.

use std::{collections::HashMap, sync::LazyLock};

use metagov_proto::DESCRIPTORS;
use prost::Message;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, method_options::IdempotencyLevel};

/// The one method that may do without a token, if the action says so.
const ANONYMOUS: &str = "/metagov.v1.ActionService/PerformAction";

/// A method of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// Whether it may change something.
    pub(super) mutates: bool,
    /// Whether its answer is a stream.
    pub(super) streams: bool,
    /// Whether it may be called without a token; its own check has the last word.
    pub(super) admits_nobody: bool,
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
        mutates: level != Some(IdempotencyLevel::NoSideEffects),
        streams: method.server_streaming(),
        admits_nobody: path == ANONYMOUS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_says_what_changes_something_and_what_streams() {
        let of = |path| method(path).unwrap();
        let list = of("/metagov.v1.EventService/ListEvents");
        assert!(!list.mutates && !list.streams && !list.admits_nobody);
        let watch = of("/metagov.v1.EventService/WatchEvents");
        assert!(!watch.mutates && watch.streams);
        let perform = of(ANONYMOUS);
        assert!(perform.mutates && !perform.streams && perform.admits_nobody);
        assert_eq!(method("/metagov.v1.EventService/Nothing"), None);
    }
}
