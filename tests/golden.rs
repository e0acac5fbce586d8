//! Golden files: what callers build against changes only on purpose.

use std::{collections::BTreeMap, fs, path::PathBuf};

use metagov_proto::{json, v1};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    MethodDescriptorProto, Struct,
    field_descriptor_proto::{Label, Type},
};
use serde_json::{Value, json};

use crate::harness::{Gateway, raw};

/// Compares with `tests/golden/<name>`, or writes it if that is asked for.
fn compare(name: &str, found: &str) {
    let path: PathBuf = crate::root().join("tests/golden").join(name);
    if std::env::var("METAGOV_GOLDEN").is_ok_and(|how| how == "renew") {
        fs::write(&path, found).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let (mut kept, mut found) = (kept.lines(), found.lines());
    for line in 1.. {
        let (was, is) = (kept.next(), found.next());
        assert!(
            was == is,
            "tests/golden/{name} differs from line {line} on:\n  was {was:?}\n  is  {is:?}\n\
             If that is meant, renew it: METAGOV_GOLDEN=renew cargo test -p metagov-tests golden"
        );
        if was.is_none() {
            return;
        }
    }
}

#[test]
fn the_contract_is_what_its_golden_file_says() {
    let mut lines = Vec::new();
    for file in raw::contract() {
        let mut own = describe(&file);
        own.sort();
        let short = file.name().trim_start_matches("metagov/v1/");
        lines.extend(own.into_iter().map(|line| format!("{short}: {line}\n")));
    }
    compare("descriptors.txt", &lines.concat());
}

fn describe(file: &FileDescriptorProto) -> Vec<String> {
    let mut lines = Vec::new();
    for service in &file.service {
        let of_method = |method| describe_method(service.name(), method);
        lines.extend(service.method.iter().map(of_method));
    }
    for message in &file.message_type {
        lines.push(format!("message {}", message.name()));
        let of_field = |field| describe_field(message, field);
        lines.extend(message.field.iter().map(of_field));
    }
    for each in &file.enum_type {
        lines.extend(describe_enum(each));
    }
    lines
}

fn describe_method(service: &str, method: &MethodDescriptorProto) -> String {
    let stream = |is: bool| if is { "stream " } else { "" };
    let (name, input, output) = (
        method.name(),
        short(method.input_type()),
        short(method.output_type()),
    );
    let (sends, gets) = (
        stream(method.client_streaming()),
        stream(method.server_streaming()),
    );
    let options = method
        .options
        .as_ref()
        .map(|options| options.idempotency_level());
    let level = options.map_or("IDEMPOTENCY_UNKNOWN", |level| level.as_str_name());
    format!("rpc {service}.{name}({sends}{input}) returns ({gets}{output}) {level}")
}

fn describe_field(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let kind = match field.r#type() {
        Type::Message | Type::Enum => short(field.type_name()).to_owned(),
        other => other
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    };
    let label = match field.label() {
        Label::Repeated => "repeated ",
        _ if field.proto3_optional() => "optional ",
        _ => "",
    };
    let of = field.oneof_index.filter(|_| !field.proto3_optional());
    let of = of.map(|at| message.oneof_decl[at as usize].name());
    let of = of.map_or(String::new(), |name| format!(" in oneof {name}"));
    let (owner, name, number) = (message.name(), field.name(), field.number());
    format!("field {owner}.{number:02} {label}{kind} {name}{of}")
}

fn describe_enum(each: &EnumDescriptorProto) -> Vec<String> {
    let line = |value: &prost_types::EnumValueDescriptorProto| {
        format!(
            "enum {}.{:02} {}",
            each.name(),
            value.number(),
            value.name()
        )
    };
    each.value.iter().map(line).collect()
}

fn short(name: &str) -> &str {
    name.trim_start_matches(".metagov.v1.")
        .trim_start_matches('.')
}

#[tokio::test]
async fn the_catalogue_is_what_its_golden_file_says() {
    let gateway = Gateway::start().await;
    let request = v1::ListPluginsRequest {};
    let answer = gateway.api.plugins().list_plugins(request).await.unwrap();
    let plugins = answer.into_inner().plugins;
    let names: Vec<_> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    assert!(names.is_sorted(), "{names:?}");
    let catalogue = Value::Array(plugins.into_iter().map(plugin).collect());
    let text = serde_json::to_string_pretty(&sorted(catalogue)).unwrap();
    compare("catalogue.json", &format!("{text}\n"));
}

fn plugin(it: v1::Plugin) -> Value {
    json!({
        "auth_kind": it.auth_kind().as_str_name(),
        "name": it.name,
        "description": it.description,
        "config_schema": schema(it.config_schema),
        "uses_webhook": it.uses_webhook,
        "actions": it.actions.into_iter().map(action).collect::<Vec<_>>(),
        "processes": it.processes.into_iter().map(process).collect::<Vec<_>>(),
        "events": it.events.into_iter().map(event).collect::<Vec<_>>(),
        "setup_help": it.setup_help,
        "unavailable_reason": it.unavailable_reason,
    })
}

fn action(it: v1::ActionDescriptor) -> Value {
    json!({
        "action": it.action,
        "description": it.description,
        "parameters_schema": schema(it.parameters_schema),
        "result_schema": schema(it.result_schema),
        "read_only": it.read_only,
        "allow_anonymous": it.allow_anonymous,
    })
}

fn process(it: v1::ProcessDescriptor) -> Value {
    json!({
        "close_time_support": it.close_time_support().as_str_name(),
        "process_type": it.process_type,
        "description": it.description,
        "parameters_schema": schema(it.parameters_schema),
        "outcome_schema": schema(it.outcome_schema),
        "closable": it.closable,
        "cancellable": it.cancellable,
        "is_vote": it.is_vote,
    })
}

fn event(it: v1::EventDescriptor) -> Value {
    json!({
        "event_type": it.event_type,
        "description": it.description,
        "data_schema": schema(it.data_schema),
    })
}

fn schema(fields: Option<Struct>) -> Value {
    Value::Object(json::to_json(
        fields.expect("a schema, even if it is empty"),
    ))
}

/// With the keys of all objects in order, however JSON is built here.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields.into_iter().collect();
            let fields = fields.into_iter().map(|(key, value)| (key, sorted(value)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
