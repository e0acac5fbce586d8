//! A message of the contract as a script reads it: protobuf's JSON, and that as YAML.

use std::{fmt::Display, io};

use metagov_proto::{DESCRIPTORS, json::MAX_SAFE_INTEGER};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde::Serialize;
use serde_json::{
    Deserializer, Serializer,
    ser::{CompactFormatter, Formatter, PrettyFormatter},
};
use serde_transcode::{Transcoder, transcode};

use super::{Exit, Failure};

/// A message of the contract, by its name.
pub(super) type Answer<'a, M> = (&'a str, &'a M);

/// Its JSON in one line.
pub(super) struct Written(String);

impl Written {
    pub(super) fn of<M: Message>((name, message): Answer<'_, M>) -> Result<Self, Failure> {
        let broken = |e: &dyn Display| failed(name, e);
        let pool = DescriptorPool::decode(DESCRIPTORS).map_err(|e| broken(&e))?;
        let descriptor = pool.get_message_by_name(&format!("metagov.v1.{name}"));
        let descriptor = descriptor.ok_or_else(|| broken(&"is not in the contract"))?;
        let mut dynamic = DynamicMessage::new(descriptor);
        dynamic.transcode_from(message).map_err(|e| broken(&e))?;
        let mut text = Vec::new();
        let mut writer = Serializer::with_formatter(&mut text, Whole(CompactFormatter));
        dynamic.serialize(&mut writer).map_err(|e| broken(&e))?;
        String::from_utf8(text).map(Self).map_err(|e| broken(&e))
    }

    /// What is no message of the contract.
    pub(super) fn of_value(value: &serde_json::Value) -> Self {
        Self(value.to_string())
    }

    pub(super) fn json_line(&self) -> &str {
        &self.0
    }

    /// In many lines, for people to read, too.
    pub(super) fn json(&self) -> Result<String, Failure> {
        let mut text = Vec::new();
        let mut writer = Serializer::with_formatter(&mut text, PrettyFormatter::new());
        let mut reader = Deserializer::from_str(&self.0);
        transcode(&mut reader, &mut writer).map_err(|e| failed("JSON", &e))?;
        String::from_utf8(text).map_err(|e| failed("JSON", &e))
    }

    /// Without a line break at the end.
    pub(super) fn yaml(&self) -> Result<String, Failure> {
        let mut reader = Deserializer::from_str(&self.0);
        let text = serde_saphyr::to_string(&Transcoder::new(&mut reader));
        let text = text.map_err(|e| failed("YAML", &e))?;
        Ok(text.trim_end().to_owned())
    }
}

fn failed(what: &str, why: &dyn Display) -> Failure {
    Failure::new(Exit::Other, format!("{what}: {why}"))
}

/// Writes 3 for the 3.0 of a `Struct`, which knows only doubles.
struct Whole(CompactFormatter);

impl Formatter for Whole {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        if value.fract() == 0.0 && value.abs() <= MAX_SAFE_INTEGER {
            // Exact: a whole number of at most 53 bits.
            return self.0.write_i64(writer, value as i64);
        }
        self.0.write_f64(writer, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metagov_proto::{json::value_from_json, v1::PerformActionResponse};
    use serde_json::json;

    fn written() -> Written {
        let result = json!({"whole": 3, "half": 0.5, "text": "no", "list": [-1, "ü\n", null]});
        let result = Some(value_from_json(result));
        Written::of(("PerformActionResponse", &PerformActionResponse { result })).unwrap()
    }

    #[test]
    fn whole_numbers_are_whole() {
        let text = written().json_line().to_owned();
        assert!(
            text.contains("\"whole\":3,") || text.contains("\"whole\":3}"),
            "{text}"
        );
        assert!(text.contains("\"half\":0.5"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn json_in_lines_is_the_same() {
        let (line, lines) = (written().json_line().to_owned(), written().json().unwrap());
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&line), read(&lines));
        assert!(lines.contains("\n    \"whole\": 3"), "{lines}");
    }

    #[test]
    fn a_text_that_looks_like_another_type_is_quoted_in_yaml() {
        let yaml = written().yaml().unwrap();
        assert!(
            yaml.contains("text: \"no\"") || yaml.contains("text: 'no'"),
            "{yaml}"
        );
        assert!(
            yaml.contains("whole: 3\n") || yaml.ends_with("whole: 3"),
            "{yaml}"
        );
        assert!(!yaml.ends_with('\n'));
    }

    #[test]
    fn what_is_not_in_the_contract_is_named() {
        let failure = Written::of(("Nothing", &PerformActionResponse::default())).err();
        assert!(failure.unwrap().text.starts_with("Nothing: "));
    }
}
