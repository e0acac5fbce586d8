//! Secrets in what platforms say: some repeat the key that they refuse. An error that
//! leaves a plugin goes to its caller, into the log and into rows, so they are masked
//! first, in every form in which they are likely to come back.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::Gateway;
use crate::{
    error::Error,
    model::{Installation, Object},
};

/// Lines of a longer secret, such as a private key, are masked by themselves from this
/// length on.
const MIN_LINE: usize = 16;

impl Gateway {
    /// An error of a plugin's step, without the secrets of the installation and of the
    /// operator.
    pub(super) fn masked(&self, installation: &Installation, error: Error) -> Error {
        without(error, self.secrets_of(installation))
    }

    /// The same of a text that a plugin wants to be kept.
    pub(super) fn masked_text(&self, installation: &Installation, text: String) -> String {
        match self.masked(installation, Error::Internal(text)) {
            Error::Internal(text) => text,
            other => other.to_string(),
        }
    }

    /// An error of a plugin's platform-wide hook, without the secrets of the operator.
    pub(super) fn masked_for_operator(&self, plugin: &str, error: Error) -> Error {
        without(error, self.operator_secrets(plugin))
    }

    fn secrets_of(&self, installation: &Installation) -> Vec<String> {
        let old = installation.old_slug.iter().map(|(slug, _)| slug);
        let slugs = [&installation.slug].into_iter().chain(old).cloned();
        let own = installation.secrets.0.values().flat_map(texts_in);
        let operator = self.operator_secrets(&installation.plugin);
        own.chain(operator).chain(slugs).collect()
    }

    fn operator_secrets(&self, plugin: &str) -> impl Iterator<Item = String> {
        let names = self
            .plugin(plugin)
            .map(|known| known.operator.secret_names());
        let mut given: Object = self.settings.of_plugin(plugin);
        let secrets = names.unwrap_or_default().into_iter();
        secrets
            .filter_map(move |name| given.remove(&name))
            .flat_map(|value| texts_in(&value))
    }
}

/// An error without these secrets.
pub(super) fn without(error: Error, secrets: impl IntoIterator<Item = String>) -> Error {
    let forms: Vec<String> = secrets.into_iter().flat_map(forms_of).collect();
    let forms: Vec<&str> = forms.iter().map(String::as_str).collect();
    error.masked(&forms)
}

/// Every token in what a platform granted: the texts whose names say that they are.
pub(super) fn tokens_in(granted: &Value) -> Vec<String> {
    let inner = |(name, value): (&String, &Value)| match value {
        Value::String(text) if name.ends_with("token") => vec![text.clone()],
        value => tokens_in(value),
    };
    match granted {
        Value::Object(fields) => fields.iter().flat_map(inner).collect(),
        Value::Array(items) => items.iter().flat_map(tokens_in).collect(),
        _ => vec![],
    }
}

/// Every text in a value.
fn texts_in(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Array(items) => items.iter().flat_map(texts_in).collect(),
        Value::Object(fields) => fields.values().flat_map(texts_in).collect(),
        Value::Null | Value::Bool(_) => vec![],
    }
}

/// How a secret may be written where it is repeated.
fn forms_of(secret: String) -> Vec<String> {
    let escaped = Value::String(secret.clone()).to_string();
    let mut forms = vec![
        escaped[1..escaped.len() - 1].to_owned(),
        utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string(),
        BASE64.encode(&secret).trim_end_matches('=').to_owned(),
        hex::encode(&secret),
    ];
    if secret.contains(char::is_control) {
        // In what is shown of an answer there are no line breaks.
        forms.push(secret.chars().filter(|c| !c.is_control()).collect());
        let lines = secret.lines().map(str::trim);
        forms.extend(
            lines
                .filter(|line| line.len() >= MIN_LINE)
                .map(str::to_owned),
        );
    }
    forms.push(secret);
    forms
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn masked(secret: &str, text: &str) -> String {
        let forms = forms_of(secret.to_owned());
        let forms: Vec<&str> = forms.iter().map(String::as_str).collect();
        let error = Error::Internal(text.to_owned()).masked(&forms);
        error.to_string().replacen("internal: ", "", 1)
    }

    #[test]
    fn a_secret_is_masked_in_every_form() {
        let secret = "s3cr+t \"key\"/ü";
        for form in [
            secret.to_owned(),
            json!(secret).to_string(),
            "s3cr%2Bt%20%22key%22%2F%C3%BC".to_owned(),
            BASE64.encode(secret),
            hex::encode(secret),
        ] {
            let said = masked(secret, &format!("no such key: {form}."));
            assert!(said.starts_with("no such key: "), "{said}");
            assert!(said.contains("[secret]"), "{said}");
            for part in ["s3cr", "key\\", "%20", "czNj", "7333"] {
                assert!(!said.contains(part), "{part} of {form}: {said}");
            }
        }
    }

    #[test]
    fn a_key_of_many_lines_is_masked_in_parts_and_without_its_breaks() {
        let key =
            "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nAgEAAoIBAQC7VJTUt9Us\n-----END KEY-----\n";
        let flat: String = key.chars().filter(|c| !c.is_control()).collect();
        assert_eq!(masked(key, &format!("bad: {flat}")), "bad: [secret]");
        let said = masked(key, "bad line AgEAAoIBAQC7VJTUt9Us in it");
        assert_eq!(said, "bad line [secret] in it");
    }

    #[test]
    fn tokens_are_found_by_their_names() {
        let slack = json!({"access_token": "xoxb-1", "team": {"id": "T1"},
            "authed_user": {"id": "U1", "access_token": "xoxp-2"}, "token_type": "bot"});
        assert_eq!(tokens_in(&slack), ["xoxb-1", "xoxp-2"]);
    }

    #[test]
    fn texts_are_found_wherever_they_are_in_a_secret() {
        let value = json!({"a": ["one", {"b": "two"}], "c": 12345, "d": true});
        assert_eq!(texts_in(&value), ["one", "two", "12345"]);
    }
}
